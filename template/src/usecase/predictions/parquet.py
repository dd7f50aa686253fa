"""Predictions as the batch workflow keeps them: Parquet, a folder for each day.

    predictions/day=2026-01-31/predictions.parquet
    rejected/day=2026-01-31/rejected.parquet

The day is that of the record's time, UTC. There is one file a day, so that scoring a day again
replaces it.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from usecase import container
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.problem import PREDICTION, VALUE

PREDICTIONS, REJECTED = "predictions", "rejected"
DAY = "day"


def columns(use_case: UseCase) -> dict[str, dict[str, type]]:
    """The columns of both tables and their types, but for the day, which is the folder's.

    Raises:
        UseCaseError: When two columns would have the same name.
    """
    data, target = use_case.data, use_case.target
    identity: dict[str, type] = {data.id: str, data.time: datetime}
    features: dict[str, type] = dict.fromkeys(use_case.features.numeric, float)
    features |= dict.fromkeys(use_case.features.categorical, str)
    known: dict[str, type] = {"model_version": int, "scored_at": datetime}
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


def read(
    folder: Path, use_case: UseCase, start: datetime | None = None, end: datetime | None = None
) -> pl.DataFrame:
    """Read the predictions of the version that MODEL_VERSION names, else of all.

    Args:
        folder: The files are in it or below it.
        use_case: Names the features.
        start: Leave out records that are older; with a time zone.
        end: Leave out records of this time and newer ones; with a time zone.

    Returns:
        A row per record, in order of time: `inference_id` (the record's id), `time` (the record's,
        UTC), `row` (0), the features as text (null where missing), and `prediction`.
    """
    data, schema = use_case.data, _schema(columns(use_case)[PREDICTIONS])
    parts = [own(pl.read_parquet(file)) for file in sorted(folder.rglob("*.parquet"))]
    parts = [part for part in parts if not part.is_empty()]
    table = pl.concat(parts, how="vertical") if parts else pl.DataFrame(schema=schema)
    found = table.sort(data.time, data.id).select(
        pl.col(data.id).alias("inference_id"),
        pl.col(data.time).dt.replace_time_zone("UTC").alias("time"),
        pl.lit(0).alias("row"),
        pl.col(use_case.features.names).cast(pl.String),
        pl.col(PREDICTION).cast(VALUE).alias("prediction"),
    )
    if start:
        found = found.filter(pl.col("time") >= start)
    if end:
        found = found.filter(pl.col("time") < end)
    return found


def own(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the version, if one is asked for."""
    version = os.environ.get("MODEL_VERSION")
    return table.filter(pl.col("model_version") == int(version)) if version else table


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


def typed(table: pl.DataFrame, kinds: Mapping[str, type]) -> pl.DataFrame:
    """A table with just these columns, of these types."""
    return table.select(
        pl.col(name).cast(kind, strict=False) for name, kind in _schema(kinds).items()
    )


def nothing(kinds: Mapping[str, type]) -> pl.DataFrame:
    """A table without rows."""
    return pl.DataFrame(schema=_schema(kinds))


def together(parts: Iterable[pl.DataFrame], kinds: Mapping[str, type]) -> pl.DataFrame:
    """Tables below each other."""
    return pl.concat([nothing(kinds), *(typed(part, kinds) for part in parts)])


def _schema(kinds: Mapping[str, type]) -> dict[str, pl.DataType]:
    types = {
        str: pl.String(),
        float: pl.Float64(),
        int: pl.Int64(),
        datetime: pl.Datetime("us"),
    }
    return {name: types[kind] for name, kind in kinds.items()}
