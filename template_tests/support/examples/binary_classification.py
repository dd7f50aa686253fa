"""Examples of binary classification."""

import numpy as np
import numpy.typing as npt

from usecase.problem import Target

TARGET = Target("y")
TARGET_TOML = 'column = "returned"'

# Four rows: what the model returns, what is answered, what is read of it.
OUTPUT = np.array([0.25, 0.1, 1e-6, 1.0])
CSV = ["0.25", "0.1", "1e-06", "1.0"]
JSON = [{"probability": 0.25}, {"probability": 0.1}, {"probability": 1e-06}, {"probability": 1.0}]
PREDICTIONS = [0.25, 0.1, 1e-06, 1.0]

LABELS = [0, 1]

#: Metrics that are not defined when all labels are 1.
UNDEFINED = ["true_negative_rate", "false_positive_rate", "auc"]

# A label and the words with which it is refused: as a column's value, and as a label's text.
WRONG_TARGETS = [(2, "has the value 2, must be true/false or 0/1"), ("yes", "is String, must be")]
WRONG_LABELS = [("yes", "'yes', which is not a number"), ("2", "has the value 2")]


def worse(label: int) -> int:
    """A label for which a prediction of the given one is bad."""
    return 1 - label


def right(labels: list[int]) -> npt.NDArray[np.float64]:
    """What a model returns that is always right."""
    return np.array(labels, float)
