"""What was captured becomes rows of the table of predictions, each once.

A captured file is never written again, and its rows go into files that are named after it. To
collect it once more, in another window or after a crash half way, replaces them with the same. It
is collected when all of them are there; where some are not, it is collected again.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from usecase import container, lookups
from usecase.config import UseCase
from usecase.lookups import Lookup
from usecase.predictions import capture, parquet, reading
from usecase.predictions.parquet import DAY_FOLDER, PREDICTIONS, REJECTED, SCORED_AT
from usecase.predictions.reading import Reading, Window

CAPTURE = "capture"
"""The folder of the captures, and their prefix in the data bucket."""


def collect(
    captures: Path,
    tables: Path,
    use_case: UseCase,
    version: str,
    known: Mapping[str, Lookup],
) -> int:
    """Write what was captured of a version into both tables.

    Args:
        captures: All captured files are below it, those of other versions too.
        tables: The folders of the tables are written here.
        use_case: Names the features.
        version: The version. What lies in the folder of no version is collected with it.
        known: Its look-ups, which make features of requests.

    Returns:
        How many files were collected.

    Raises:
        UseCaseError: When a file is in no folder of an hour, or the key of the hashes is missing.
    """
    found = capture.read(captures, use_case, version, known)
    kinds, kept = parquet.columns(use_case), parquet.withhold(found.rows, use_case)
    for name, table in {PREDICTIONS: kept, REJECTED: found.rejected}.items():
        dated = table.with_columns(pl.col(SCORED_AT).dt.strftime(DAY_FOLDER).alias("_day"))
        parts = dated.partition_by("file", "_day", as_dict=True)
        for file in found.files:
            for path in files_of(file):
                part = parts.get((file, path.partition("/")[0]), table.clear())
                rows = parquet.typed(part, kinds[name])
                container.write(tables / name / path, rows.write_parquet)
    return len(found.files)


def looked_up(archive: Path | None) -> dict[str, Lookup]:
    """The look-ups of a version.

    Args:
        archive: Its model.tar.gz; `None` when callers send the features.

    Raises:
        UseCaseError: When they are not in it.
    """
    if archive is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        container.extract(archive, Path(folder))
        return lookups.read(Path(folder))


def files_of(file: str) -> list[str]:
    """The files of each table that the rows of a captured file go into.

    They are those of the days that it can have rows of: what was captured at the end of an hour can
    be filed under the next one. `lambdas/capture.py` has the same names, so that it knows what is
    collected without reading anything.

    Args:
        file: Its path below the folder of all captures.
    """
    name = file.removesuffix(".jsonl").replace("/", ".") + ".parquet"
    hour = capture.hour_of(file)
    days = {f"{time:{DAY_FOLDER}}" for time in (hour - timedelta(hours=1), hour)}
    return [f"{day}/{name}" for day in sorted(days)]


def read(folders: Sequence[Path], use_case: UseCase, window: Window = reading.ALL) -> Reading:
    """Read predictions; of other versions, those as well that are captured and not collected yet.

    Args:
        folders: Each may have a folder of each table, and one of captures.
        use_case: Names the features.
        window: Which predictions are judged.

    Raises:
        UseCaseError: When a file of the version lacks a column.
    """
    found = parquet.read(folders, use_case, window)
    captured = pl.concat([capture.made(folder / CAPTURE) for folder in folders])
    others = captured.filter(pl.col("version") != window.version).select(
        parquet.ID, where=pl.lit(reading.OTHER_VERSION)
    )
    return replace(found, others=pl.concat([found.others, others.drop_nulls()]))
