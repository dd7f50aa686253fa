"""Examples of regression."""

import numpy as np
import numpy.typing as npt

from usecase.problem import Target

TARGET = Target("y")
TARGET_TOML = 'column = "returned"'

# Four rows: what the model returns, what is answered, what is read of it.
OUTPUT = np.array([12.5, -0.1, 1.25e-6, 123456.78], np.float32)
CSV = ["12.5", "-0.1", "1.25e-06", "123456.8"]
JSON = [{"value": 12.5}, {"value": -0.1}, {"value": 1.25e-06}, {"value": 123456.8}]
PREDICTIONS = [12.5, -0.1, 1.25e-06, 123456.8]

LABELS = [-3.0, 12.5]

#: Metrics that are not defined when all labels are the same.
UNDEFINED = ["r2"]

# A label and the words with which it is refused: as a column's value, and as a label's text.
WRONG_TARGETS = [("yes", "is String, must be a number"), (float("inf"), "is empty or infinite in")]
WRONG_LABELS = [("yes", "'yes', which is not a number"), ("inf", "is empty or infinite in 1")]


def worse(label: float) -> float:
    """A label for which a prediction of the given one is bad."""
    return label + 1000


def right(labels: list[float]) -> npt.NDArray[np.float64]:
    """What a model returns that is always right."""
    return np.array(labels, float)
