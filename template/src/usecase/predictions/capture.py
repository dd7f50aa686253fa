"""What the endpoint has captured: requests and answers.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html

The endpoint configuration of each version has a destination of its own, so that the path of a file
tells which version has answered: `version=<N>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl`.
"""

import csv
import io
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from usecase import tables
from usecase.config import UseCase
from usecase.predictions import reading
from usecase.predictions.reading import Reading, Window
from usecase.problem import PREDICTION, VALUE

_PAYLOAD = pl.Struct(dict.fromkeys(("observedContentType", "data", "encoding"), pl.String))
_EVENT = {
    "captureData": pl.Struct({"endpointInput": _PAYLOAD, "endpointOutput": _PAYLOAD}),
    "eventMetadata": pl.Struct(
        dict.fromkeys(("eventId", "inferenceId", "inferenceTime"), pl.String)
    ),
}
_HOUR, _MOMENT = timedelta(hours=1), timedelta(microseconds=1)


def read(folder: Path, use_case: UseCase, window: Window = reading.ALL) -> Reading:
    """Read captured predictions.

    Args:
        folder: The capture's files are in it or below it.
        use_case: Names the features.
        window: Which predictions are judged. An event whose own time cannot be believed counts by
            the hour of the folder that it is in.

    Returns:
        The predictions. The inference id is the event's where the caller gave none; fields that the
        model does not have are columns too.
    """
    events = _events(tables.read_lines(folder, _EVENT), window)
    within = events.filter(pl.col("where").is_null()).sort("time", maintain_order=True)
    within = within.with_row_index("_event")
    rows, broken, examples = _records(within.filter(pl.col("reason").is_null()), use_case)
    within = within.join(broken, on="_event", how="left").with_columns(
        reason=pl.coalesce("reason", "broken")
    )
    dropped = within.filter(pl.col("reason").is_not_null())
    for row in dropped.unique("reason", keep="first").iter_rows(named=True):
        if row["reason"] == reading.MISTIMED:
            examples[reading.MISTIMED] = f"{row['time']} in {row['file']}"
        elif row["reason"] == reading.UNVERSIONED:
            examples[reading.UNVERSIONED] = row["file"]
    others = pl.concat(
        [
            events.filter(pl.col("where").is_not_null()).select("inference_id", "where"),
            dropped.select("inference_id", where=pl.lit(reading.DROPPED)),
        ]
    )
    return Reading(
        rows=rows,
        read=within.height - dropped.height,
        dropped=dict(dropped["reason"].value_counts(sort=True).iter_rows()),
        examples=examples,
        others=others.drop_nulls(),
    )


def made(folder: Path, _use_case: UseCase) -> pl.DataFrame:
    """When predictions were made, by whichever version, of whatever features.

    Returns:
        `inference_id`, and `time` (UTC) of the last prediction with it.
    """
    metadata = pl.col("eventMetadata").struct
    lines = tables.read_lines(folder, {"eventMetadata": _EVENT["eventMetadata"]})
    found = lines.select(
        inference_id=pl.coalesce(metadata.field("inferenceId"), metadata.field("eventId")),
        time=metadata.field("inferenceTime").str.to_datetime("%+", time_zone="UTC", strict=False),
    )
    return found.drop_nulls().group_by("inference_id").agg(pl.col("time").max())


