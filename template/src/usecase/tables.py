"""Tables on disk: folders of Parquet files, and of JSON Lines."""

from pathlib import Path
from typing import Any

import polars as pl

from usecase import container
from usecase.errors import UseCaseError


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
