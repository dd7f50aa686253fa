"""What the endpoint has captured: requests and answers.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import csv
import io
import json
import logging
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from usecase import tables
from usecase.config import UseCase
from usecase.problem import PREDICTION, VALUE

LOG = logging.getLogger(__name__)

_PAYLOAD = pl.Struct(dict.fromkeys(("observedContentType", "data", "encoding"), pl.String))
_EVENT = {
    "captureData": pl.Struct({"endpointInput": _PAYLOAD, "endpointOutput": _PAYLOAD}),
    "eventMetadata": pl.Struct(
        dict.fromkeys(("eventId", "inferenceId", "inferenceTime"), pl.String)
    ),
}


def read(
    folder: Path, use_case: UseCase, start: datetime | None = None, end: datetime | None = None
) -> pl.DataFrame:
    """Read the captured predictions of the version that MODEL_VERSION names, else of all.

    Events that cannot be read are left out; their number is logged.

    Args:
        folder: The capture's files are in it or below it.
        use_case: Names the features.
        start: Leave out what is older; with a time zone.
        end: Leave out this and what is newer; with a time zone.

    Returns:
        A row per record, in order of time: `inference_id` (the event's id where the caller gave
        none), `time` (UTC), `row` (its place in the request, from 0), the features as they were
        sent, as text (null where missing), and `prediction`.
    """
    lines = tables.read_lines(of_version(folder), _EVENT)
    sent, answered = (
        pl.col("captureData").struct.field(name) for name in ("endpointInput", "endpointOutput")
    )
    metadata = pl.col("eventMetadata").struct
    events = lines.select(
        inference_id=pl.coalesce(metadata.field("inferenceId"), metadata.field("eventId")),
        time=metadata.field("inferenceTime").str.to_datetime("%+", time_zone="UTC", strict=False),
        sent=_text(sent, "instances"),
        sent_json=_is_json(sent),
        answered=_text(answered, "predictions"),
        answered_json=_is_json(answered),
    )
    usable = pl.all_horizontal(pl.all().is_not_null())
    _report(events.height - events.filter(usable).height, "incomplete")
    events = events.filter(usable)
    if start:
        events = events.filter(pl.col("time") >= start)
    if end:
        events = events.filter(pl.col("time") < end)
    return _records(events.sort("time", maintain_order=True), use_case)


def of_version(folder: Path) -> Path:
    """Where the captures of the version are, if they are told apart."""
    own = folder / f"version={os.environ.get('MODEL_VERSION', '')}"
    return own if own.exists() else folder


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


def _report(number: int, reason: str) -> None:
    if number:
        LOG.warning("left out %d captured events that are %s", number, reason)


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


def _is_json(payload: pl.Expr) -> pl.Expr:
    return _has_type(payload, "application/json")  # JSON Lines too


def _has_type(payload: pl.Expr, beginning: str) -> pl.Expr:
    content_type = payload.struct.field("observedContentType")
    return content_type.str.to_lowercase().str.starts_with(beginning)


def _records(events: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """A row per record of the events' payloads."""
    names = use_case.features.names
    events = events.with_row_index("_event")
    sent = _payloads(events, "sent", "instances", names)
    answered = _payloads(events, "answered", "predictions", list(use_case.target.answer))
    rows = sent.with_columns(_sent=True).join(
        answered.select("_event", "row", prediction=pl.col(PREDICTION).cast(VALUE, strict=False)),
        on=["_event", "row"],
        how="full",
        coalesce=True,
    )
    broken = rows.filter(pl.col("_sent").is_null() | pl.col("prediction").is_null())["_event"]
    rows = rows.filter(~pl.col("_event").is_in(broken.unique().to_list()))
    _report(events.height - rows["_event"].n_unique(), "not rows with a prediction each")
    further = [name for name in sent.columns if name not in ("_event", "row", *names)]
    return (
        rows.join(events.select("_event", "inference_id", "time"), on="_event")
        .sort("_event", "row")
        .select("inference_id", "time", "row", *names, *further, "prediction")
    )


def _payloads(events: pl.DataFrame, side: str, member: str, names: list[str]) -> pl.DataFrame:
    """The rows of one side of the events, all as text.

    Args:
        events: `_event`, and of the side its text and whether it is JSON.
        side: `sent` or `answered`.
        member: The member of a JSON payload that holds the rows.
        names: What the fields of a CSV row are.

    Returns:
        `_event`, `row`, these columns, and others that JSON rows have.
    """
    is_json = pl.col(f"{side}_json")
    csv_rows = _csv_rows(events.filter(~is_json).select("_event", text=side), len(names))
    json_rows = _json_rows(events.filter(is_json).select("_event", side).iter_rows(), member)
    from_csv = csv_rows.select(
        "_event",
        *(pl.col("fields").list.get(i).alias(name) for i, name in enumerate(names)),
    )
    schema = {"_event": pl.UInt32} | dict.fromkeys([*names, *_keys(json_rows)], pl.String)
    from_json = pl.DataFrame(json_rows, schema=schema, orient="row")
    return pl.concat([from_csv, from_json], how="diagonal").with_columns(
        pl.exclude("_event").replace("", None),
        row=pl.int_range(pl.len()).over("_event"),
    )


def _csv_rows(events: pl.DataFrame, width: int) -> pl.DataFrame:
    """Split CSV payloads into rows and fields: `_event`, `fields`.

    An event with a row of another width is left out.
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
    return rows.filter((pl.col("fields").list.len() == width).all().over("_event"))


def _json_rows(events: Iterable[tuple[int, str]], member: str) -> list[dict[str, Any]]:
    """The rows of JSON payloads, values as text; an event of another form is left out."""
    rows: list[dict[str, Any]] = []
    for event, text in events:
        try:
            # Numbers stay as they were written.
            found = json.loads(text, parse_int=str, parse_float=str)[member]
            rows += [
                {"_event": event} | {name: _plain(value) for name, value in entry.items()}
                for entry in found
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return rows


def _plain(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _keys(rows: list[dict[str, Any]]) -> list[str]:
    """The keys of the rows but `_event`, in order."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name != "_event"]