def _events(lines: pl.DataFrame, window: Window) -> pl.DataFrame:
    """What is known of each line that was captured.

    Args:
        lines: What `tables.read_lines` returned.
        window: Which predictions are judged.

    Returns:
        `inference_id`, `time`, of each side its text and whether it is JSON, `file`; `where` it
        belongs when not into the window, and the `reason` why it cannot be read.
    """
    files = lines["file"].unique()
    places = pl.DataFrame(
        {
            "file": files,
            "version": [reading.version_of(file) for file in files],
            "hour": [reading.hour_of(file) for file in files],
        },
        schema={"file": pl.String, "version": pl.String, "hour": pl.Datetime("us", "UTC")},
    )
    sent, answered = (
        pl.col("captureData").struct.field(name) for name in ("endpointInput", "endpointOutput")
    )
    metadata = pl.col("eventMetadata").struct
    events = lines.join(places, on="file", maintain_order="left").select(
        "file",
        "readable",
        "version",
        "hour",
        inference_id=pl.coalesce(metadata.field("inferenceId"), metadata.field("eventId")),
        time=metadata.field("inferenceTime").str.to_datetime("%+", time_zone="UTC", strict=False),
        sent=_text(sent, "instances"),
        sent_json=_is_json(sent),
        answered=_text(answered, "predictions"),
        answered_json=_is_json(answered),
        whole=_is_whole(sent) & _is_whole(answered),
    )
    time, hour, version = pl.col("time"), pl.col("hour"), pl.col("version")
    # What was captured at the end of an hour can be filed under the next one.
    mistimed = ~time.is_between(hour - _HOUR, hour + _HOUR).fill_null(value=True)
    judged = pl.lit(window.version)
    return events.with_columns(
        where=pl.when((judged != "") & (version != judged))
        .then(pl.lit(reading.OTHER_VERSION))
        .when(time.is_null() | mistimed)
        .then(window.place(hour, hour + _HOUR - _MOMENT))
        .otherwise(window.place(time, time)),
        reason=pl.when(~pl.col("readable"))
        .then(pl.lit(reading.UNREADABLE))
        .when(~pl.col("whole") | time.is_null() | pl.col("inference_id").is_null())
        .then(pl.lit(reading.INCOMPLETE))
        .when(pl.col("sent").is_null() | pl.col("answered").is_null())
        .then(pl.lit(reading.UNREADABLE))
        .when(mistimed)
        .then(pl.lit(reading.MISTIMED))
        .when((judged != "") & version.is_null())
        .then(pl.lit(reading.UNVERSIONED)),
    )


def _text(payload: pl.Expr, member: str) -> pl.Expr:
    """A payload's data as text; SageMaker encodes content types that it was not told of.

    JSON Lines become the JSON that they stand for: rows below a member of one object.
    """
    data = payload.struct.field("data")
    decoded = data.str.decode("base64", strict=False).cast(pl.String, strict=False)
    text = pl.when(payload.struct.field("encoding") == "BASE64").then(decoded).otherwise(data)
    text = text.str.strip_prefix("\ufeff")
    # A line break inside of a value is written as an escape sequence.
    lines = text.str.strip_chars().str.replace_all("\n", ",")
    rows = pl.concat_str(pl.lit(f'{{"{member}": ['), lines, pl.lit("]}"))
    return pl.when(_has_type(payload, "application/jsonlines")).then(rows).otherwise(text)


def _is_whole(payload: pl.Expr) -> pl.Expr:
    """Whether a payload is there, and it is known what it is."""
    fields = [payload.struct.field(name) for name in ("observedContentType", "data", "encoding")]
    return pl.all_horizontal(*(field.is_not_null() for field in fields))


def _is_json(payload: pl.Expr) -> pl.Expr:
    return _has_type(payload, "application/json")  # JSON Lines too


def _has_type(payload: pl.Expr, beginning: str) -> pl.Expr:
    content_type = payload.struct.field("observedContentType")
    return content_type.str.to_lowercase().str.starts_with(beginning)


