"""The metrics of classifications, under Model Monitor's names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

Pair = tuple[Any, Any]
"""A label and what was predicted: a class, a number, or the probability of the class 1."""

_BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
_CURVE_POINTS = 101  # what is kept of a curve, which has as many points as there are predictions
_POSITIVE = {"1", "true", "True"}


def binary(pairs: Sequence[Pair], threshold: float | None) -> dict[str, float]:
    """Return the metrics of a classification in two classes.

    The "best constant classifier" is the one that always says 1, as in AWS's documented example.

    Args:
        pairs: Labels and predictions.
        threshold: From where on a probability means 1; None when predictions are classes.

    Returns:
        The metrics; one that is not defined is NaN, and `auc` is only there for probabilities.
    """
    tp, fp, tn, fn = _counts(pairs, threshold)
    share = (tp + fn) / len(pairs)
    constant = (tp + fn, fp + tn, 0)
    ranked = {} if threshold is None else {"auc": _auc(pairs)}
    return {
        "recall": _ratio(tp, tp + fn),
        "precision": _ratio(tp, tp + fp, 0.0),
        "accuracy": (tp + tn) / len(pairs),
        "recall_best_constant_classifier": _ratio(tp + fn, tp + fn),
        "precision_best_constant_classifier": share,
        "accuracy_best_constant_classifier": share,
        "true_positive_rate": _ratio(tp, tp + fn),
        "true_negative_rate": _ratio(tn, tn + fp),
        "false_positive_rate": _ratio(fp, tn + fp),
        "false_negative_rate": _ratio(fn, tp + fn),
        **ranked,
        **{name: _f_beta(beta, tp, fp, fn) for name, beta in _BETAS.items()},
        **{f"{name}_best_constant_classifier": _f_beta(b, *constant) for name, b in _BETAS.items()},
    }


def multiclass(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the metrics of a classification in several classes.

    The "best constant classifier" is the one that always says the most frequent class.
    """
    labels = Counter(label for label, _ in pairs)
    frequent = max(sorted(labels), key=lambda name: labels[name])
    constant = [(label, frequent) for label, _ in pairs]
    return {
        **_weighted(pairs),
        **{f"{name}_best_constant_classifier": v for name, v in _weighted(constant).items()},
    }


def details(problem: str, pairs: Sequence[Pair], threshold: float | None) -> dict[str, Any]:
    """Return what is more than a number: the confusion matrix and, of probabilities, the curves."""
    if problem == "Regression":
        return {}
    if problem == "MulticlassClassification":
        names = sorted({name for pair in pairs for name in pair})
        counts = Counter(pairs)
        # Outside the true class, inside the predicted one.
        matrix = {true: {name: counts[true, name] for name in names} for true in names}
        return {"confusion_matrix": matrix}
    tp, fp, tn, fn = _counts(pairs, threshold)
    found: dict[str, Any] = {"confusion_matrix": {"0": {"0": tn, "1": fp}, "1": {"0": fn, "1": tp}}}
    if threshold is not None:
        points = _roc(pairs)
        true, false = (max(1, points[-1][side]) for side in (0, 1))
        recalls = [hits / true for hits, _ in points]
        found["receiver_operating_characteristic_curve"] = {
            "false_positive_rates": _thin([misses / false for _, misses in points]),
            "true_positive_rates": _thin(recalls),
        }
        # Where nothing is predicted to be 1, precision is taken for 1.
        precisions = [hits / (hits + misses) if hits + misses else 1.0 for hits, misses in points]
        found["precision_recall_curve"] = {
            "precisions": _thin(precisions),
            "recalls": _thin(recalls),
        }
    return found


def _counts(pairs: Sequence[Pair], threshold: float | None) -> tuple[int, int, int, int]:
    """Return true positives, false positives, true negatives, false negatives."""
    found = Counter(
        (
            label in _POSITIVE,
            value in _POSITIVE if threshold is None else value >= threshold,
        )
        for label, value in pairs
    )
    return found[True, True], found[False, True], found[False, False], found[True, False]


def _roc(pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """Return true and false positives at each distinct probability, from strict to lax."""
    points = [(0, 0)]
    ordered = sorted(pairs, key=lambda pair: -pair[1])
    for _, group in groupby(ordered, key=lambda pair: pair[1]):
        positive = [label in _POSITIVE for label, _ in group]
        hits, misses = points[-1]
        points.append((hits + sum(positive), misses + len(positive) - sum(positive)))
    return points


def _auc(pairs: Sequence[Pair]) -> float:
    """Return the area under the ROC curve by the trapezoidal rule; NaN for one class alone."""
    points = _roc(pairs)
    whole = points[-1][0] * points[-1][1]
    area = sum((right - left) * (low + high) / 2 for (low, left), (high, right) in pairwise(points))
    return area / whole if whole else math.nan


def _thin(curve: list[float]) -> list[float]:
    """Return at most `_CURVE_POINTS` points, evenly spread, with both ends."""
    count = min(_CURVE_POINTS, len(curve))
    return [curve[round(place * (len(curve) - 1) / (count - 1))] for place in range(count)]


def _ratio(part: int, whole: int, undefined: float = math.nan) -> float:
    return part / whole if whole else undefined


def _f_beta(beta: float, tp: int, fp: int, fn: int) -> float:
    """Return the weighted harmonic mean of precision and recall (van Rijsbergen 1979)."""
    whole = (1 + beta**2) * tp + beta**2 * fn + fp
    return (1 + beta**2) * tp / whole if whole else 0.0


def _weighted(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return accuracy, and the classes' metrics in the mean that their true shares weight.

    A class that is never predicted has the precision 0.
    """
    hits = Counter(label for label, value in pairs if label == value)
    true = Counter(label for label, _ in pairs)
    predicted = Counter(value for _, value in pairs)
    rows = len(pairs)

    def mean(score: dict[str, float]) -> float:
        return sum(score[name] * true[name] for name in true) / rows

    scores = {"weighted_recall": {name: hits[name] / true[name] for name in true}}
    scores["weighted_precision"] = {
        name: hits[name] / predicted[name] if predicted[name] else 0.0 for name in true
    }
    for label, beta in _BETAS.items():
        scores[f"weighted_{label}"] = {
            name: (1 + beta**2) * hits[name] / (predicted[name] + beta**2 * true[name])
            for name in true
        }
    means = {label: mean(score) for label, score in scores.items()}
    return {"accuracy": sum(hits.values()) / rows, **means}
