"""A table of records to ask about: read, checked as the API checks requests, asked part by part."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from botocore.exceptions import ClientError

from dashboard import what_if
from ops import OpsError
from ops.tables import read_table, require
from usecase import config, rows
from usecase.rows import Fields

MOST_MB, MOST_ROWS = 10, 10_000  # of a table
AT_ONCE = 200  # records in a request
MOST_FAILURES = 20  # then nothing more is asked: it is not the records that are wrong
NOT_ASKED = f"not asked: {MOST_FAILURES} others had failed"
SUFFIXES = (".csv", ".parquet")

Answer = dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """A table that was read and checked.

    Attributes:
        table: As it was read.
        instances: What can be asked about: the fields of each record, by its place.
        wrong: What is wrong with each other one, by its place.
        ignored: The columns that are no fields, which are not sent.
    """

    table: pl.DataFrame
    instances: Mapping[int, Mapping[str, Any]]
    wrong: Mapping[int, str]
    ignored: Sequence[str]


def read(name: str, content: bytes, encoding: str) -> Upload:
    """Read a table, and check each row by the rules of the API.

    Args:
        name: The name of the file, which tells CSV with a header from Parquet.
        content: What is in it.
        encoding: That of CSV.

    Raises:
        OpsError: When it is neither, too large, has no row, or lacks a column that is needed.
        UseCaseError: When a column is neither numbers nor text nor times.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise OpsError(f"{name}: its name must end in {' or '.join(SUFFIXES)}")
    if len(content) > MOST_MB * 1024**2:
        raise OpsError(f"{name}: is larger than {MOST_MB} MB; split it")
    table = _read(suffix, content, encoding)
    fields = what_if.sent()
    require(table, [name for name in fields.names if name not in fields.optional])
    sent = rows.plain(table.select(name for name in fields.names if name in table.columns))
    instances, wrong = {}, {}
    for place, record in enumerate(sent.iter_rows(named=True)):
        instance = {field: _typed(value, fields, field) for field, value in record.items()}
        try:
            rows.read(instance, fields)
        except rows.RowError as error:
            wrong[place] = str(error)
        else:
            instances[place] = instance
    ignored = [name for name in table.columns if name not in fields.types]
    return Upload(table, instances, wrong, ignored)


def _read(suffix: str, content: bytes, encoding: str) -> pl.DataFrame:
    with TemporaryDirectory() as folder:
        file = Path(folder, f"table{suffix}")
        file.write_bytes(content)
        try:
            if suffix == ".parquet":  # of which a small file can have many rows
                _bound(pl.scan_parquet(file).select(pl.len()).collect().item())
            table = read_table(file, encoding)
        except pl.exceptions.PolarsError as error:
            raise OpsError(f"the table is not Parquet: {str(error).splitlines()[0]}") from None
        except OpsError as error:
            told = str(error).replace(str(file), "the table")
            raise OpsError(told.replace("pass --encoding", "choose the encoding")) from None
    _bound(table.height)
    return table


def _bound(height: int) -> None:
    if height > MOST_ROWS:
        raise OpsError(f"the table has {height:,} rows, can have {MOST_ROWS:,}; split it")


def _typed(value: Any, fields: Fields, name: str) -> Any:  # noqa: ANN401 - a value of any type
    """A value as JSON has it: a number that CSV has as text. What is none is left as it is."""
    if fields.types[name] != "number" or not isinstance(value, str):
        return value
    try:
        # Python takes more for numbers than the API does.
        return value if "_" in value or not value.isascii() else float(value)
    except ValueError:
        return value


def answers(instances: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[int, Answer | str]]:
    """Ask about records, some at a time, by the same interface that callers use.

    Of a request that fails the halves are asked, down to the records that it fails by.

    Args:
        instances: The fields of each, by its place.

    Yields:
        By place, the fields of each answer, or why there is none.

    Raises:
        ClientError, OpsError: When it is not the request that is wrong: there is no endpoint, say.
    """
    places, failures = [*instances], 0
    waiting = [places[first : first + AT_ONCE] for first in range(0, len(places), AT_ONCE)]
    waiting.reverse()
    while waiting:
        some = waiting.pop()
        if failures >= MOST_FAILURES:
            yield dict.fromkeys(some, NOT_ASKED)
            continue
        try:
            found = what_if.ask([instances[place] for place in some])
            if len(found) != len(some):
                raise OpsError(f"{len(some)} records got {len(found)} answers")
        except (ClientError, OpsError) as error:
            if not (reason := what_if.refusal(error)):
                raise
            if len(some) > 1:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
            else:
                failures += 1
                yield {some[0]: reason}
        else:
            yield dict(zip(some, found, strict=True))


def result(upload: Upload, answered: Mapping[int, Answer | str]) -> pl.DataFrame:
    """The table with its answers.

    Args:
        upload: The table.
        answered: What `answers` returned, all together.

    Returns:
        `row`, counted from 1; the fields that were sent and the other columns; of each field of an
        answer `answer_<field>`; `problem`, why there is no answer.
    """
    height = upload.table.height
    columns: dict[str, pl.Series] = {"row": pl.Series(range(1, height + 1))}
    columns |= upload.table.to_dict()
    for name, kind in what_if.sent().types.items():
        if kind == "number" and name in columns:  # CSV has it as text, which the export would guard
            columns[name] = columns[name].cast(pl.Float64, strict=False)
    for name, python in config.load().target.answer.items():
        values = [
            found.get(name) if isinstance(found := answered.get(place), dict) else None
            for place in range(height)
        ]
        dtype = pl.String if python is str else pl.Float64
        columns[f"answer_{name}"] = pl.Series(values, dtype=dtype)
    problems = dict(upload.wrong)
    problems |= {place: found for place, found in answered.items() if isinstance(found, str)}
    columns["problem"] = pl.Series([problems.get(n) for n in range(height)], dtype=pl.String)
    return pl.DataFrame(columns)
