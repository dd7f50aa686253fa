"""Predictions as the batch workflow keeps them: Parquet, a folder for each day.

    predictions/day=2026-01-31/predictions.parquet
    rejected/day=2026-01-31/rejected.parquet

The day is that of the record's time, UTC. There is one file a day, so that scoring a day again
replaces it.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from usecase import container
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.predictions import reading
from usecase.predictions.reading import Reading, Window
from usecase.problem import PREDICTION, VALUE

PREDICTIONS, REJECTED = "predictions", "rejected"
DAY = "day"
VERSION = "model_version"


def columns(use_case: UseCase) -> dict[str, dict[str, type]]:
    """The columns of both tables and their types, but for the day, which is the folder's.

    Raises:
        UseCaseError: When two columns would have the same name.
    """
    data, target = use_case.data, use_case.target
    identity: dict[str, type] = {data.id: str, data.time: datetime}
    features: dict[str, type] = dict.fromkeys(use_case.features.numeric, float)
    features |= dict.fromkeys(use_case.features.categorical, str)
    known: dict[str, type] = {VERSION: int, "scored_at": datetime}
    names = [DAY, *identity, *features, *target.answer, *known, "reason"]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UseCaseError(
            f"usecase.toml: {', '.join(twice)}: predictions have a column of this name already; "
            "rename it in features.build"
        )
    return {
        PREDICTIONS: {**identity, **features, **target.answer, **known},
        REJECTED: {**identity, "reason": str, **known},
    }


def write(folder: Path, table: pl.DataFrame, days: Sequence[date], time: str) -> None:
    """Write a table day by day, also the days of which it has no rows.

    Args:
        folder: `<folder>/day=YYYY-MM-DD/<folder's name>.parquet` is written.
        table: The rows.
        days: The days; rows of no day count as the last one's.
        time: The column with the time of the record.
    """
    by_day = table.with_columns(pl.col(time).dt.date().fill_null(days[-1]).alias(DAY)).partition_by(
        DAY, as_dict=True, include_key=False
    )
    for day in days:
        path = folder / f"{DAY}={day}" / f"{folder.name}.parquet"
        container.write(path, by_day.get((day,), table.clear()).write_parquet)


def read(folder: Path, use_case: UseCase, window: Window = reading.ALL) -> Reading:
    """Read predictions.

    Args:
        folder: The files are in it or below it.
        use_case: Names the features.
        window: Which predictions are judged, by the time of the record; one whose time is not of
            the day that it is filed under counts by that day.

    Returns:
        The predictions; `inference_id` is the record's id, and `row` is 0.

    Raises:
        UseCaseError: When a file of the version lacks a column.
    """
    parts = [_part(file, use_case, window) for file in sorted(folder.rglob("*.parquet"))]
    rows = pl.concat([_rows(nothing(columns(use_case)[PREDICTIONS]), use_case), *parts])
    version, judged = pl.col("version"), pl.lit(window.version)
    time, day = pl.col("time"), pl.col("day")
    believed = pl.col("reason").fill_null("") != reading.MISTIMED
    rows = rows.with_columns(
        where=pl.when((judged != "") & (version != judged))
        .then(pl.lit(reading.OTHER_VERSION))
        .when(believed & time.is_not_null())
        .then(window.place(time, time))
        .otherwise(window.place(day, day + timedelta(days=1, microseconds=-1)))
    ).sort("time", "inference_id")
    within = rows.filter(pl.col("where").is_null())
    dropped = within.filter(pl.col("reason").is_not_null())
    judged_rows = within.filter(pl.col("reason").is_null())
    others = [
        rows.filter(pl.col("where").is_not_null()).select("inference_id", "where"),
        dropped.select("inference_id", where=pl.lit(reading.DROPPED)),
    ]
    return Reading(
        rows=judged_rows.drop("version", "day", "reason", "where"),
        read=judged_rows.height,
        dropped=dict(dropped["reason"].value_counts(sort=True).iter_rows()),
        examples={},
        others=pl.concat(others).drop_nulls(),
    )


def made(folder: Path, use_case: UseCase) -> pl.DataFrame:
    """Of which records there are predictions, by whichever version, of whatever features.

    Returns:
        `inference_id` (the record's id) and `time` (the record's, UTC).
    """
    data = use_case.data
    none = pl.DataFrame(schema={data.id: pl.String, data.time: pl.Datetime("us")})
    files = sorted(folder.rglob("*.parquet"))
    table = pl.concat([none, *(pl.read_parquet(file, columns=none.columns) for file in files)])
    return table.select(
        pl.col(data.id).alias("inference_id"),
        pl.col(data.time).dt.replace_time_zone("UTC").alias("time"),
    )


def _part(file: Path, use_case: UseCase, window: Window) -> pl.DataFrame:
    """The rows of a file, as `_rows` has them. Those of other versions may have other features.

    Raises:
        UseCaseError: When it is no Parquet file, or lacks a column that the version has.
    """
    where = "/".join(file.parts[-2:])
    try:
        table = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UseCaseError(f"predictions: {where} is no Parquet file: {error}") from None
    identity = [use_case.data.id, use_case.data.time, VERSION]
    needed = identity
    own = not window.version or VERSION not in table.columns
    if own or window.version in table[VERSION].cast(pl.String).unique():
        needed = [*identity, *use_case.features.names, PREDICTION]
    if missing := [name for name in needed if name not in table.columns]:
        raise UseCaseError(f"predictions: {where} has no column {', '.join(missing)}")
    return _rows(table, use_case, file.parent.name.removeprefix(f"{DAY}="))


def _rows(table: pl.DataFrame, use_case: UseCase, day: str = "") -> pl.DataFrame:
    """Predictions as the monitors read them, with `version`, `day`, and why not to judge them.

    Args:
        table: Predictions as they are kept; a feature that is not there is empty.
        use_case: Names the columns.
        day: The day that they are filed under, in ISO 8601; empty when that is not known.
    """
    data, names = use_case.data, use_case.features.names
    absent = [name for name in (*names, PREDICTION) if name not in table.columns]
    time = pl.col("time")
    filed = pl.lit(day).str.to_datetime("%Y-%m-%d", time_zone="UTC", strict=False)
    return (
        table.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
        .select(
            pl.col(data.id).alias("inference_id"),
            pl.col(data.time).dt.replace_time_zone("UTC").alias("time"),
            pl.lit(0, pl.Int64).alias("row"),
            pl.col(names).cast(pl.String),
            pl.col(PREDICTION).cast(VALUE).alias("prediction"),
            pl.col(VERSION).cast(pl.String).alias("version"),
            filed.alias("day"),
        )
        .with_columns(
            reason=pl.when(pl.col("inference_id").is_null() | time.is_null())
            .then(pl.lit(reading.INCOMPLETE))
            .when(time.dt.truncate("1d") != pl.col("day"))
            .then(pl.lit(reading.MISTIMED))
            .when(pl.col("prediction").is_null())
            .then(pl.lit(reading.UNANSWERED))
        )
    )


def typed(table: pl.DataFrame, kinds: Mapping[str, type]) -> pl.DataFrame:
    """A table with just these columns, of these types."""
    return table.select(
        pl.col(name).cast(kind, strict=False) for name, kind in _schema(kinds).items()
    )


def nothing(kinds: Mapping[str, type]) -> pl.DataFrame:
    """A table without rows."""
    return pl.DataFrame(schema=_schema(kinds))


def _schema(kinds: Mapping[str, type]) -> dict[str, pl.DataType]:
    types = {
        str: pl.String(),
        float: pl.Float64(),
        int: pl.Int64(),
        datetime: pl.Datetime("us"),
    }
    return {name: types[kind] for name, kind in kinds.items()}
