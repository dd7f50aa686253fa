"""Traffic of the endpoint: records are requests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import polars as pl

from ops import predictions
from ops.tables import spread
from usecase.config import UseCase

Progress = Callable[[str], None]
REQUESTS = 1500  # of each part of the data


class Traffic:
    """Asks for predictions.

    Attributes:
        predictions: Requests that were answered.
        failures: Requests that were not.
    """

    def __init__(self, use_case: UseCase, progress: Progress) -> None:
        self.predictions = 0
        self.failures = 0
        self._use_case = use_case
        self._progress = progress

    def sample(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Which records are asked about: some, whose label is known."""
        return spread(rows.filter(pl.col(self._use_case.target.column).is_not_null()), REQUESTS)

    def predict(self, rows: pl.DataFrame) -> tuple[datetime, datetime]:
        """Ask for a prediction for each row.

        Returns:
            Begin and end of the window in which a monitor finds the predictions, UTC.
        """
        self._progress(f"{rows.height} requests")
        replay = self._send(rows)
        second = timedelta(seconds=1)
        return replay.start - second, replay.end + second

    @contextmanager
    def replacing(self, rows: pl.DataFrame) -> Iterator[None]:
        """While one version replaces another, requests go on."""
        replaced = threading.Event()

        def traffic() -> None:
            while not replaced.is_set():
                self._send(rows.head(20))

        thread = threading.Thread(target=traffic)
        thread.start()
        try:
            yield
        finally:
            replaced.set()
            thread.join()

    def _send(self, rows: pl.DataFrame) -> predictions.Replay:
        replay = predictions.replay(rows, self._use_case)
        self.predictions += replay.sent
        self.failures += len(replay.failures)
        return replay
