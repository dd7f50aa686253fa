"""The table of predictions: Parquet, a folder for each day.

    predictions/day=2026-01-31/<file>.parquet    what was predicted
    rejected/day=2026-01-31/<file>.parquet       what could not be, and why

The day is that of the row's time, UTC.
"""

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from usecase import container
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.predictions import reading
from usecase.predictions.reading import Reading, Window
from usecase.problem import PREDICTION, VALUE

PREDICTIONS, REJECTED = "predictions", "rejected"
DAY = "day"
DAY_FOLDER = f"{DAY}=%Y-%m-%d"
ID, ROW, TIME, VERSION = "inference_id", "row", "time", "model_version"
#: What a request had that fits no column, as a JSON object of texts: fields that the model does not
#: have, and values of numeric features that are not numbers.
UNEXPECTED = "unexpected"
#: When it was predicted; of what could not be read, the hour that it was filed under.
SCORED_AT = "scored_at"
#: The key of the hashes, by its key in the data bucket.
LOG_KEY = "log-key/hmac.key"

_FILE = "_file"
_NOWHERE = pl.lit(None, pl.String).alias(_FILE)
_IDENTITY = (ID, TIME, ROW, VERSION)
#: Columns that files of earlier versions need not have.
_LATER = {UNEXPECTED, SCORED_AT}


def columns(use_case: UseCase) -> dict[str, dict[str, type]]:
    """The columns of both tables and their types, but for the day, which is the folder's.

    `inference_id` is what labels meet a prediction by, `row` the record's place in a request of
    several, from 0. `time`, UTC, is what a monitor finds a prediction by.

    Raises:
        UseCaseError: When two columns would have the same name.
    """
    stored, answer = feature_columns(use_case), use_case.target.answer
    features: dict[str, type] = {stored[name]: float for name in use_case.features.numeric}
    features |= {stored[name]: str for name in use_case.features.strings}
    origin: dict[str, type] = {VERSION: int, SCORED_AT: datetime}
    names = [name.lower() for name in (*stored.values(), *_reserved(use_case))]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UseCaseError(
            f"usecase.toml: {', '.join(twice)}: predictions have two columns of this name; "
            "rename one in features.build"
        )
    predictions = {ID: str, ROW: int, TIME: datetime, **features, **answer, UNEXPECTED: str}
    return {
        PREDICTIONS: {**predictions, **origin},
        REJECTED: {ID: str, TIME: datetime, "reason": str, **origin},
    }


def feature_columns(use_case: UseCase) -> dict[str, str]:
    """The column of each feature: its name, unless another column has that already."""
    taken = {name.lower() for name in _reserved(use_case)}
    names = use_case.features.names
    return {name: f"feature_{name}" if name.lower() in taken else name for name in names}


def _reserved(use_case: UseCase) -> list[str]:
    """The columns that are not features. Athena does not tell upper from lower case."""
    return [DAY, ID, ROW, TIME, VERSION, SCORED_AT, UNEXPECTED, *use_case.target.answer]


