"""The decision threshold of binary classification."""

import numpy as np

from adopt import binary_classification


def threshold(labels: list[int], predictions: list[float]) -> float:
    """The decision threshold that is found for some labels and probabilities."""
    found = binary_classification.tuned(np.array(labels), np.array(predictions))
    value, _ = found["decision_threshold"]
    assert isinstance(value, float)
    return value


def test_where_many_thresholds_are_as_good_it_is_in_the_middle() -> None:
    """By the scores of a model that tells all apart, 0.04 would do as well, and so would 0.9."""
    assert threshold([0] * 40 + [1] * 20, [0.01] * 40 + [0.04] + [0.95] * 19) == 0.5


def test_where_one_is_better_beyond_chance_it_is_that_one() -> None:
    labels = [0] * 9000 + [1] * 1000
    predictions = [0.02] * 8500 + [0.1] * 500 + [0.2] * 1000
    assert threshold(labels, predictions) == 0.2
