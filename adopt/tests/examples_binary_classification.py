"""Columns that are a target of binary classification, and that are not."""

import numpy as np
import numpy.typing as npt

#: Columns that cannot be the target, and the words with which they are refused.
NO_TARGETS = [
    (["a", "b", "c"], "3 values such as a and b, which is not binary"),
    ([0.5, 1.5, 2.5], "copier update --data problem_type="),
    (["a", "a", None], "is a in all rows"),
    ([None, None, None], "is empty in all 3 rows"),
]


def adopted(score: npt.NDArray[np.float64]) -> list[str]:
    """A target as data sets have it, which follows from a score."""
    return ["Yes, gone" if value > 0.5 else "No" for value in score]
