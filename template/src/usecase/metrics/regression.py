"""The metrics of regression."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from usecase.problem.regression import Target

SECTION = "regression"

Numbers = npt.NDArray[np.number[Any]]


def scalars(labels: Numbers, predictions: Numbers, _target: Target) -> dict[str, float]:
    """All metrics, in AWS's order; `r2` is NaN where all labels are equal."""
    truth = labels.astype(np.float64)
    error = predictions.astype(np.float64) - truth
    mse = float(np.mean(error**2))
    variance = float(np.var(truth))
    return {
        "mae": float(np.mean(np.abs(error))),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": 1 - mse / variance if variance else math.nan,
    }


def details(_labels: Numbers, _predictions: Numbers, _target: Target) -> dict[str, Any]:
    """What is more than a number: nothing."""
    return {}
