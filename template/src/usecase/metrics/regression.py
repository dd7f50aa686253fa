"""The metrics of regression in Model Monitor's model-quality format.

Names and layout:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from usecase.problem.regression import METRICS, Target

Numbers = npt.NDArray[np.number[Any]]

RESAMPLES, RESAMPLE_SHARE, RESAMPLE_LEAST = 5, 0.8, 200


def statistics(labels: Numbers, predictions: Numbers, _target: Target) -> dict[str, Any]:
    """Measure predictions.

    The standard deviation follows Model Monitor's rule: from 200 samples on, each metric is
    computed on five random samples of 80 % of the data, and the deviation of the five is given
    (with one degree of freedom taken off, and a fixed seed); below it is "NaN".

    Args:
        labels: True values, shape (rows,).
        predictions: Predicted values, shape (rows,).

    Returns:
        The statistics without `version` and `dataset`. `r2` is "NaN" where all labels are equal.
    """
    truth, predicted = labels.astype(np.float64), predictions.astype(np.float64)
    generator = np.random.default_rng(0)
    size = math.ceil(RESAMPLE_SHARE * len(truth))
    samples = []
    if len(truth) >= RESAMPLE_LEAST:
        for _ in range(RESAMPLES):
            chosen = generator.choice(len(truth), size, replace=False)
            samples.append(_scalars(truth[chosen], predicted[chosen]))
    measured = {
        name: {
            "value": _json(value),
            "standard_deviation": _json(
                float(np.std([sample[name] for sample in samples], ddof=1)) if samples else math.nan
            ),
        }
        for name, value in _scalars(truth, predicted).items()
    }
    return {"regression_metrics": measured}


def summary(labels: Numbers, predictions: Numbers, _target: Target) -> dict[str, float]:
    """The metrics that can be watched, as plain numbers."""
    return _scalars(labels.astype(np.float64), predictions.astype(np.float64))


def constraints(
    measured: Mapping[str, Any], metrics: Iterable[str], tolerance: float
) -> dict[str, object]:
    """The constraints that measured statistics suggest.

    Args:
        measured: What `statistics` returned.
        metrics: The metrics to constrain.
        tolerance: A value may be worse by this share of itself.

    Returns:
        The constraints without `version`; a metric that was not defined has none.
    """
    suggested = {}
    for name in metrics:
        value = measured["regression_metrics"][name]["value"]
        if value == "NaN":
            continue
        # r2 can be negative, and gets worse downwards nevertheless.
        allowed = tolerance * abs(value)
        limit = value - allowed if METRICS[name] == "LessThanThreshold" else value + allowed
        suggested[name] = {"threshold": limit, "comparison_operator": METRICS[name]}
    return {"regression_constraints": suggested}


def _scalars(
    truth: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]
) -> dict[str, float]:
    """All metrics, in AWS's order."""
    error = predicted - truth
    mse = float(np.mean(error**2))
    variance = float(np.var(truth))
    return {
        "mae": float(np.mean(np.abs(error))),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": 1 - mse / variance if variance else math.nan,
    }


def _json(value: float) -> float | str:
    """A number as Model Monitor writes it."""
    return "NaN" if math.isnan(value) else value
