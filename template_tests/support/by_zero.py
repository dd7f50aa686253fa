"""Features that a request can make infinite."""

import json

import polars as pl
import pytest

from usecase import features


def divide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the features divide by a number of the request."""
    honest = features.of_requests
    by_zero = {"distance": 1 / pl.col("distance")}
    monkeypatch.setattr(
        features, "of_requests", lambda rows, known: honest(rows, known).with_columns(**by_zero)
    )


def flights(*distances: float) -> bytes:
    """Requests about flights over these distances, as JSON Lines."""
    known = {"carrier": "UA", "origin": "EWR", "dest": "IAH"}
    time = "2013-06-01T10:00:00Z"
    rows = ({**known, "scheduled_departure": time, "distance": miles} for miles in distances)
    return "\n".join(map(json.dumps, rows)).encode()