def _records(
    events: pl.DataFrame, use_case: UseCase
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """The records of the events' payloads.

    Args:
        events: With `_event`, their number.
        use_case: Names the features.

    Returns:
        A row per record; `_event` and `broken`, the reason, of the events that have no such rows;
        and examples of the reasons.
    """
    names = use_case.features.names
    sent, unreadable, odd = _payloads(events, "sent", "instances", names)
    answered, _, _ = _payloads(events, "answered", "predictions", list(use_case.target.answer))
    rows = sent.with_columns(_sent=True).join(
        answered.select("_event", "row", prediction=pl.col(PREDICTION).cast(VALUE, strict=False)),
        on=["_event", "row"],
        how="full",
        coalesce=True,
    )
    unanswered = rows.filter(pl.col("_sent").is_null() | pl.col("prediction").is_null())["_event"]
    whole = rows.filter(~pl.col("_event").is_in(unanswered.unique().to_list()))
    event = pl.col("_event")
    broken = events.filter(~event.is_in(whole["_event"].unique().to_list())).select(
        "_event",
        broken=pl.when(event.is_in(list(odd)))
        .then(pl.lit(reading.OTHER_FIELDS))
        .when(event.is_in(unreadable))
        .then(pl.lit(reading.UNREADABLE))
        .otherwise(pl.lit(reading.UNANSWERED)),
    )
    examples = {}
    for width in list(odd.values())[:1]:
        examples[reading.OTHER_FIELDS] = f"{width} in a row instead of {len(names)}"
    further = [name for name in sent.columns if name not in ("_event", "row", *names)]
    records = (
        whole.join(events.select("_event", "inference_id", "time"), on="_event")
        .sort("_event", "row")
        .select("inference_id", "time", "row", *names, *further, "prediction")
    )
    return records, broken, examples


def _payloads(
    events: pl.DataFrame, side: str, member: str, names: list[str]
) -> tuple[pl.DataFrame, list[int], dict[int, int]]:
    """The rows of one side of the events, all as text.

    Args:
        events: `_event`, and of the side its text and whether it is JSON.
        side: `sent` or `answered`.
        member: The member of a JSON payload that holds the rows.
        names: What the fields of a CSV row are.

    Returns:
        `_event`, `row`, these columns, and others that JSON rows have; the events whose JSON has
        another form; and those with a CSV row of another width, with the first such width.
    """
    is_json = pl.col(f"{side}_json")
    csv_rows, odd = _csv_rows(events.filter(~is_json).select("_event", text=side), len(names))
    json_rows, unreadable = _json_rows(
        events.filter(is_json).select("_event", side).iter_rows(), member
    )
    from_csv = csv_rows.select(
        "_event",
        *(pl.col("fields").list.get(i).alias(name) for i, name in enumerate(names)),
    )
    schema = {"_event": pl.UInt32} | dict.fromkeys([*names, *_keys(json_rows)], pl.String)
    from_json = pl.DataFrame(json_rows, schema=schema, orient="row")
    rows = pl.concat([from_csv, from_json], how="diagonal").with_columns(
        pl.exclude("_event").replace("", None),
        row=pl.int_range(pl.len()).over("_event"),
    )
    return rows, unreadable, odd


def _csv_rows(events: pl.DataFrame, width: int) -> tuple[pl.DataFrame, dict[int, int]]:
    """Split CSV payloads into rows and fields: `_event`, `fields`.

    An event with a row of another width is left out; it is returned with that width.
    """
    quoted = pl.col("text").str.contains('"', literal=True)
    plain = (
        events.filter(~quoted)
        .with_columns(pl.col("text").str.strip_chars_end("\r\n").str.split("\n"))
        .explode("text")
        .select("_event", fields=pl.col("text").str.strip_chars_end("\r").str.split(","))
    )
    # Quotes are rare, and Python's reader knows all about them.
    parsed = [
        {"_event": event, "fields": fields}
        for event, text in events.filter(quoted).iter_rows()
        for fields in csv.reader(io.StringIO(text))
    ]
    rows = pl.concat([plain, pl.DataFrame(parsed, schema=plain.schema)])
    rows = rows.with_columns(width=pl.col("fields").list.len())
    odd = rows.filter(pl.col("width") != width).unique("_event", keep="first", maintain_order=True)
    fitting = rows.filter(~pl.col("_event").is_in(odd["_event"].to_list()))
    return fitting.drop("width"), dict(odd.select("_event", "width").iter_rows())


def _json_rows(
    events: Iterable[tuple[int, str]], member: str
) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows of JSON payloads, values as text, and the events that are of another form."""
    rows: list[dict[str, Any]] = []
    unreadable = []
    for event, text in events:
        try:
            # Numbers stay as they were written.
            found = json.loads(text, parse_int=str, parse_float=str)[member]
            rows += [
                {"_event": event} | {name: _plain(value) for name, value in entry.items()}
                for entry in found
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            unreadable.append(event)
    return rows, unreadable


def _plain(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _keys(rows: list[dict[str, Any]]) -> list[str]:
    """The keys of the rows but `_event`, in order."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name != "_event"]
