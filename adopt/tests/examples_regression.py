"""Columns that are a target of regression, and that are not."""

import numpy as np
import numpy.typing as npt

#: Columns that cannot be the target, and the words with which they are refused.
NO_TARGETS = [
    (["a", "b", "c"], "which is not regression"),
    ([0, 1, 1], "copier update --data problem_type="),
    ([2.5, 2.5, None], "is 2.5 in all rows"),
    ([None, None, None], "is empty in all 3 rows"),
]


def adopted(score: npt.NDArray[np.float64]) -> list[float]:
    """A target as data sets have it, which follows from a score."""
    return [round(100 * value, 1) for value in score]
