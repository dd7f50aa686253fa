"""Data files that people bring."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from ops import OpsError

DataFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


def read_table(file: Path) -> pl.DataFrame:
    """Read a Parquet file, or a CSV file with header.

    Raises:
        OpsError: When the file is neither.
    """
    try:
        if file.suffix == ".parquet":
            return pl.read_parquet(file)
        return pl.read_csv(file, infer_schema_length=None)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise OpsError(f"{file}: not a Parquet or CSV file: {error}") from None


def require(rows: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return rows when they have these columns.

    Raises:
        OpsError: When one is missing, or there is no row.
    """
    if missing := [name for name in columns if name not in rows.columns]:
        there = ", ".join(rows.columns)
        raise OpsError(f"missing columns: {', '.join(missing)}; there are {there}")
    if rows.is_empty():
        raise OpsError("the file has no rows")
    return rows


def spread(rows: pl.DataFrame, sample: int) -> pl.DataFrame:
    """Take `sample` rows, evenly spread; 0 takes all."""
    if not sample or sample >= rows.height:
        return rows
    return rows[[i * rows.height // sample for i in range(sample)]]
