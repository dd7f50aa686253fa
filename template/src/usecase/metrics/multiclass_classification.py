"""The metrics of multiclass classification."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from usecase.metrics import curves
from usecase.problem.multiclass_classification import Target

SECTION = "multiclass_classification"

Labels = npt.NDArray[Any]
Confusion = npt.NDArray[np.int64]

MOST_CHARTED = 24  # classes whose curves are drawn, the most frequent ones
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def scalars(labels: Labels, predictions: Labels, target: Target) -> dict[str, float]:
    """All metrics that are one number, in AWS's order.

    The "best constant classifier" is the one that always says the most frequent class; in AWS's
    documented example, which has two classes, it says the rarer one.

    Args:
        labels: True classes, shape (rows,).
        predictions: Predicted classes, shape (rows,).
        target: The classes.
    """
    confusion = _confusion(labels, predictions, _classes(predictions, target))
    constant = np.zeros_like(confusion)
    constant[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    return {
        **_weighted(confusion),
        **{f"{name}_best_constant_classifier": v for name, v in _weighted(constant).items()},
    }


def details(labels: Labels, predictions: Labels, target: Target) -> dict[str, Any]:
    """The confusion matrix."""
    classes = _classes(predictions, target)
    confusion = _confusion(labels, predictions, classes)
    return {
        # Outside the true class, inside the predicted one.
        "confusion_matrix": {
            name: dict(zip(classes, row, strict=True))
            for name, row in zip(classes, confusion.tolist(), strict=True)
        }
    }


def charts(
    labels: Labels, output: npt.NDArray[np.floating[Any]], target: Target
) -> list[curves.Chart]:
    """What shows how good the probabilities are: curves and calibration of each class."""
    rows = {name: int(np.count_nonzero(labels == name)) for name in target.classes}
    drawn = set(sorted(rows, key=lambda name: -rows[name])[:MOST_CHARTED])
    return [
        chart
        for place, name in enumerate(target.classes)
        if name in drawn
        for chart in curves.of_class(labels == name, output[:, place], name)
    ]


def _classes(predictions: Labels, target: Target) -> list[str]:
    """The classes, and others that were predicted.

    A version with other classes may have served before; what it said is wrong, but counts.
    """
    return [*target.classes, *sorted(set(predictions.tolist()) - set(target.classes))]


def _confusion(labels: Labels, predictions: Labels, classes: Sequence[str]) -> Confusion:
    """How often each class was taken for each, shape (true classes, predicted classes)."""
    places = {name: place for place, name in enumerate(classes)}
    true, predicted = (
        np.array([places[value] for value in values.tolist()], dtype=np.int64)
        for values in (labels, predictions)
    )
    pairs = np.bincount(true * len(classes) + predicted, minlength=len(classes) ** 2)
    return pairs.reshape(len(classes), len(classes))


def _weighted(confusion: Confusion) -> dict[str, float]:
    """Accuracy, and the metrics of the classes in the mean that their true shares weight.

    A class that is never predicted has the precision 0.
    """
    hits = np.diag(confusion)
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    rows = int(true.sum())

    def mean(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> float:
        shares = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
        return float(shares @ true) / rows

    return {
        "accuracy": int(hits.sum()) / rows,
        "weighted_recall": mean(hits, true),
        "weighted_precision": mean(hits, predicted),
        # The weighted harmonic mean of precision and recall (van Rijsbergen 1979).
        **{
            f"weighted_{name}": mean((1 + beta**2) * hits, predicted + beta**2 * true)
            for name, beta in BETAS.items()
        },
    }
