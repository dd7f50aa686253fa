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
    """The decision threshold with the best F1, as entries of [target].

    Args:
        labels: Labels, 0 or 1.
        predictions: Probabilities of 1.
    """
    candidates = np.unique([float(f"{p:.2g}") for p in predictions])
    best, chosen = -1.0, 0.5
    for threshold in candidates[(candidates > 0) & (candidates < 1)]:
        target = problem.Target("truth", float(threshold))
        if (f1 := metrics.summary(labels, predictions, target)["f1"]) > best:
            best, chosen = f1, float(threshold)
    comment = "from this probability on it counts as a 1; here F1 was best"
    return {"decision_threshold": (chosen, comment)}


def watched(labels: npt.NDArray[Any], window: int) -> list[str]:
    """The metrics to monitor, with so many labels in a window."""
    steady = labels.mean() * window >= STEADY
    return ["auc", "f1", "precision"] if steady else ["auc"]
