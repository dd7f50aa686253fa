"""The table of predictions: show them, count them, write them to a file."""

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console

from ops import OpsError, aws, times
from ops.tables import show
from ops.times import Day
from usecase import config, container
from usecase.config import UseCase
from usecase.predictions import parquet
from usecase.predictions.parquet import DAY_FOLDER, ID, ROW, TIME, VERSION
from workflows import keys

CONDITION = re.compile(r"(?P<field>\w+)(?P<operator>!=|<=|>=|=|<|>)(?P<value>.*)", re.DOTALL)
OPERATORS: dict[str, Callable[[Any, Any], pl.Expr]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WRITERS: dict[str, Callable[[pl.LazyFrame, Path], object]] = {
    ".parquet": pl.LazyFrame.sink_parquet,
    ".csv": pl.LazyFrame.sink_csv,
    ".jsonl": pl.LazyFrame.sink_ndjson,
}

KINDS = {str: "text", float: "a number", int: "a whole number", datetime: "a time"}
SHOWN = 20  # predictions, the newest ones

console = Console(highlight=False)


def predictions(
    start: Day = None,
    end: Day = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="FIELD=VALUE, or with !=, <, <=, > or >=; without a VALUE, = is missing and != is "
            "there. Given several times, all must hold.",
        ),
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="Count them by day and version instead.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write all of them to a .parquet, .csv or .jsonl file.")
    ] = None,
) -> None:
    """Show the predictions of these days, or of the newest day that has some."""
    if output:
        require_new(output)
    use_case = config.load()
    conditions = [condition(text, use_case) for text in where or ()]
    last = newest(end)
    if last is None:
        console.print(f"There are no predictions in the table{f' up to {end}' if end else ''}.")
        tell_of_captured()
        return
    first = start or last
    if end and first > end:
        raise OpsError(f"--start {first}: is after --end {end}")
    if first > last:
        raise OpsError(f"--start {first}: no prediction is as new; the newest day is {last}")
    found_keys = [key for key, _ in files(first, last)]
    with (
        console.status(f"Reading {len(found_keys)} files …"),
        aws.downloaded(found_keys) as folder,
    ):
        found = matching(folder, use_case, conditions)
        number = found.select(pl.len()).collect(engine="streaming").item()
        if output:
            container.write(output, lambda partial: WRITERS[output.suffix](found, partial))
        shown = counts(found) if count else top(found, where or (), use_case)
    span = f"{first}" if first == last else f"{first} to {last}"
    console.print(f"{number} predictions, {span}{f': {output}' if output else '.'}", soft_wrap=True)
    if count or not output:
        show(shown, console)
    tell_of_captured()


def tell_of_captured() -> None:
    """Say that the newest predictions may be elsewhere, where they are collected into the table."""
    if keys.COLLECTED:
        console.print(
            "What was captured since the monitors ran last is not in the table yet: "
            "`uv run ops monitor` collects it.",
            soft_wrap=True,
        )


def require_new(output: Path) -> None:
    """Refuse a file that cannot be written, before anything is read.

    Raises:
        OpsError: When its name ends in something else, or it is there already.
    """
    if output.suffix not in WRITERS:
        raise OpsError(f"--output {output}: its name must end in {' or '.join(WRITERS)}")
    if output.exists():
        raise OpsError(f"--output {output}: is there already; remove it, or take another name")


def condition(text: str, use_case: UseCase) -> pl.Expr:
    """Which rows a condition keeps.

    Args:
        text: As people write it: `carrier=UA`, `probability>=0.8`, `visibility=`.
        use_case: Names the columns.

    Raises:
        OpsError: When there is no such column, or the value is not one of its type.
    """
    found = CONDITION.fullmatch(text)
    if not found:
        raise OpsError(f"--where {text!r}: must be FIELD=VALUE, or with {', '.join(OPERATORS)}")
    field, sign, value = found.groups()
    kinds = parquet.columns(use_case)[parquet.PREDICTIONS]
    if field not in kinds:
        there = ", ".join(kinds)
        raise OpsError(f"--where {text!r}: no column is called {field}; there are {there}")
    if not value:
        if sign not in ("=", "!="):
            raise OpsError(f"--where {text!r}: has nothing to compare {field} with")
        return pl.col(field).is_null() if sign == "=" else pl.col(field).is_not_null()
    try:
        return OPERATORS[sign](pl.col(field), typed(value, kinds[field]))
    except (ValueError, typer.BadParameter):
        said = KINDS[kinds[field]]
        raise OpsError(f"--where {text!r}: {value!r} is not {said}, as {field} has") from None


def typed(value: str, kind: type) -> str | float | datetime:
    """A value of a column, as polars compares it.

    Raises:
        ValueError: When the text is no such value.
        typer.BadParameter: When it is not a time.
    """
    if kind is datetime:  # the table has them in UTC, without saying so
        return times.first_moment(value).replace(tzinfo=None)
    if kind is str:
        return value
    return int(value) if kind is int else float(value)


def days() -> Iterator[date]:
    """The days that have predictions, UTC, in order."""
    pages = aws.s3().get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=aws.bucket(), Prefix=keys.PREDICTIONS, Delimiter="/"):
        for found in page.get("CommonPrefixes", []):
            yield date.fromisoformat(found["Prefix"].rstrip("/").rpartition("=")[2])


def newest(end: date | None = None) -> date | None:
    """The last day that has predictions, up to a day; `None` without one."""
    return max((day for day in days() if end is None or day <= end), default=None)


def files(first: date, last: date) -> Iterator[tuple[str, datetime]]:
    """The keys of the files of some days, and when each was written."""
    end = f"{keys.PREDICTIONS}{last:{DAY_FOLDER}}"
    for key, written in aws.written(keys.PREDICTIONS, f"{first:{DAY_FOLDER}}"):
        if key[: len(end)] > end:
            return
        yield key, written


def matching(folder: Path, use_case: UseCase, conditions: Iterable[pl.Expr]) -> pl.LazyFrame:
    """The predictions in a folder's files for which all conditions hold, file by file."""
    none = parquet.nothing(parquet.columns(use_case)[parquet.PREDICTIONS]).lazy()
    parts = parquet.scan([folder], parquet.PREDICTIONS, use_case)
    found = pl.concat([none, *parts], how="diagonal_relaxed")
    return reduce(pl.LazyFrame.filter, conditions, found)


def counts(found: pl.LazyFrame) -> pl.DataFrame:
    """How many there are of each day and version."""
    by = [pl.col(TIME).dt.date().alias("day"), VERSION]
    return found.group_by(by).agg(predictions=pl.len()).sort("day", VERSION).collect()


def top(found: pl.LazyFrame, where: Iterable[str], use_case: UseCase) -> pl.DataFrame:
    """The newest of them: what identifies them, their answers, and what was asked about.

    Args:
        found: The predictions.
        where: The conditions.
        use_case: Names the columns.
    """
    asked = (text.group("field") for text in map(CONDITION.fullmatch, where) if text)
    columns = dict.fromkeys([TIME, ID, ROW, VERSION, *use_case.target.answer, *asked])
    return found.select(*columns).top_k(SHOWN, by=TIME).sort(TIME, ID, ROW).collect()
