"""Traffic of batch inference: a part of the data is scored at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from io import BytesIO

import polars as pl

from local import sample_data
from ops import OpsError, aws, batch
from usecase.config import UseCase
from workflows import keys

Progress = Callable[[str], None]


class Traffic:
    """Has records scored.

    Attributes:
        predictions: Records that were scored.
        failures: Records that were not, and should have been.
    """

    def __init__(self, use_case: UseCase, progress: Progress) -> None:
        self.predictions = 0
        self.failures = 0
        self._use_case = use_case
        self._progress = progress
        self._first = True

    def sample(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Which records are scored: all."""
        return rows

    def predict(self, rows: pl.DataFrame) -> tuple[datetime, datetime]:
        """Score the days of records that are in the data mart.

        The first time, some records are broken: they are rejected one by one, loaded again as they
        should be, and scored again with the others of their days.

        Returns:
            Begin and end of the window in which a monitor finds the predictions, UTC.

        Raises:
            OpsError: When other records were rejected than those that are broken.
        """
        if self._first:
            self._first = False
            key, expected = self._break()
            found = self._score(rows).rejected
            if found.height != expected:
                raise OpsError(f"{found.height} records were rejected, expected {expected}")
            self._progress(f"{expected} broken records are rejected, and loaded again")
            aws.s3().delete_object(Bucket=aws.bucket(), Key=key)
        result = self._score(rows)
        self.predictions += result.predictions
        self.failures += result.rejected.height
        start, end = self._days(rows)
        begin = datetime.combine(start, datetime.min.time())
        return begin, begin + (end - start) + timedelta(days=1)

    @contextmanager
    def replacing(self, rows: pl.DataFrame) -> Iterator[None]:
        """Once one version has replaced another, the days are scored again."""
        yield
        result = self._score(rows)
        self.predictions += result.predictions
        self.failures += result.rejected.height

    def _score(self, rows: pl.DataFrame) -> batch.Run:
        start, end = self._days(rows)
        return batch.score(start, end, lambda step: self._progress(f"{start} to {end}: {step}"))

    def _days(self, rows: pl.DataFrame) -> tuple[date, date]:
        days = rows[self._use_case.data.time].dt.date()
        first, last = days.min(), days.max()
        if not isinstance(first, date) or not isinstance(last, date):
            raise OpsError("there are no records to score")
        return first, last

    def _break(self) -> tuple[str, int]:
        """Load two records a second time and one without its id.

        Returns:
            The key of the file with them, and how many records that breaks.
        """
        table = self._use_case.data.tables[0]
        parts = sample_data.parts(self._use_case.data.tables)
        records = pl.read_parquet(sample_data.FOLDER / table / f"{parts.traffic[0]}.parquet")
        nameless = records[2:3].with_columns(pl.lit(None, pl.String).alias(parts.id))
        content = BytesIO()
        pl.concat([records[:2], nameless]).write_parquet(content)
        key = f"{keys.MART}{table}/broken.parquet"
        aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=content.getvalue())
        return key, 2 * 2 + 1
