"""Examples of multiclass classification."""

import numpy as np
import numpy.typing as npt

from usecase import config
from usecase.problem import Target

CLASSES = config.load().target.classes  # those of usecase.toml

TARGET = Target("y", ("good", "so, so", "bad"))
TARGET_TOML = 'column = "returned"\nclasses = ["never", "once"]'

# Four rows: what the model returns, what is answered, what is read of it.
OUTPUT = np.array([[0.75, 0.25, 0], [0.1, 0.8, 0.1], [0, 1e-6, 1], [0.4, 0.3, 0.3]])
CSV = ["good,0.75,0.25,0.0", '"so, so",0.1,0.8,0.1', "bad,0.0,1e-06,1.0", "good,0.4,0.3,0.3"]
NAMES = ("predicted_label", "probability_good", "probability_so, so", "probability_bad")
JSON = [
    dict(zip(NAMES, row, strict=True))
    for row in (
        ("good", 0.75, 0.25, 0.0),
        ("so, so", 0.1, 0.8, 0.1),
        ("bad", 0.0, 1e-06, 1.0),
        ("good", 0.4, 0.3, 0.3),
    )
]
PREDICTIONS = ["good", "so, so", "bad", "good"]

LABELS = [*CLASSES]

#: Metrics that are not defined when all labels are the same.
UNDEFINED: list[str] = []

# A label and the words with which it is refused: as a column's value, and as a label's text.
WRONG_TARGETS = [("maybe", "has the value 'maybe', must be one of"), (0.5, "is Float64, must be")]
WRONG_LABELS = [("maybe", "has the value 'maybe', must be one of")]


def worse(label: str) -> str:
    """A label for which a prediction of the given one is bad."""
    return CLASSES[(CLASSES.index(label) + 1) % len(CLASSES)]


def right(labels: list[str]) -> npt.NDArray[np.float64]:
    """What a model returns that is always right."""
    return np.array([[float(label == name) for name in CLASSES] for label in labels])
