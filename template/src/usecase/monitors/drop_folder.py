"""The drop folder of labels: files that people or systems put there become labels like all others.

A file is CSV (UTF-8, with header), JSON Lines or Parquet, as its name says, and has the record's id
and the target; `row`, if it is there, tells apart the records of a request. Its labels count as
brought in when it was written.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from usecase import container, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError

ROW = "row"
WORDS = {"true": "1", "false": "0"}


def gather(
    files: Path,
    labels: str,
    arrived: Mapping[str, str],
    use_case: UseCase,
    folder: Path | None = None,
) -> tuple[Path, list[str]]:
    """Write all labels into one folder, in Model Monitor's ground-truth format.

    Args:
        files: The folder with what the job was given.
        labels: Where in it labels in that format are.
        arrived: The files of the drop folder, and when each was written, in ISO 8601.
        use_case: Names the columns.
        folder: The folder, which is made anew; by default one of the job's.

    Returns:
        The folder; and what is wrong with files that could not be read, in sentences.
    """
    if not arrived:
        return files / labels, []
    gathered, odd = folder or container.root() / "processing" / "labels", []
    shutil.rmtree(gathered, ignore_errors=True)
    if (files / labels).is_dir():
        shutil.copytree(files / labels, gathered)
    for key, written in arrived.items():
        try:
            lines = _lines(_read(files / key), use_case)
        except UseCaseError as error:
            odd.append(f"The labels in {key} are not used: {error}.")
            continue
        hour = f"{datetime.fromisoformat(written).astimezone(UTC):%Y/%m/%d/%H}"
        target = gathered / hour / f"{key.replace('/', '.')}.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return gathered, odd


def _read(file: Path) -> pl.DataFrame:
    """Read a file: CSV, JSON Lines or Parquet, as its name says.

    Args:
        file: CSV is UTF-8, separated by commas, with a header.

    Returns:
        The table. Of CSV and JSON Lines all columns are text, as they were written; empty fields
        are null.

    Raises:
        UseCaseError: When it cannot be read.
    """
    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            return pl.read_parquet(file)
        if kind == ".csv":
            table = pl.read_csv(file, infer_schema=False)
            return table.with_columns(pl.all().replace("", None))
        if kind == ".jsonl":
            return tables.read_objects(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UseCaseError(f"it cannot be read: {str(error).strip().splitlines()[0]}") from None
    raise UseCaseError("its name must end in .csv, .jsonl or .parquet")


def _lines(table: pl.DataFrame, use_case: UseCase) -> list[str]:
    """The labels of a table. A line without an id or a target, or with an odd row, is not one."""
    identifier, target = use_case.data.id, use_case.target.column
    if missing := [name for name in (identifier, target) if name not in table.columns]:
        raise UseCaseError(f"it has no column {', '.join(missing)}")
    if table[identifier].dtype.is_float():
        raise UseCaseError(f"its column {identifier} has floats, in which long ids lose digits")
    # A row that is not a whole number must not be taken for none: the line is not a label then.
    row, known = pl.lit(None, pl.Int64), pl.lit(value=True)
    if ROW in table.columns:
        given = pl.col(ROW)
        row = given.cast(pl.Int64, strict=False)
        known = given.is_null() | (given.cast(pl.Float64, strict=False) == row)
    label = pl.col(target).cast(pl.String).str.strip_chars()
    rows = table.select(
        pl.when(known).then(pl.col(identifier).cast(pl.String)).alias(identifier),
        row.alias(ROW),
        pl.coalesce(
            label.str.to_lowercase().replace_strict(WORDS, default=None, return_dtype=pl.String),
            label,
        ).alias(target),
    )
    return [
        json.dumps(
            {
                "groundTruthData": {"data": value, "encoding": "CSV"},
                "eventMetadata": {"eventId": name} | ({} if place is None else {ROW: place}),
                "eventVersion": "0",
            }
        )
        for name, place, value in rows.iter_rows()
    ]
