"""Columns that are a target of multiclass classification, and that are not."""

import numpy as np
import numpy.typing as npt

#: Columns that cannot be the target, and the words with which they are refused.
NO_TARGETS = [
    ([0.5, 1.5, 2.5], "which is not multiclass_classification"),
    ([f"text {i}" for i in range(101)], "neither numbers nor at most 100 classes"),
    (["a", "a", None], "is a in all rows"),
    ([None, None, None], "is empty in all 3 rows"),
]


def adopted(score: npt.NDArray[np.float64]) -> list[str]:
    """A target as data sets have it, which follows from a score."""
    return ["so, so" if abs(v) < 0.5 else 'said "good"' if v > 0 else "悪い" for v in score]
