"""What is kept of the predictions of batch inference: read, brought to the data bucket, spoilt."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from ops import aws
from usecase import config, predictions
from usecase.config import UseCase
from usecase.predictions import Reading, Window

#: What a text in place of a number breaks: it is rejected, and no prediction is made of it.
NO_NUMBER = {"completeness_check"}


def kept(folder: Path, use_case: UseCase) -> Reading:
    """What is read of what `keep` has written."""
    return predictions.read([folder], use_case, Window("1"))


def spoil(folder: Path, **change: pl.Expr) -> None:
    """Change the predictions that `keep` has written."""
    (path,) = folder.rglob("*.parquet")
    pl.read_parquet(path).with_columns(**change).write_parquet(path)


def without_answer(folder: Path) -> None:
    """Take the answers from half of the records."""
    answer = next(iter(config.load().target.answer))
    spoil(folder, **{answer: pl.when(pl.int_range(pl.len()) % 2 == 1).then(answer)})


def a_month_ahead(folder: Path) -> None:
    """File all records under a day that is not theirs."""
    spoil(folder, time=pl.col("time").dt.offset_by("31d"))


#: What can go wrong with what is kept; by which reason it is seen, and in what fraction.
FAULTS: list[tuple[Callable[[Path], None], str, float]] = [
    (without_answer, "unanswered", 1 / 2),
    (a_month_ahead, "mistimed", 1.0),
]


def upload(folder: Path) -> None:
    """Bring predictions that `keep` has written to the data bucket."""
    for path in folder.rglob("*.parquet"):
        key = path.relative_to(folder).as_posix()
        aws.s3().upload_file(str(path), aws.bucket(), key)
