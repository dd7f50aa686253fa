"""Tables on disk: folders of Parquet files, and of JSON Lines."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from usecase import container
from usecase.errors import UseCaseError

LOG = logging.getLogger(__name__)


def read(folder: Path) -> pl.DataFrame:
    """Read all Parquet files below a folder as one table.

    Args:
        folder: The folder. Files of different age may differ in a column's number type.

    Raises:
        UseCaseError: When there is no file, no row, a file that is no Parquet, or files whose
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
            raise UseCaseError(f"{folder.name}: {file.name} is no Parquet file: {error}") from None
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
        schema: The members that are wanted; others are ignored. Lines that are no JSON objects are
            left out; their number is logged.
    """
    # One call for all: SageMaker can write very many, very small files.
    content = b"\n".join(file.read_bytes() for file in sorted(folder.rglob("*.jsonl"))).strip()
    if not content:
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_ndjson(content, schema=schema)
    except pl.exceptions.PolarsError:
        lines = [line for line in content.splitlines() if line.strip()]
        good = [line for line in lines if _fits(line, schema)]
        if len(good) < len(lines):
            LOG.warning("left out %d lines that are not JSON of this form", len(lines) - len(good))
        if not good:
            return pl.DataFrame(schema=schema)
        return pl.read_ndjson(b"\n".join(good), schema=schema)


def _fits(line: bytes, schema: dict[str, Any]) -> bool:
    try:
        pl.read_ndjson(line, schema=schema)
    except pl.exceptions.PolarsError:
        return False
    return True


def write(table: pl.DataFrame, folder: Path) -> None:
    """Write a table as `data.parquet` in a folder."""
    container.write(folder / "data.parquet", table.write_parquet)


def columns(table: pl.DataFrame, names: list[str]) -> dict[str, list[float | str | None]]:
    """Some columns of a table as `Model.predict` takes them."""
    return table.select(names).to_dict(as_series=False)


def _difference(expected: pl.Schema, found: pl.Schema) -> str:
    """The columns in which two schemas differ, in words."""
    names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if not names:
        return "their order differs"
    return "; ".join(
        f"{name} is {found.get(name, 'missing')} instead of {expected.get(name, 'missing')}"
        for name in names
    )
