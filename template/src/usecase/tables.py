"""Tables on disk: folders of Parquet files, and of JSON Lines; what those of the mart must hold."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from usecase import container
from usecase.config import Table
from usecase.errors import UseCaseError

#: What a column may be to be of a kind that `Table` names.
KINDS: dict[str, Callable[[pl.DataType], bool]] = {
    "integer": lambda found: found.is_integer(),
    "number": lambda found: found.is_numeric(),
    "text": lambda found: isinstance(found, pl.String | pl.Categorical | pl.Enum),
    "boolean": lambda found: isinstance(found, pl.Boolean),
    "time": lambda found: isinstance(found, pl.Date | pl.Datetime),
}
SHOWN = 3  # values in a message


def read(folder: Path) -> pl.DataFrame:
    """Read all Parquet files below a folder as one table.

    Args:
        folder: The folder. Files of different age may differ in a column's number type.

    Raises:
        UseCaseError: When there is no file, no row, a file that is not Parquet, or files whose
            columns differ.
    """
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise UseCaseError(f"{folder.name}: no Parquet files in {folder}; has data been loaded?")
    parts = []
    for file in files:
        try:
            parts.append(pl.read_parquet(file))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UseCaseError(
                f"{folder.name}: {file.name} is not a Parquet file: {error}"
            ) from None
    try:
        table = pl.concat(parts, how="vertical_relaxed")
    except pl.exceptions.PolarsError:
        odd = next(i for i, part in enumerate(parts) if part.schema != parts[0].schema)
        raise UseCaseError(
            f"{folder.name}: the columns of {files[odd].name} are not those of {files[0].name}: "
            f"{_difference(parts[0].schema, parts[odd].schema)}"
        ) from None
    if table.is_empty():
        raise UseCaseError(f"{folder.name}: the files in {folder} have no rows")
    return table


def check(
    mart: Mapping[str, pl.DataFrame], wanted: Mapping[str, Table], now: datetime | None = None
) -> None:
    """Check that tables of the data mart hold what usecase.toml says.

    Args:
        mart: Tables by name.
        wanted: What they must hold; nothing is asked of a table that is not here.
        now: The time from which the age of the newest row is counted; by default it is not.

    Raises:
        UseCaseError: When one does not; with table, column, rule and the first values of all that
            is wrong.
    """
    wrong = [
        f"{name}: {problem}"
        for name, table in mart.items()
        if name in wanted
        for problem in _problems(table, wanted[name], now)
    ]
    if wrong:
        raise UseCaseError(f"the data mart is not what usecase.toml says: {'; '.join(wrong)}")


def _problems(table: pl.DataFrame, wanted: Table, now: datetime | None) -> Iterator[str]:
    columns = {
        "integer": wanted.integer,
        "number": wanted.number,
        "text": wanted.text,
        "boolean": wanted.boolean,
        "time": wanted.time,
    }
    for kind, name in ((kind, name) for kind, names in columns.items() for name in names):
        if name not in table.columns:
            yield f"{kind}: there is no column {name}; there are {', '.join(table.columns)}"
        elif not isinstance(table.schema[name], pl.Null) and not KINDS[kind](table.schema[name]):
            yield f"{kind}: {name} is {table.schema[name]}, {_first(table[name], kind)}"
    if missing := [name for name in wanted.unique if name not in table.columns]:
        yield f"unique: there is no column {', '.join(missing)}"
    elif wanted.unique:
        yield from _repeated(table.select(wanted.unique))
    if now and wanted.dated_by and wanted.max_age_days and wanted.dated_by in table.columns:
        newest = table[wanted.dated_by].cast(pl.Datetime("us", "UTC"), strict=False).max()
        if not isinstance(newest, datetime):
            yield f"max_age_days: {wanted.dated_by} is empty in all rows"
        elif (age := (now - newest).total_seconds() / 86400) > wanted.max_age_days:
            yield (
                f"max_age_days: the newest {wanted.dated_by}, {newest:%Y-%m-%dT%H:%M:%SZ}, is "
                f"{age:.1f} days old, more than {wanted.max_age_days:g}"
            )


def _repeated(key: pl.DataFrame) -> Iterator[str]:
    """How the values that identify a row do not."""
    names = ", ".join(key.columns)
    if empty := key.filter(pl.any_horizontal(pl.all().is_null())).height:
        yield f"unique: {names} is empty in {empty} of {key.height} rows"
    filled = key.drop_nulls()
    again = filled.filter(filled.is_duplicated()).unique(maintain_order=True)
    if again.height:
        first = ", ".join("/".join(map(str, row)) for row in again.head(SHOWN).iter_rows())
        yield f"unique: {names}: {again.height} values are in more than one row, first {first}"


def _first(values: pl.Series, kind: str) -> str:
    """The first values of a column of another kind: of text, those that are no numbers either."""
    values = values.drop_nulls()
    number = {"integer": pl.Int64, "number": pl.Float64}.get(kind)
    if number and values.dtype == pl.String:
        odd = values.filter(values.cast(number, strict=False).is_null())
        values = odd if len(odd) else values
    return f"first {', '.join(repr(value) for value in values.head(SHOWN))}"


def read_objects(file: Path) -> pl.DataFrame:
    """Read a JSON object from each line, their values as text, as they were written.

    Raises:
        UseCaseError: When a line is not an object of plain values.
    """
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line, parse_int=str, parse_float=str)
            rows.append({name: _plain(value) for name, value in entry.items()})
        except (ValueError, AttributeError):
            raise UseCaseError(f"line {number} is not a JSON object of plain values") from None
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))


def _plain(value: object) -> str | None:
    """A value of JSON as text; `None` for null and for an empty text.

    Raises:
        ValueError: When it is a list or an object.
    """
    match value:
        case None | "":
            return None
        case bool():
            return str(value).lower()
        case str():
            return value
    raise ValueError


def read_lines(folder: Path, schema: dict[str, Any]) -> pl.DataFrame:
    """Read all JSON Lines files below a folder, in order of their names.

    Args:
        folder: The folder.
        schema: The members that are wanted; others are ignored.

    Returns:
        A row for each line: these members; `file`, the file's path below the folder; and whether it
        is `readable`, a JSON object of this form. Where it is not, the members are null.

    Raises:
        UseCaseError: When lines that can be read one by one cannot be read together.
    """
    lines: list[bytes] = []
    files: list[str] = []
    # One call for all: SageMaker can write very many, very small files.
    for file in sorted(folder.rglob("*.jsonl")):
        found = [line for line in file.read_bytes().splitlines() if line.strip()]
        lines += found
        files += [file.relative_to(folder).as_posix()] * len(found)
    readable = [True] * len(lines)
    table = _objects(lines, schema)
    if table is None:
        readable = [_objects([line], schema) is not None for line in lines]
        kept = [line if fits else b"{}" for line, fits in zip(lines, readable, strict=True)]
        table = _objects(kept, schema)
    if table is None:
        raise UseCaseError(f"{folder}: its lines can be read one by one, but not together")
    return table.with_columns(
        pl.Series("file", files, pl.String), pl.Series("readable", readable, pl.Boolean)
    )


def _objects(lines: list[bytes], schema: dict[str, Any]) -> pl.DataFrame | None:
    """The JSON objects of some lines; `None` when one of them is none of this form."""
    if not lines:
        return pl.DataFrame(schema=schema)
    try:
        table = pl.read_ndjson(b"\n".join(lines), schema=schema)
    except pl.exceptions.PolarsError:
        return None
    return table if table.height == len(lines) else None


def write(table: pl.DataFrame, folder: Path) -> None:
    """Write a table as `data.parquet` in a folder."""
    container.write(folder / "data.parquet", table.write_parquet)


def _difference(expected: pl.Schema, found: pl.Schema) -> str:
    """The columns in which two schemas differ, in words."""
    names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if not names:
        return "their order differs"
    return "; ".join(
        f"{name} is {found.get(name, 'missing')} instead of {expected.get(name, 'missing')}"
        for name in names
    )
