"""What the endpoint has captured: requests and answers.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html

The endpoint configuration of each version has a destination of its own, so that the path of a file
tells which version has answered: `version=<N>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from usecase import inputs, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.lookups import Lookup
from usecase.predictions import payloads, reading
from usecase.predictions.parquet import (
    ID,
    ROW,
    SCORED_AT,
    TIME,
    UNEXPECTED,
    VERSION,
    feature_columns,
)
from usecase.problem import PREDICTION, VALUE
from usecase.rows import Fields

_PAYLOAD = pl.Struct(dict.fromkeys(("observedContentType", "data", "encoding"), pl.String))
_EVENT = {
    "captureData": pl.Struct({"endpointInput": _PAYLOAD, "endpointOutput": _PAYLOAD}),
    "eventMetadata": pl.Struct(
        dict.fromkeys(("eventId", "inferenceId", "inferenceTime"), pl.String)
    ),
}
_METADATA = pl.col("eventMetadata").struct
_INFERENCE_ID = pl.coalesce(_METADATA.field("inferenceId"), _METADATA.field("eventId"))
_INFERENCE_TIME = _METADATA.field("inferenceTime").str.to_datetime(
    "%+", time_zone="UTC", strict=False
)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Captured:
    """What was captured of a version.

    Attributes:
        files: The files, by their paths below the folder of all captures.
        rows: A row per record, with the columns of the table `predictions`, and the `file`.
        rejected: A row per event that cannot be read, with those of `rejected`, and the `file`.
    """

    files: list[str]
    rows: pl.DataFrame
    rejected: pl.DataFrame


def read(folder: Path, use_case: UseCase, version: str, known: Mapping[str, Lookup]) -> Captured:
    """Read what was captured of a version.

    Args:
        folder: All captures are below it. Those that lie in the folder of no version are read too,
            to be rejected: it is not on record whose they are.
        use_case: Names the features.
        version: The version.
        known: Its look-ups, which make features of requests.

    Raises:
        UseCaseError: When a file is in no folder of an hour.
    """
    paths = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jsonl")))
    files = [file for file in paths if reading.version_of(file) in (version, None)]
    places = pl.DataFrame(
        [(file, reading.version_of(file), hour_of(file)) for file in files],
        schema={"file": pl.String, "version": pl.String, "hour": pl.Datetime("us", "UTC")},
        orient="row",
    )
    lines = tables.read_lines(folder, _EVENT)
    events = _events(lines.join(places, on="file", maintain_order="left"))
    rows, broken = _records(events.filter(pl.col("reason").is_null()), use_case, known)
    events = events.join(broken, on="_event", how="left", maintain_order="left")
    own = pl.col("version").cast(pl.Int64).alias(VERSION)
    identity = events.select("_event", "file", ID, TIME, own, pl.col(TIME).alias(SCORED_AT))
    rejected = events.select(
        "file",
        ID,
        pl.when(~pl.col("mistimed")).then(TIME).alias(TIME),
        pl.coalesce("reason", "broken"),
        own,
        # Where the time is not known, or cannot be believed, the folder tells the hour.
        pl.when(pl.col("mistimed") | pl.col(TIME).is_null())
        .then("hour")
        .otherwise(TIME)
        .alias(SCORED_AT),
    )
    return Captured(
        files=files,
        rows=rows.join(identity, on="_event", maintain_order="left"),
        rejected=rejected.drop_nulls("reason"),
    )


def made(folder: Path) -> pl.DataFrame:
    """When predictions were made, by whichever version, of whatever features.

    Returns:
        `inference_id`; `time`, UTC; and `version`, null where the file's path does not tell it.
    """
    lines = tables.read_lines(folder, {"eventMetadata": _EVENT["eventMetadata"]})
    versions = {file: reading.version_of(file) for file in lines["file"].unique()}
    return lines.select(
        _INFERENCE_ID.alias(ID),
        _INFERENCE_TIME.alias(TIME),
        version=pl.col("file").replace_strict(versions, return_dtype=pl.String),
    )


def hour_of(file: str) -> datetime:
    """The hour of the folder that a file was captured to, UTC.

    Raises:
        UseCaseError: When it is in none.
    """
    hour = reading.hour_of(file)
    if hour is None:
        raise UseCaseError(f"capture: {file} is in no folder of an hour, yyyy/mm/dd/hh")
    return hour


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    """What is known of each line that was captured.

    Args:
        lines: What `tables.read_lines` returned, with the `version` and the `hour` of the file.

    Returns:
        `_event`, its number; `file`, `hour`, `inference_id`, `time`; whether it is `mistimed`; of
        each side its text and whether it is JSON; and the `reason` why it cannot be read.
    """
    sent, answered = (
        pl.col("captureData").struct.field(name) for name in ("endpointInput", "endpointOutput")
    )
    events = lines.with_row_index("_event").select(
        "_event",
        "file",
        "readable",
        "version",
        "hour",
        _INFERENCE_ID.alias(ID),
        _INFERENCE_TIME.alias(TIME),
        sent=_text(sent, "instances"),
        sent_json=_is_json(sent),
        answered=_text(answered, "predictions"),
        answered_json=_is_json(answered),
        whole=_is_whole(sent) & _is_whole(answered),
    )
    time, hour = pl.col(TIME), pl.col("hour")
    # What was captured at the end of an hour can be filed under the next one.
    near = time.is_between(hour - _HOUR, hour + _HOUR, closed="left")
    return events.with_columns(mistimed=~near.fill_null(value=True)).with_columns(
        reason=pl.when(~pl.col("readable"))
        .then(pl.lit(reading.UNREADABLE))
        .when(~pl.col("whole") | time.is_null() | pl.col(ID).is_null())
        .then(pl.lit(reading.INCOMPLETE))
        .when(pl.col("sent").is_null() | pl.col("answered").is_null())
        .then(pl.lit(reading.UNREADABLE))
        .when(pl.col("mistimed"))
        .then(
            pl.format(f"{reading.MISTIMED}: {{}} in {{}}", time.dt.to_string("iso:strict"), "file")
        )
        .when(pl.col("version").is_null())
        .then(pl.format(f"{reading.UNVERSIONED}: {{}}", "file"))
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
    events: pl.DataFrame, use_case: UseCase, known: Mapping[str, Lookup]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records of the events' payloads.

    Args:
        events: With `_event`, their number.
        use_case: Names the features.
        known: The look-ups of the version.

    Returns:
        `_event`, `row`, the features and the fields of the answer in their columns, and what fits
        none; and of the events that have no such rows `_event` and the reason, `broken`.
    """
    names, answer = use_case.features.names, [*use_case.target.answer]
    raw = payloads.raw(events, use_case)
    sent = payloads.read(events.filter(~raw), "sent", "instances", names)
    columns, unreadable, odd = _columns(sent.rows, use_case), sent.unreadable, sent.odd
    if use_case.request and raw.any():
        fields = Fields.of_request(use_case.request)
        asked = payloads.read(events.filter(raw), "sent", "instances", fields.names)
        columns = pl.concat([columns, _computed(asked.rows, fields, known, use_case)])
        unreadable, odd = unreadable + asked.unreadable, odd | asked.odd
    answered = payloads.read(events, "answered", "predictions", answer).rows
    rows = columns.join(
        answered.select(
            "_event", "_row", *answer, _value=pl.col(PREDICTION).cast(VALUE, strict=False)
        ),
        on=["_event", "_row"],
        how="full",
        coalesce=True,
    )
    unanswered = rows.filter(pl.col("_sent").is_null() | pl.col("_value").is_null())["_event"]
    whole = rows.filter(~pl.col("_event").is_in(unanswered.unique().to_list()))
    event = pl.col("_event")
    width = event.replace_strict(odd, default=None, return_dtype=pl.String)
    broken = events.filter(~event.is_in(whole["_event"].unique().to_list())).select(
        "_event",
        broken=pl.when(width.is_not_null())
        .then(pl.format(f"{reading.OTHER_FIELDS}: {{}}", width))
        .when(event.is_in(unreadable))
        .then(pl.lit(reading.UNREADABLE))
        .otherwise(pl.lit(reading.UNANSWERED)),
    )
    rows = whole.sort("_event", "_row").drop("_sent", "_value")
    return rows.rename({"_row": ROW}), broken


