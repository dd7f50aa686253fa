"""The commands of the batch workflow.

`select`: the records of some days, as the lines that batch transform sends to the model.
`collect`: what it has answered becomes the predictions of each day.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import ceil
from pathlib import Path

import polars as pl

from usecase import container, prepare, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.lookups import utc
from usecase.predictions import parquet
from usecase.predictions.parquet import PREDICTIONS, REJECTED

NEWEST = "newest"
ROWS_PER_FILE = 500_000
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.6f"
_DAY, _REASON = "_day", "_reason"
SHOWN = 20  # so many rejected records are in the log; all of them are in the table


@dataclass(frozen=True)
class Selection:
    """What is to be scored.

    Attributes:
        days: The days, without a gap.
        records: The id, the time and the features of their records, as they are to be sent.
        rejected: The id, the time and the reason of the records that cannot be sent.
    """

    days: Sequence[date]
    records: pl.DataFrame
    rejected: pl.DataFrame


def select(use_case: UseCase) -> None:
    """Select the records of the days from DAYS_START to DAYS_END, both included.

    Each is an ISO date or `newest`, the day of the newest record. Where no record can be sent, the
    results of the days are written here, as there will be nothing to collect.

    Raises:
        UseCaseError: When a day is none, or the data is not what usecase.toml says it is.
    """
    mart = {name: tables.read(container.processing_input(name)) for name in use_case.data.tables}
    found = selection(prepare.build(mart), use_case, day("DAYS_START"), day("DAYS_END"))
    records = found.records
    files = max(use_case.instances.inference_count, ceil(records.height / ROWS_PER_FILE))
    # SageMaker gives whole files to instances.
    for number, part in enumerate(records.iter_slices(ceil(records.height / files) or 1)):
        path = container.processing_output("records") / f"part-{number:05}.csv"
        container.write(path, partial(part.write_csv, include_header=False))
    folder = container.processing_output("selection")
    container.write(folder / "rejected.parquet", found.rejected.write_parquet)
    document = {"days": [str(day) for day in found.days], "records": records.height}
    container.write_json(folder / "selection.json", document)
    span = f"{found.days[0]} to {found.days[-1]}" if found.days else "no days"
    message = f"{span}: {records.height} records to score, {found.rejected.height} rejected"
    print(message)
    container.exit_message(message)
    if records.is_empty():
        none = parquet.nothing(parquet.columns(use_case)[PREDICTIONS])
        publish(none, identified(found.rejected, use_case), found.days, use_case)


def day(variable: str) -> date | None:
    """The day that an environment variable names, `None` for the newest.

    Raises:
        UseCaseError: When it is none.
    """
    text = os.environ.get(variable, NEWEST)
    if text == NEWEST:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UseCaseError(
            f"{variable}: {text!r} is not a day; write one like 2026-01-31"
        ) from None


def selection(
    records: pl.DataFrame, use_case: UseCase, start: date | None, end: date | None
) -> Selection:
    """Select the records of some days.

    Args:
        records: What `features.build` returns, of the whole data mart.
        use_case: Names the columns.
        start: The first day; by default that of the newest record.
        end: The last day; by default, and at most, that of the newest record.

    Raises:
        UseCaseError: When a column is missing, or no record has a time.
    """
    prepare.check_columns(records, use_case, {})
    data = use_case.data
    table = records.select(
        pl.col(data.id).cast(pl.String),
        utc(records[data.time]),
        *(plain(records[name]) for name in use_case.features.numeric),
        *(records[name].cast(pl.String) for name in use_case.features.strings),
    )
    table = table.with_columns(
        pl.col(data.time).dt.date().alias(_DAY), reason(table, use_case).alias(_REASON)
    )
    oldest, newest = table[_DAY].min(), table[_DAY].max()
    if not isinstance(oldest, date) or not isinstance(newest, date):
        raise UseCaseError(f"{data.time}: is empty in all {table.height} rows")
    first, last = max(start or newest, oldest), min(end or newest, newest)
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    # A record without a time is reported with the newest day that is asked for.
    table = table.with_columns(pl.col(_DAY).fill_null(last))
    table = table.filter(pl.col(_DAY).is_between(first, last))
    right = pl.col(_REASON).is_null()
    lines = table.filter(right).sort(data.time, data.id).drop(_DAY, _REASON)
    return Selection(
        days,
        lines.with_columns(pl.col(data.time).dt.strftime(TIME_FORMAT)),
        table.filter(~right).select(data.id, data.time, reason=_REASON),
    )


def reason(table: pl.DataFrame, use_case: UseCase) -> pl.Expr:
    """Why a record cannot be sent, null for those that can."""
    identifier, time = use_case.data.id, use_case.data.time
    copies = pl.len().over(identifier)
    reasons = [
        pl.when(pl.col(identifier).is_null() | (pl.col(identifier) == "")).then(
            pl.lit(f"{identifier}: is empty")
        ),
        pl.when(copies > 1).then(pl.format("{}: {} records have it", pl.lit(identifier), copies)),
        pl.when(pl.col(time).is_null()).then(pl.lit(f"{time}: is empty")),
        # SageMaker takes every line break for the end of a record.
        *(
            pl.when(pl.col(name).str.contains(r"[\r\n]")).then(pl.lit(f"{name}: has a line break"))
            for name, kind in table.schema.items()
            if kind == pl.String
        ),
    ]
    return pl.coalesce(reasons)


def plain(values: pl.Series) -> pl.Series:
    """A numeric feature as it is sent: what is not a number is left for the model to refuse."""
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int64)
    if values.dtype.is_integer():
        return values
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_nan(None)
    return values.cast(pl.String)


def collect(use_case: UseCase) -> None:
    """Collect the answers to the records that `select` has selected.

    Raises:
        UseCaseError: When an answer is missing or has another form, or the key of the hashes is
            missing.
    """
    folder = container.processing_input("selection")
    sent = container.read_json(folder / "selection.json")
    answered = answers(container.processing_input("transformed"), use_case)
    if answered.height != sent["records"]:
        raise UseCaseError(
            f"{sent['records']} records were sent, {answered.height} came back; run the days again"
        )
    time = use_case.data.time
    answered = answered.with_columns(pl.col(time).str.to_datetime(TIME_FORMAT))
    right = pl.col("error").is_null()
    refused = answered.filter(~right).select(use_case.data.id, time, reason=told(use_case))
    rejected = pl.concat([pl.read_parquet(folder / "rejected.parquet"), refused])
    days = [date.fromisoformat(day) for day in sent["days"]]
    predictions = parquet.withhold(answered.filter(right), use_case)
    publish(identified(predictions, use_case), identified(rejected, use_case), days, use_case)


def told(use_case: UseCase) -> pl.Expr:
    """The `error` of a record, which may quote a value, without one that `[log]` withholds."""
    names = "|".join(map(re.escape, use_case.log.withheld))
    without = "field $1: is wrong; [log] withholds its value"
    return pl.col("error").str.replace(f"(?s)^field ({names}): .*", without)


def identified(records: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """Records with their id and their time in the columns that the tables have for them."""
    return records.rename({use_case.data.id: parquet.ID, use_case.data.time: parquet.TIME})


def answers(folder: Path, use_case: UseCase) -> pl.DataFrame:
    """Read the output of batch transform: each record that was sent, followed by its answer.

    https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html

    Returns:
        The id, the time, the features in their columns of the table, the fields of an answer and
        `error`, all as text.

    Raises:
        UseCaseError: When a file has other columns.
    """
    data = use_case.data
    features = parquet.feature_columns(use_case).values()
    names = [data.id, data.time, *features, *use_case.target.answer, "error"]
    schema = dict.fromkeys(names, pl.String())
    parts = [pl.DataFrame(schema=schema)]
    for file in sorted(folder.rglob("*.out")):
        try:
            parts.append(pl.read_csv(file, has_header=False, schema=schema))
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise UseCaseError(
                f"{file.name}: its columns are not {', '.join(names)}: {reason}"
            ) from None
    return pl.concat(parts)


def publish(
    predictions: pl.DataFrame, rejected: pl.DataFrame, days: Sequence[date], use_case: UseCase
) -> None:
    """Write the results of some days, and a report that counts them.

    Args:
        predictions: Rows of the table: their ids, times, features and fields of an answer.
        rejected: Rows of the other one: their ids, times and reasons.
        days: The days that are replaced.
        use_case: Names the columns.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    common = {
        parquet.ROW: 0,
        parquet.UNEXPECTED: None,
        parquet.VERSION: int(os.environ["MODEL_VERSION"]),
        parquet.SCORED_AT: now,
    }
    kinds = parquet.columns(use_case)
    for name, table in {PREDICTIONS: predictions, REJECTED: rejected}.items():
        if days:
            whole = table.with_columns(pl.lit(value).alias(key) for key, value in common.items())
            rows = parquet.typed(whole, kinds[name])
            write(container.processing_output(name), rows, days)
    counts = {PREDICTIONS: predictions.height, REJECTED: rejected.height}
    report = {"days": [str(day) for day in days], **counts}
    container.write_json(container.processing_output("report") / "report.json", report)
    for row in rejected[:SHOWN].iter_rows(named=True):
        print(f"rejected {row[parquet.ID]}: {row['reason']}")
    message = f"{len(days)} days: {predictions.height} predictions, {rejected.height} rejected"
    print(message)
    container.exit_message(message)


def write(folder: Path, table: pl.DataFrame, days: Sequence[date]) -> None:
    """Write a table day by day, also the days of which it has no rows.

    Args:
        folder: `<folder>/day=YYYY-MM-DD/<folder's name>.parquet` is written.
        table: The rows.
        days: The days; rows of no day count as the last one's.
    """
    by_day = table.with_columns(
        pl.col(parquet.TIME).dt.date().fill_null(days[-1]).alias(parquet.DAY)
    ).partition_by(parquet.DAY, as_dict=True, include_key=False)
    for day in days:
        path = folder / f"{day:{parquet.DAY_FOLDER}}" / f"{folder.name}.parquet"
        container.write(path, by_day.get((day,), table.clear()).write_parquet)
