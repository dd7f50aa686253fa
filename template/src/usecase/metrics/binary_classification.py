"""The metrics of binary classification."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from usecase.metrics import curves
from usecase.metrics.curves import counts_by_threshold, roc_area
from usecase.problem.binary_classification import Target

SECTION = "binary_classification"

Labels = npt.NDArray[np.integer[Any]]
Probabilities = npt.NDArray[np.floating[Any]]

BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
CURVE_POINTS = 101  # what is kept of a curve, which has as many points as there are predictions


def scalars(labels: Labels, predictions: Probabilities, target: Target) -> dict[str, float]:
    """All metrics that are one number, in AWS's order.

    The "best constant classifier" is the one that always says 1, as in AWS's documented example.

    Args:
        labels: Labels, 0 or 1, shape (rows,).
        predictions: Probabilities of 1, shape (rows,).
        target: The decision threshold.

    Returns:
        The metrics; one that is not defined, such as `auc` of one class alone, is NaN.
    """
    positive, threshold = labels.astype(bool), target.decision_threshold
    tp, fp, tn, fn = _confusion(positive, predictions >= threshold)
    share = (tp + fn) / len(positive)
    constant = (tp + fn, fp + tn, 0)  # true positives, false positives, false negatives
    return {
        "recall": _ratio(tp, tp + fn),
        "precision": _ratio(tp, tp + fp, 0.0),
        "accuracy": (tp + tn) / len(positive),
        "recall_best_constant_classifier": _ratio(tp + fn, tp + fn),
        "precision_best_constant_classifier": share,
        "accuracy_best_constant_classifier": share,
        "true_positive_rate": _ratio(tp, tp + fn),
        "true_negative_rate": _ratio(tn, tn + fp),
        "false_positive_rate": _ratio(fp, tn + fp),
        "false_negative_rate": _ratio(fn, tp + fn),
        "auc": roc_area(positive, predictions),
        **{name: _f_beta(beta, tp, fp, fn) for name, beta in BETAS.items()},
        **{
            f"{name}_best_constant_classifier": _f_beta(beta, *constant)
            for name, beta in BETAS.items()
        },
    }


def details(labels: Labels, predictions: Probabilities, target: Target) -> dict[str, Any]:
    """The confusion matrix and the curves."""
    positive = labels.astype(bool)
    true_positives, false_positives = counts_by_threshold(positive, predictions)
    tp, fp, tn, fn = _confusion(positive, predictions >= target.decision_threshold)
    return {
        # Outside the label, inside the predicted one.
        "confusion_matrix": {"0": {"0": tn, "1": fp}, "1": {"0": fn, "1": tp}},
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": _thin(false_positives / max(1, false_positives[-1])),
            "true_positive_rates": _thin(true_positives / max(1, true_positives[-1])),
        },
        "precision_recall_curve": {
            "precisions": _thin(curves.precisions(true_positives, false_positives)),
            "recalls": _thin(true_positives / max(1, true_positives[-1])),
        },
    }


def charts(labels: Labels, output: Probabilities, target: Target) -> list[curves.Chart]:
    """What shows how good the probabilities are: curves, calibration."""
    return curves.of_class(labels.astype(bool), output, f"{target.column} = 1")


def _confusion(
    positive: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]
) -> tuple[int, int, int, int]:
    """True positives, false positives, true negatives, false negatives."""
    tp = int(np.count_nonzero(positive & predicted))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(positive)) - tp
    return tp, fp, len(positive) - tp - fp - fn, fn


def _ratio(part: int, whole: int, undefined: float = math.nan) -> float:
    return part / whole if whole else undefined


def _f_beta(beta: float, tp: int, fp: int, fn: int) -> float:
    """The weighted harmonic mean of precision and recall (van Rijsbergen 1979)."""
    whole = (1 + beta**2) * tp + beta**2 * fn + fp
    return (1 + beta**2) * tp / whole if whole else 0.0


def _thin(curve: Probabilities) -> list[float]:
    """At most CURVE_POINTS points of a curve, evenly spread, with both ends."""
    points = np.linspace(0, len(curve) - 1, min(CURVE_POINTS, len(curve))).round().astype(int)
    return [float(value) for value in curve[points]]
