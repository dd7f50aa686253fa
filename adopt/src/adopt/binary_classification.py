"""The target of a data set, for binary classification."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from adopt.columns import Target, learnt, literal, refuse, shorten
from usecase import metrics, problem

PROBLEM, METRIC = "binary_classification", "auc"
#: Of two such words the first is the 1, whichever is rarer.
PAIRS = (
    *(("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"), ("1", "0"), ("bad", "good")),
    *(("positive", "negative"), ("fraud", "legit"), ("はい", "いいえ"), ("有", "無")),
)
#: With fewer 1s among the labels of a window, precision and F1 are too unsteady to watch.
STEADY = 50


def look(values: pl.Series) -> Target:
    """Take a column for the target.

    Args:
        values: What the column holds.

    Raises:
        OpsError: When it has not two values.
    """
    found = values.drop_nulls().unique().sort().to_list()
    if len(found) != 2:
        refuse(values, PROBLEM)
    one, zero = order(values, found)
    truth = values.replace_strict({zero: 0, one: 1}, return_dtype=pl.Int64)
    mapping = f"{{{literal(zero)}: 0, {literal(one)}: 1}}"
    code = f"COLUMN.replace_strict({mapping}, return_dtype=pl.Int8)"
    meaning = f"1 is {shorten(one)}, 0 is {shorten(zero)}"
    if (zero, one) == (0, 1):
        code, meaning = "COLUMN.cast(pl.Int8)", "0 or 1"
    return Target(truth, code, meaning, {}, [meaning, f"{share(truth):.3g} % are 1"])


def order(values: pl.Series, found: Sequence[object]) -> tuple[object, object]:
    """Of two values the 1 and the 0: the 1 is what is asked for, larger, or rarer."""
    words = {str(value).lower(): value for value in found}
    for one, zero in PAIRS:
        if words.keys() == {one, zero}:
            return words[one], words[zero]
    small, large = found
    if values.dtype.is_numeric() or int((values == small).sum()) >= int((values == large).sum()):
        return large, small
    return small, large


def share(truth: pl.Series) -> float:
    """The 1s, in percent."""
    return 100 * float(truth.drop_nulls().to_numpy().mean())


def score(table: pl.DataFrame, rest: pl.DataFrame) -> float:
    """How far the bins of a feature lead to a perfect AUC: 0 is chance, 1 is all the way."""
    guessed = learnt(table, rest, pl.col("truth").mean())
    truth, guess = guessed["truth"].to_numpy(), guessed["guess"].to_numpy()
    return 2 * metrics.summary(truth, guess, problem.Target("truth"))[METRIC] - 1


def no_skill(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a model predicts that knows nothing: how frequent 1s are."""
    return np.full(len(labels), labels.mean())


def tuned(
    labels: npt.NDArray[Any], predictions: npt.NDArray[Any]
) -> Mapping[str, tuple[object, str]]:
    """The decision threshold, as entries of [target]: near 0.5, and with a good F1.

    Of the thresholds whose F1 is within a standard error of the best one it is the nearest to 0.5.
    With few rows the best itself may be far out by chance, where another model, or a calibrated
    one, calls every record the same.

    Args:
        labels: Labels, 0 or 1.
        predictions: Probabilities of 1.
    """
    found = np.unique([0.5, *(float(f"{p:.2g}") for p in predictions)])
    candidates = found[(found > 0) & (found < 1)]
    scores = np.array(
        [
            metrics.summary(labels, predictions, problem.Target("truth", float(threshold)))["f1"]
            for threshold in candidates
        ]
    )
    # One more of either, as in the interval of Agresti and Coull: a perfect score has an error too.
    count = max(1, labels.sum())
    likely = (scores.max() * count + 1) / (count + 2)
    error = np.sqrt(likely * (1 - likely) / count)
    good = candidates[scores >= scores.max() - error]
    chosen = float(good[np.argmin(np.abs(good - 0.5))])
    comment = "from this probability on it counts as a 1; no other has a clearly better F1"
    return {"decision_threshold": (chosen, comment)}


def watched(labels: npt.NDArray[Any], window: int) -> list[str]:
    """The metrics to monitor, with so many labels in a window."""
    steady = labels.mean() * window >= STEADY
    return ["auc", "f1", "precision"] if steady else ["auc"]
