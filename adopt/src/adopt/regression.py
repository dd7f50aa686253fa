"""The target of a data set, for regression."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from adopt.columns import Target, learnt, refuse
from usecase import metrics, problem

PROBLEM, METRIC = "regression", "rmse"


def look(values: pl.Series) -> Target:
    """Take a column for the target.

    Args:
        values: What the column holds.

    Raises:
        OpsError: When it has no numbers, or only two.
    """
    if not values.dtype.is_numeric() or values.drop_nulls().n_unique() <= 2:
        refuse(values, PROBLEM)
    truth = values.cast(pl.Float64)
    low, middle, high = (truth.quantile(q) for q in (0, 0.5, 1))
    notes = [f"{low:.6g} to {high:.6g}, half of it below {middle:.6g}"]
    return Target(truth, "COLUMN.cast(pl.Float64)", "a number", {}, notes)


def score(table: pl.DataFrame, rest: pl.DataFrame) -> float:
    """How much of the target's variance the bins of a feature explain, or a straight line of it."""
    guessed = learnt(table, rest, pl.col("truth").mean())
    truth, guess = guessed["truth"].to_numpy(), guessed["guess"].to_numpy()
    explained = metrics.summary(truth, guess, problem.Target("truth"))["r2"]
    if not table["bin"].dtype.is_numeric():
        return explained
    line = rest.select(pl.corr("bin", "truth", method="spearman") ** 2).item()
    return max(explained, 0.0 if math.isnan(line) else line)


def no_skill(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a model predicts that knows nothing: the mean."""
    return np.full(len(labels), labels.mean())


def tuned(
    _labels: npt.NDArray[Any], _predictions: npt.NDArray[Any]
) -> Mapping[str, tuple[object, str]]:
    """Entries of [target] that follow from predictions: none."""
    return {}


def watched(_labels: npt.NDArray[Any], _window: int) -> list[str]:
    """The metrics to monitor."""
    return ["mae", "rmse"]
