"""The metrics of regression."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from usecase.metrics import curves
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


def details(labels: Numbers, predictions: Numbers, _target: Target) -> dict[str, Any]:
    """How far predictions are above what has come, and how far below: what errors cost of each."""
    error = predictions.astype(np.float64) - labels.astype(np.float64)
    found: dict[str, Any] = {"rows": len(error)}
    for name, part in (("over", np.maximum(error, 0)), ("under", np.maximum(-error, 0))):
        found[name] = {"mean": float(part.mean()), "mean_square": float(np.mean(part**2))}
    return {"errors": found}


def charts(labels: Numbers, output: Numbers, target: Target) -> list[curves.Chart]:
    """What shows how good the predictions are: calibration, and the residuals."""
    truth, predictions = labels.astype(np.float64), output.astype(np.float64)
    residuals, place = truth - predictions, curves.bins(predictions)
    parts = [place == number for number in np.unique(place)]
    middles = [predictions[part].mean() for part in parts]
    quantiles = {
        f"{level * 100:.0f} % are below": [np.quantile(residuals[part], level) for part in parts]
        for level in (0.5, 0.05, 0.25, 0.75, 0.95)
    }
    low, high = np.quantile(residuals, [0.01, 0.99])
    rows, edges = np.histogram(residuals, bins=40, range=(low, high))
    return [
        curves.chart(
            "Calibration",
            "mean prediction",
            f"mean {target.column}",
            *curves.calibration(truth, predictions),
        ),
        curves.chart(
            "Residuals by prediction",
            "mean prediction",
            f"{target.column} - prediction",
            *(curves.line(name, middles, values) for name, values in quantiles.items()),
        ),
        curves.chart(
            "Residuals, the middle 98 %",
            f"{target.column} - prediction",
            "rows",
            curves.line("rows", np.repeat(edges, 2), np.r_[0, np.repeat(rows, 2), 0]),
        ),
    ]
