"""The target of a data set, for multiclass classification."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from adopt.columns import CLASSES, COUNTED, Target, learnt, literal, refuse, shorten

PROBLEM, METRIC = "multiclass_classification", "weighted_f1"


def look(values: pl.Series) -> Target:
    """Take a column for the target.

    Args:
        values: What the column holds.

    Raises:
        OpsError: When it has no classes, or too many.
    """
    found = values.drop_nulls().unique().sort()
    numeric = values.dtype.is_numeric()
    whole = not numeric or bool((found == found.round()).all())
    limit = COUNTED if numeric else CLASSES
    if not whole or not 2 <= len(found) <= limit or isinstance(found.dtype, pl.Date | pl.Datetime):
        refuse(values, PROBLEM)
    if numeric:
        values = values.cast(pl.Int64)
    truth = values.cast(pl.String)
    classes = found.cast(values.dtype).cast(pl.String).to_list()
    shares = truth.drop_nulls().value_counts(sort=True, normalize=True).head(5)
    notes = [
        ", ".join(f"{shorten(name)} {100 * share:.3g} %" for name, share in shares.iter_rows())
    ]
    known = f"[{', '.join(map(literal, classes))}]"
    return Target(
        truth,
        f"pl.when(COLUMN.cast(pl.String).is_in({known})).then(COLUMN.cast(pl.String))",
        "the class, as text",
        {
            "classes": (classes, "Model.predict has their order"),
            "decision_weights": (
                weights(truth, classes),
                "the largest probability times weight is predicted; rare classes have more",
            ),
        },
        notes,
    )


def weights(truth: pl.Series, classes: Sequence[str]) -> list[float]:
    """The decision weights of classes: one over the square root of the class's share.

    The likeliest class is hardly ever a rare one. These lie between answering that, and answering
    every class as if all were as frequent; the most frequent one has 1.
    """
    counts = dict(truth.drop_nulls().value_counts().iter_rows())
    most = max(counts.values())
    return [float(f"{math.sqrt(most / counts[name]):.2g}") for name in classes]


def score(table: pl.DataFrame, rest: pl.DataFrame) -> float:
    """How far the bins of a feature lead from the commonest class to perfect accuracy."""
    guessed = learnt(table, rest, pl.col("truth").mode().sort().first())
    right = float((guessed["guess"] == guessed["truth"]).to_numpy().mean())
    commonest = guessed["truth"].value_counts()["count"].to_numpy().max() / guessed.height
    return float((right - commonest) / max(1e-9, 1 - commonest))


def no_skill(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a model predicts that knows nothing: the commonest class."""
    names, counts = np.unique(labels, return_counts=True)
    return np.full(len(labels), names[counts.argmax()])


def tuned(
    _labels: npt.NDArray[Any], _predictions: npt.NDArray[Any]
) -> Mapping[str, tuple[object, str]]:
    """Entries of [target] that follow from predictions: none."""
    return {}


def watched(_labels: npt.NDArray[Any], _window: int) -> list[str]:
    """The metrics to monitor."""
    return ["weighted_f1", "weighted_precision"]
