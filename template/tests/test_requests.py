"""A caller who sends what it knows gets what the training would have known at that time.

It holds whatever `[request]` and features.py are; without `[request]` it is not collected.
"""

import polars as pl
from support.image import Server
from support.requested import Mart, Pair, answered, bodies, different

from usecase.config import UseCase
from usecase.rows import Fields


def test_no_feature_knows_the_future(
    records: pl.DataFrame, loaded: Mart, use_case: UseCase, request_fields: Fields
) -> None:
    """Nor what becomes of the record itself: a look-up that has its label would tell it."""
    assert not different(records.gather_every(5), loaded, use_case, request_fields)


def test_requests_are_answered_as_their_features_are(
    server: Server, rows_and_features: Pair
) -> None:
    requests, computed = rows_and_features
    expected = bodies(computed)
    for content_type, body in bodies(requests).items():
        answers = answered(server, body, content_type)
        assert answers == answered(server, expected[content_type], content_type)