def withhold(rows: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """Rows of the table `predictions` without the values that `[log]` keeps out of it.

    Of a field that is not known the name is kept, as nobody can tell what its value is.

    Args:
        rows: The features in their columns, and maybe what fits none of them.
        use_case: Names what is dropped and what is hashed.

    Raises:
        UseCaseError: When something is hashed, and the job was not given the key.
    """
    log, stored = use_case.log, feature_columns(use_case)
    if log.hash:
        key = _log_key()
        rows = rows.with_columns(_hashed(rows[stored[name]], key) for name in log.hash)
    if log.withheld and UNEXPECTED in rows.columns:  # batches have none
        kept = [_kept(text, use_case) if text else None for text in rows[UNEXPECTED]]
        rows = rows.with_columns(pl.Series(UNEXPECTED, kept, pl.String))
    columns = [stored[name] for name in log.drop]
    return rows.with_columns(pl.lit(None, rows.schema[name]).alias(name) for name in columns)


def _log_key() -> bytes:
    path = container.processing_input("files") / LOG_KEY
    try:
        return path.read_bytes()
    except OSError:
        raise UseCaseError(
            f"log.hash: the job was not given {LOG_KEY}; leave log.hash in usecase.toml as long "
            "as versions with it are in use, and `uv run poe deploy`"
        ) from None


def _hashed(values: pl.Series, key: bytes) -> pl.Series:
    """The HMAC-SHA-256 of each value, in hexadecimal digits."""
    known = values.drop_nulls().unique()
    hashes = [hmac.digest(key, value.encode(), "sha256").hex() for value in known]
    return values.replace_strict(known, pl.Series(hashes, dtype=pl.String), default=None)


def _kept(text: str, use_case: UseCase) -> str | None:
    """What fits no column, without values of what is withheld or not known."""
    features, withheld = use_case.features.names, use_case.log.withheld
    found = {
        name: value if name in features else None
        for name, value in json.loads(text).items()
        if name not in withheld
    }
    return json.dumps(found) if found else None


def read(folders: Sequence[Path], use_case: UseCase, window: Window = reading.ALL) -> Reading:
    """Read predictions.

    Args:
        folders: Each may have a folder of each table. Of a file that is in several of them, the
            last one's counts.
        use_case: Names the features.
        window: Which predictions are judged, by their time; one whose time is not of the day that
            it is filed under counts by that day.

    Returns:
        The predictions.

    Raises:
        UseCaseError: When a file is not a Parquet file, or lacks a column that it needs: of the
            version that is judged all, of others those that identify a prediction.
    """
    kinds = columns(use_case)
    none = {name: nothing(found).with_columns(_NOWHERE) for name, found in kinds.items()}
    parts = [_predictions(none[PREDICTIONS], use_case), _rejected(none[REJECTED])]
    for part in _load(folders, PREDICTIONS, use_case):
        _check(part, PREDICTIONS, _IDENTITY)
        if not window.version or window.version in part[VERSION].cast(pl.String):
            _check(part, PREDICTIONS, kinds[PREDICTIONS].keys() - _LATER)
        parts.append(_predictions(part, use_case))
    for part in _load(folders, REJECTED, use_case):
        _check(part, REJECTED, kinds[REJECTED])
        parts.append(_rejected(part))
    version, judged = pl.col(VERSION), pl.lit(window.version)
    # Predictions of the same time, which may be told in whole seconds, are in the files' order.
    rows = pl.concat(parts, how="diagonal").sort(TIME, _FILE, maintain_order=True)
    rows = rows.with_columns(
        where=pl.when((judged != "") & (version != judged))
        .then(pl.lit(reading.OTHER_VERSION))
        .otherwise(window.place(pl.col("first"), pl.col("last")))
    )
    within = rows.filter(pl.col("where").is_null())
    dropped = within.filter(pl.col("reason").is_not_null())
    kept = within.filter(pl.col("reason").is_null())
    examples = dropped.drop_nulls("detail").unique("reason", keep="first", maintain_order=True)
    first = pl.col(ROW) == 0  # one of each request
    others = [
        rows.filter(first & pl.col("where").is_not_null()).select(ID, "where"),
        dropped.select(ID, where=pl.lit(reading.DROPPED)),
    ]
    return Reading(
        rows=kept.select(ID, TIME, ROW, "prediction"),
        features=_features(kept, use_case),
        read=kept.filter(first).height,
        dropped=dict(dropped["reason"].value_counts(sort=True).iter_rows()),
        examples=dict(examples.select("reason", "detail").iter_rows()),
        others=pl.concat(others).drop_nulls(),
    )


def made(folders: Sequence[Path], use_case: UseCase) -> pl.DataFrame:
    """Which predictions there are, by whichever version, of whatever features.

    Args:
        folders: As `read` takes them.
        use_case: Names the columns.

    Returns:
        `inference_id` and `time`, UTC.
    """
    found = [pl.DataFrame(schema={ID: pl.String, TIME: pl.Datetime("us", "UTC")})]
    for part in _load(folders, PREDICTIONS, use_case):
        _check(part, PREDICTIONS, _IDENTITY)
        found.append(part.select(ID, pl.col(TIME).dt.replace_time_zone("UTC")))
    return pl.concat(found)


def scan(folders: Sequence[Path], table: str, use_case: UseCase) -> Iterator[pl.LazyFrame]:
    """The files of a table, those with the same columns together, as they are kept.

    Args:
        folders: As `read` takes them.
        table: `PREDICTIONS` or `REJECTED`.
        use_case: Names the columns of batches from before there was one table for all modes.

    Raises:
        UseCaseError: When one is not a Parquet file.
    """
    for paths in _alike(folders, table):
        yield _renamed(pl.scan_parquet(paths, hive_partitioning=False), use_case)


def _load(folders: Sequence[Path], table: str, use_case: UseCase) -> Iterator[pl.DataFrame]:
    """The same, in memory, with `_file`."""
    for paths in _alike(folders, table):
        found = pl.scan_parquet(paths, include_file_paths=_FILE, hive_partitioning=False)
        file = pl.col(_FILE).str.extract(r"([^/]+/[^/]+)$")
        yield _renamed(found, use_case).with_columns(file).collect()


def _alike(folders: Sequence[Path], table: str) -> Iterator[list[Path]]:
    """The files of a table that have the same columns."""
    found = {
        path.relative_to(folder / table).as_posix(): path
        for folder in folders
        for path in (folder / table).rglob("*.parquet")
    }
    alike: dict[tuple[Any, ...], list[Path]] = {}
    for name in sorted(found):
        try:
            schema = pl.read_parquet_schema(found[name])
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UseCaseError(f"{table}: {name} is not a Parquet file: {error}") from None
        alike.setdefault(tuple(schema.items()), []).append(found[name])
    yield from alike.values()


def _renamed(found: pl.LazyFrame, use_case: UseCase) -> pl.LazyFrame:
    """A table whose columns have today's names."""
    if ID in (names := found.collect_schema().names()):
        return found
    own = {use_case.data.id: ID, use_case.data.time: TIME}
    found = found.rename({old: new for old, new in own.items() if old in names})
    return found.with_columns(pl.lit(0, pl.Int64).alias(ROW))


def _check(part: pl.DataFrame, table: str, needed: Iterable[str]) -> None:
    """Check that files of a table have the columns that they need.

    Raises:
        UseCaseError: When one is missing.
    """
    if missing := [name for name in needed if name not in part.columns]:
        raise UseCaseError(f"{table}: {part[_FILE][0]} has no column {', '.join(missing)}")


def _predictions(part: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """Predictions as `read` needs them, with the span of time that each is of.

    Args:
        part: Predictions as they are kept; a column of another version may be missing.
        use_case: Names the columns.
    """
    texts = [*feature_columns(use_case).values(), UNEXPECTED]
    absent = [name for name in (*texts, PREDICTION) if name not in part.columns]
    time = pl.col(TIME)
    filed = pl.col(_FILE).str.extract(rf"^{DAY}=([^/]+)/")
    day = filed.str.to_datetime("%Y-%m-%d", time_zone="UTC", strict=False)
    rows = part.with_columns(pl.lit(None, pl.String).alias(name) for name in absent).select(
        ID,
        time.dt.replace_time_zone("UTC"),
        ROW,
        pl.col(texts).cast(pl.String),
        pl.col(PREDICTION).cast(VALUE).alias("prediction"),
        pl.col(VERSION).cast(pl.String),
        _FILE,
        day.alias(DAY),
    )
    rows = rows.with_columns(
        reason=pl.when(pl.col(ID).is_null() | time.is_null())
        .then(pl.lit(reading.INCOMPLETE))
        .when(time.dt.truncate("1d") != pl.col(DAY))
        .then(pl.lit(reading.MISTIMED))
        .when(pl.col("prediction").is_null())
        .then(pl.lit(reading.UNANSWERED))
    )
    return _spanned(rows, pl.col(DAY), timedelta(days=1)).drop(DAY)


def _rejected(part: pl.DataFrame) -> pl.DataFrame:
    """What could not be read, with the span of time that it is of."""
    reason = pl.col("reason").str.splitn(": ", 2).struct
    rows = part.select(
        ID,
        pl.col(TIME, SCORED_AT).dt.replace_time_zone("UTC"),
        pl.lit(0, pl.Int64).alias(ROW),
        pl.col(VERSION).cast(pl.String),
        _FILE,
        reason=reason.field("field_0"),
        detail=reason.field("field_1"),
    )
    return _spanned(rows, pl.col(SCORED_AT), timedelta(hours=1)).drop(SCORED_AT)


def _spanned(rows: pl.DataFrame, filed: pl.Expr, length: timedelta) -> pl.DataFrame:
    """Add the `first` and the `last` time that a row can be of.

    Args:
        rows: With their time, and the reason why not to judge them.
        filed: The begin of the folder that they were filed under, for a time that is not believed.
        length: How long that folder is.
    """
    believed = pl.col(TIME).is_not_null() & (pl.col("reason").fill_null("") != reading.MISTIMED)
    end = filed + length - timedelta.resolution
    return rows.with_columns(
        first=pl.when(believed).then(TIME).otherwise(filed),
        last=pl.when(believed).then(TIME).otherwise(end),
    )


def _features(rows: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """The features of predictions as text, and further fields that requests had."""
    features = rows.select(
        pl.col(column).alias(name) for name, column in feature_columns(use_case).items()
    )
    if rows[UNEXPECTED].null_count() == rows.height:
        return features
    found = [json.loads(text) if text else {} for text in rows[UNEXPECTED]]
    names = dict.fromkeys(name for fields in found for name in fields)
    for name in names:
        texts = pl.Series(name, [fields.get(name) for fields in found], pl.String)
        if name in features.columns:
            texts = features[name].fill_null(texts)
        features = features.with_columns(texts)
    return features


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
        bool: pl.Boolean(),
        datetime: pl.Datetime("us"),
    }
    return {name: types[kind] for name, kind in kinds.items()}
