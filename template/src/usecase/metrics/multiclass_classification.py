"""The metrics of multiclass classification in Model Monitor's model-quality format.

Names and layout:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from usecase.problem.multiclass_classification import METRICS, Target

Labels = Sequence[str] | npt.NDArray[Any]
Confusion = npt.NDArray[np.int64]

BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
RESAMPLES, RESAMPLE_SHARE, RESAMPLE_LEAST = 5, 0.8, 200


def statistics(labels: Labels, predictions: Labels, target: Target) -> dict[str, Any]:
    """Measure predictions.

    The standard deviation follows Model Monitor's rule: from 200 samples on, each metric is
    computed on five random samples of 80 % of the data, and the deviation of the five is given
    (with one degree of freedom taken off, and a fixed seed); below it is "NaN". The "best constant
    classifier" is the one that always says the most frequent class; in AWS's documented example,
    which has two classes, it says the rarer one.

    Args:
        labels: True classes, shape (rows,).
        predictions: Predicted classes, shape (rows,).
        target: The classes.

    Returns:
        The statistics without `version` and `dataset`.
    """
    # A version with other classes may have served before; what it said is wrong, but counts.
    classes = [*target.classes, *sorted(set(predictions) - set(target.classes))]
    true, predicted = _codes(labels, classes), _codes(predictions, classes)
    confusion = _confusion(true, predicted, len(classes))
    generator = np.random.default_rng(0)
    size = math.ceil(RESAMPLE_SHARE * len(true))
    samples = []
    if len(true) >= RESAMPLE_LEAST:
        for _ in range(RESAMPLES):
            chosen = generator.choice(len(true), size, replace=False)
            samples.append(_scalars(_confusion(true[chosen], predicted[chosen], len(classes))))
    scalars = {
        name: {
            "value": value,
            "standard_deviation": (
                float(np.std([sample[name] for sample in samples], ddof=1)) if samples else "NaN"
            ),
        }
        for name, value in _scalars(confusion).items()
    }
    return {
        "multiclass_classification_metrics": {
            # Outside the true class, inside the predicted one.
            "confusion_matrix": {
                name: dict(zip(classes, row, strict=True))
                for name, row in zip(classes, confusion.tolist(), strict=True)
            },
            **scalars,
        }
    }


def summary(labels: Labels, predictions: Labels, target: Target) -> dict[str, float]:
    """The metrics that can be watched, as plain numbers."""
    true, predicted = _codes(labels, target.classes), _codes(predictions, target.classes)
    values = _scalars(_confusion(true, predicted, len(target.classes)))
    return {name: values[name] for name in METRICS}


def constraints(
    measured: Mapping[str, Any], metrics: Iterable[str], tolerance: float
) -> dict[str, object]:
    """The constraints that measured statistics suggest.

    Args:
        measured: What `statistics` returned.
        metrics: The metrics to constrain.
        tolerance: A value may be worse by this share of itself.

    Returns:
        The constraints without `version`.
    """
    values = measured["multiclass_classification_metrics"]
    suggested = {
        name: {
            "threshold": values[name]["value"] * (1 - tolerance),
            "comparison_operator": METRICS[name],
        }
        for name in metrics
    }
    return {"multiclass_classification_constraints": suggested}


def _codes(values: Labels, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """The place of each value in `classes`, shape (rows,)."""
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places[value] for value in values], dtype=np.int64)


def _confusion(
    true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int
) -> Confusion:
    """How often each class was taken for each, shape (true classes, predicted classes)."""
    pairs = np.bincount(true * classes + predicted, minlength=classes**2)
    return pairs.reshape(classes, classes)


def _scalars(confusion: Confusion) -> dict[str, float]:
    """All metrics that are one number, in AWS's order."""
    constant = np.zeros_like(confusion)
    constant[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    return {
        **_weighted(confusion),
        **{f"{name}_best_constant_classifier": v for name, v in _weighted(constant).items()},
    }


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