def _columns(sent: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """The rows of requests in the columns of the table.

    Args:
        sent: `_event`, `_row`, and the fields as text: the features, and others.
        use_case: Names the features.

    Returns:
        `_event`, `_row`, `_sent`, the features, and what fits none of them as JSON.
    """
    stored, numeric = feature_columns(use_case), use_case.features.numeric
    # A number may have space around it: the server takes such.
    numbers = sent.select(pl.col(numeric).str.strip_chars().cast(pl.Float64, strict=False))
    numbers = numbers.with_columns(pl.when(pl.all().is_finite()).then(pl.all()))
    others = [name for name in sent.columns if name not in ("_event", "_row", *stored)]
    odd = sent.select(
        *others, *(pl.when(numbers[name].is_null()).then(name).alias(name) for name in numeric)
    )
    unexpected: list[str | None] = [None] * sent.height
    if odd.null_count().sum_horizontal().sum() < odd.height * odd.width:
        for place, row in enumerate(odd.iter_rows(named=True)):
            if found := {name: text for name, text in row.items() if text is not None}:
                unexpected[place] = json.dumps(found)
    return sent.with_columns(numbers).select(
        "_event",
        "_row",
        *(pl.col(name).alias(column) for name, column in stored.items()),
        pl.Series(UNEXPECTED, unexpected, pl.String),
        _sent=pl.lit(value=True),
    )


def _computed(
    asked: pl.DataFrame, fields: Fields, known: Mapping[str, Lookup], use_case: UseCase
) -> pl.DataFrame:
    """Requests in the columns of the table, with the features that the version made of them.

    An infinite one is missing: the server has refused the request.

    Args:
        asked: `_event`, `_row`, and the fields as text.
        fields: Those of `[request]`.
        known: The look-ups of the version.
        use_case: Names the features.

    Returns:
        As `_columns`.
    """
    features, _ = inputs.finite(inputs.of_requests(payloads.typed(asked, fields), known, use_case))
    numeric = use_case.features.numeric
    return asked.select("_event", "_row").with_columns(
        *(
            features[name].cast(pl.Float64 if name in numeric else pl.String).alias(column)
            for name, column in feature_columns(use_case).items()
        ),
        pl.lit(None, pl.String).alias(UNEXPECTED),
        _sent=pl.lit(value=True),
    )
