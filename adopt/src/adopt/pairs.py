"""Suspect leakage by two columns together: neither gives the target away alone, both do.

Rows are put in the order of what two columns make together. Where that gives the target away, rows
that are neighbours then have the same label, or nearly so. How much nearer labels of neighbours are
than those of any two rows is Chatterjee's correlation coefficient (Journal of the American
Statistical Association 116, 2021), which is 1 where one thing follows from another, whatever the
form of it; of classes, whether labels differ takes the place of how far apart they are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from adopt.columns import LEAK, Feature
from ops.tables import spread

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

#: So many values are sorted, which takes about five seconds: rows times pairs times forms.
BUDGET = 50_000_000
#: With fewer rows a pair may fit by chance; more tell nothing new.
LEAST_ROWS, MOST_ROWS = 500, 4000
#: Together two columns leave at most this fraction of what the better one leaves open alone.
LEFT_OPEN = 0.25

FORMS: dict[str, Callable[[Numbers, Numbers], Numbers]] = {
    "{} - {}": np.subtract,
    "{} + {}": np.add,
    "{} * {}": np.multiply,
    "{} / {}": np.divide,
}
SUM = "a weighted sum of {} and {}"


@dataclass(frozen=True)
class Pair:
    """Two features that give the target away together.

    Attributes:
        names: Their names.
        how: What gives it away, in words.
        score: 1 is all of it.
    """

    names: tuple[str, str]
    how: str
    score: float


@dataclass(frozen=True)
class Labels:
    """The labels of the rows that are looked at.

    Attributes:
        values: Their ranks, or the numbers of their classes; shape (rows,).
        amounts: The labels themselves, or the numbers of their classes; their mean is 0.
        classes: Whether they are classes.
        chance: How far apart the labels of any two rows are on average.
    """

    values: Numbers
    amounts: Numbers
    classes: bool
    chance: float

    def alike(self, order: Places, together: npt.NDArray[np.bool_] | None = None) -> Numbers:
        """How much nearer the labels of neighbours are than chance has it: 1 is the same.

        Args:
            order: Orders of the rows; shape (orders, rows).
            together: Which rows are neighbours of the ones after them; by default all are.
        """
        ordered = self.values[order]
        first, second = ordered[:, :-1], ordered[:, 1:]
        apart = (first != second) if self.classes else np.abs(first - second)
        return np.asarray(1 - np.average(apart, 1, weights=together) / self.chance)


def suspects(features: Sequence[Feature], truth: pl.Series) -> tuple[list[Pair], int]:
    """The pairs of features that give the target away, the surest first; each feature once.

    Args:
        features: Features that do not give it away alone.
        truth: The target.

    Returns:
        The pairs, and how many features were looked at: the first ones, as many as the time allows.
    """
    forms = len(FORMS) + 1
    most = int((2 * BUDGET / (LEAST_ROWS * forms)) ** 0.5)
    looked = features[:most]
    pairs = max(1, len(looked) * (len(looked) - 1) // 2)
    rows = min(MOST_ROWS, max(LEAST_ROWS, BUDGET // (pairs * forms)))
    table = spread(pl.DataFrame({"": truth} | {f.name: f.values for f in looked}), rows)
    labels = labels_of(table[""])
    if labels.chance == 0:
        return [], len(looked)
    inputs = {f.name: numbers(table[f.name], numeric=f.numeric) for f in looked}
    numeric = [f.name for f in looked if f.numeric]
    categorical = [f.name for f in looked if not f.numeric]
    alone = {name: by_value(labels, inputs[name]) for name in numeric}
    alone |= {name: by_group(labels, inputs[name], None) for name in categorical}
    found = [*of_numbers(labels, inputs, numeric), *of_categories(labels, inputs, categorical)]
    found += [
        Pair((name, other), f"{name} within {other}", by_group(labels, inputs[other], inputs[name]))
        for other in categorical
        for name in numeric
    ]
    kept: list[Pair] = []
    for pair in sorted(found, key=lambda pair: -pair.score):
        best = max(0.0, *(alone[name] for name in pair.names))
        taken = {name for other in kept for name in other.names}
        gains = 1 - pair.score < LEFT_OPEN * (1 - best)
        if pair.score > LEAK and gains and not taken & {*pair.names}:
            kept.append(pair)
    return kept, len(looked)


def labels_of(truth: pl.Series) -> Labels:
    """Bring labels to what is compared."""
    if truth.dtype == pl.Float64:
        ranks = truth.rank().to_numpy()
        rows, ordered = len(ranks), np.sort(ranks)
        weights = 2 * np.arange(1, rows + 1) - rows - 1
        apart = float(2 * weights @ ordered / (rows * (rows - 1)))
        return Labels(ranks, truth.to_numpy() - truth.to_numpy().mean(), False, apart)
    _, codes, counts = np.unique(truth.to_numpy(), return_inverse=True, return_counts=True)
    shares = counts / len(codes)
    different = (1 - float(shares @ shares)) * len(codes) / (len(codes) - 1)
    return Labels(codes.astype(float), codes - codes.mean(), True, different)


def numbers(values: pl.Series, *, numeric: bool) -> Numbers:
    """A feature as numbers; a category is its place among the values, a missing value is NaN."""
    if not numeric:
        values = values.rank("dense").fill_null(0)
    return values.cast(pl.Float64).to_numpy()


def by_value(labels: Labels, values: Numbers) -> float:
    """What the order by a number tells."""
    return float(labels.alike(np.argsort(values, kind="stable")[None])[0])


def by_group(labels: Labels, groups: Numbers, values: Numbers | None) -> float:
    """What groups tell, and the order by a number in each; 0 where most rows are alone in theirs.

    Args:
        labels: The labels.
        groups: A number of the group of each row.
        values: The numbers; `None` where the order tells nothing.
    """
    keys = (groups,) if values is None else (values, groups)
    order = np.lexsort(keys)
    together = groups[order][:-1] == groups[order][1:]
    if together.sum() < len(groups) / 2:
        return 0.0
    return float(labels.alike(order[None], together)[0])


def of_numbers(labels: Labels, inputs: dict[str, Numbers], names: Sequence[str]) -> Iterator[Pair]:
    """Each two numbers by the form that tells most, where that is enough to be looked at."""
    if len(names) < 2:
        return
    matrix = np.stack([inputs[name] for name in names])
    for place, name in enumerate(names[:-1]):
        first, rest, others = matrix[place], matrix[place + 1 :], names[place + 1 :]
        with np.errstate(all="ignore"):  # what cannot be divided is last in order
            made = {form: make(first, rest) for form, make in FORMS.items()}
            made[SUM] = weighted_sum(first, rest, labels.amounts)
        scores = {form: labels.alike(np.argsort(values, axis=1)) for form, values in made.items()}
        for beside, other in enumerate(others):
            form = max(scores, key=lambda form: scores[form][beside])
            if scores[form][beside] > LEAK:
                score = float(scores[form][beside])
                yield Pair((name, other), form.format(name, other), score)


def weighted_sum(first: Numbers, rest: Numbers, amounts: Numbers) -> Numbers:
    """The sum of two numbers with the weights that come nearest to the target: least squares.

    Args:
        first: A number; shape (rows,).
        rest: Others; shape (numbers, rows).
        amounts: The target, whose mean is 0.
    """
    a, b = (np.nan_to_num(x - mean(x)) for x in (first, rest))
    aa, bb, ab = a @ a, (b * b).sum(axis=1), b @ a
    weights = (bb * (a @ amounts) - ab * (b @ amounts), aa * (b @ amounts) - ab * (a @ amounts))
    # Without the determinant, which is the same for both and does not change the order.
    return np.asarray(weights[0][:, None] * first + weights[1][:, None] * rest)


def mean(values: Numbers) -> Numbers:
    """The mean of each row, without what is missing."""
    present = (~np.isnan(values)).sum(axis=-1, keepdims=True)
    return np.asarray(np.nansum(values, axis=-1, keepdims=True) / np.maximum(1, present))


def of_categories(
    labels: Labels, inputs: dict[str, Numbers], names: Sequence[str]
) -> Iterator[Pair]:
    """Each two categories."""
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            both = inputs[name] * (inputs[other].max() + 1) + inputs[other]
            yield Pair((name, other), f"{name} with {other}", by_group(labels, both, None))
