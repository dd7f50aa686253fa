"""SageMaker Clarify's bias metrics, and how far chance may have moved each.

A group (d) is compared with all other records (a). Definitions, directions and edge cases are those
of the package smclarify 0.5: 0/0 is 0, and x/0 is infinite.

https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-measure-data-bias.html
https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-measure-post-training-bias.html

Each metric is a function of a table of counts. So its interval follows from draws of what the
counts might have been as well: of the posterior distribution of the cells' fractions, by Jeffreys'
prior (Brown, Cai and DasGupta 2001, Interval Estimation for a Binomial Proportion).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from usecase.monitors.bias_names import METRICS

Counts = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

#: So many draws are made; of tables that have more cells than that allows, fewer.
DRAWS, FEWEST_DRAWS, DRAWN_VALUES = 2000, 200, 4_000_000
#: The lower end, the middle and the upper end of an interval of 95 %, among the draws in order.
PLACES = (0.025, 0.5, 0.975)
#: Neighbours of the flip test, or one where there are no more than so many records; so many records
#: of either side are looked at, as each is compared with each.
NEIGHBOURS, FEW, FLIPPED_ROWS = 5, 9, 2000


class NotComputableError(Exception):
    """A metric cannot be computed; the message says why."""


@dataclass(frozen=True)
class Tables:
    """What is counted of a group and of all others, for the metrics.

    The axis with the group has the others first. An outcome, of labels or predictions, is negative
    (0) or positive (1).

    Attributes:
        predictions: Shape (subgroups, 2, 2): subgroup, group, predicted outcome.
        labels: Shape (subgroups, 2, 2): subgroup, group, label; `None` without labels.
        pairs: Shape (2, 2, 2): group, label, predicted outcome; `None` without labels.
        flips: Shape (3,), as `flips` counts, or why that cannot be counted.
        conditional: Whether the subgroups are those of a group variable.
    """

    predictions: Counts
    labels: Counts | None
    pairs: Counts | None
    flips: Counts | str
    conditional: bool


@dataclass(frozen=True)
class Value:
    """A metric that was measured.

    Attributes:
        value: By the counts; may be infinite.
        center: The median of the draws, which is finite.
        low: Where the interval begins.
        high: Where it ends.
    """

    value: float
    center: float
    low: float
    high: float


def measure(tables: Tables, generator: np.random.Generator) -> dict[str, Value | str]:
    """Measure all metrics of a group.

    Args:
        tables: The counts.
        generator: Makes the draws.

    Returns:
        Each metric, by its name, or why it cannot be computed: that spares the others.
    """
    drawn: dict[str, Counts] = {}
    found: dict[str, Value | str] = {}
    for name, metric in METRICS.items():
        try:
            table = checked(name, tables)
        except NotComputableError as error:
            found[name] = str(error)
            continue
        if metric.table not in drawn:
            subgroups = len(table) if metric.table in ("predictions", "labels") else 1
            drawn[metric.table] = draws(table, subgroups, generator)
        value, several = float(COMPUTED[name](table)), np.sort(COMPUTED[name](drawn[metric.table]))
        low, center, high = (float(several[int(place * len(several))]) for place in PLACES)
        found[name] = Value(value, center, min(low, value), max(high, value))
    return found


def checked(name: str, tables: Tables) -> Counts:
    """The table of a metric.

    Raises:
        NotComputableError: When it is not there, or has no rows of a kind that the metric needs.
    """
    table: Counts | str | None = getattr(tables, METRICS[name].table)
    if table is None:
        raise NotComputableError("There are no labels.")
    if isinstance(table, str):
        raise NotComputableError(table)
    if name == "FT" and not table.sum():
        raise NotComputableError("The group is empty, or there are no others.")
    if name == "GE" and table[:, 1, 0].sum() == table.sum():
        raise NotComputableError("All predictions are false negatives.")
    if name in ("FT", "GE"):
        return table
    others, group = table.sum(axis=(1, 2) if METRICS[name].table == "pairs" else (0, 2)).tolist()
    if not others or not group:
        raise NotComputableError("The group is empty, or there are no others.")
    if name in ("CDDL", "CDDPL"):
        if not tables.conditional:
            raise NotComputableError("There is no group variable.")
        for kind, outcomes in zip(("negative", "positive"), table.sum(axis=(0, 1)), strict=True):
            if not outcomes:
                raise NotComputableError(f"There is no {kind} outcome.")
    if name in ("KL", "JS", "LP", "TVD", "KS") and not _common(_fractions(table)).any():
        raise NotComputableError("The group and the others have no outcome in common.")
    return table


def draws(table: Counts, subgroups: int, generator: np.random.Generator) -> Counts:
    """What the counts might have been as well.

    Args:
        table: The counts.
        subgroups: How many subgroups share the prior, so that many do not outweigh the counts.
        generator: Makes the draws.

    Returns:
        Shape (draws, *shape of the table).
    """
    number = max(FEWEST_DRAWS, min(DRAWS, DRAWN_VALUES // table.size))
    return generator.standard_gamma(table + 0.5 / subgroups, (number, *table.shape))


def divided(numerator: Counts, denominator: Counts) -> Counts:
    """A ratio: 0/0 is 0, and x/0 infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((numerator == 0) & (denominator == 0), 0.0, numerator / denominator)


def minus(one: Counts, other: Counts) -> Counts:
    """A difference: ∞ - ∞ is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(one == other, 0.0, one - other)


def flips(features: npt.NDArray[np.float64], positive: Bools, group: Bools) -> Counts:
    """Compare what is predicted for a group with what is for its nearest neighbours among others.

    Args:
        features: Numbers, shape (rows, features).
        positive: Whether the predicted outcome is positive, shape (rows,).
        group: Whether the record is of the group, shape (rows,).

    Returns:
        How many records of the group have a positive outcome where their neighbours have a
        negative one, how many the other way round, and how many have the same.
    """
    generator = np.random.default_rng(0)
    sides = (np.flatnonzero(~group), np.flatnonzero(group))
    others, own = (
        side if len(side) <= FLIPPED_ROWS else generator.choice(side, FLIPPED_ROWS, replace=False)
        for side in sides
    )
    if not len(others) or not len(own):
        return np.zeros(3)
    nearest = min(NEIGHBOURS if len(others) > FEW else 1, len(others))
    expected = np.concatenate(
        [
            positive[others][_nearest(features[some], features[others], nearest)].mean(axis=1) > 0.5
            for some in np.array_split(own, max(1, len(own) // 200))
        ]
    )
    actual = positive[own]
    more, fewer = int((actual & ~expected).sum()), int((~actual & expected).sum())
    return np.array([more, fewer, len(own) - more - fewer])


def _nearest(some: Counts, others: Counts, number: int) -> Counts:
    """The places of the nearest others of each of some records, shape (some, number)."""
    distances = np.square(some[:, None, :] - others[None, :, :]).sum(axis=2)
    return np.argpartition(distances, number - 1, axis=1)[:, :number]


# --- Of outcomes, shape (…, subgroups, 2, 2) ---


def _fractions(table: Counts) -> Counts:
    """The fraction of each outcome, shape (…, 2, 2): of the others, and of the group."""
    whole = table.sum(axis=-3)
    return divided(whole, whole.sum(axis=-1, keepdims=True))


def _imbalance(table: Counts) -> Counts:
    """CI: (a - d) / (a + d)."""
    rows = table.sum(axis=(-3, -1))
    return divided(rows[..., 0] - rows[..., 1], rows.sum(axis=-1))


def _proportions(table: Counts) -> Counts:
    """DPL and DPPL: the fraction with a positive outcome, a - d."""
    positive = _fractions(table)[..., 1]
    return minus(positive[..., 0], positive[..., 1])


def _impact(table: Counts) -> Counts:
    """DI: the fraction with a positive outcome, d / a."""
    positive = _fractions(table)[..., 1]
    return divided(positive[..., 1], positive[..., 0])


def _common(fractions: Counts) -> Bools:
    """The outcomes that both sides have: the divergences are sums over them."""
    return np.asarray((fractions > 0).all(axis=-2))


def _logarithms(numerator: Counts, denominator: Counts, common: Bools) -> Counts:
    """The sum of numerator · log(numerator / denominator)."""
    top, bottom = (np.where(common, values, 1.0) for values in (numerator, denominator))
    return np.asarray(np.where(common, top * np.log(top / bottom), 0.0).sum(axis=-1))


def _kullback_leibler(table: Counts) -> Counts:
    """KL: of the others from the group."""
    fractions = _fractions(table)
    return _logarithms(fractions[..., 0, :], fractions[..., 1, :], _common(fractions))


def _jensen_shannon(table: Counts) -> Counts:
    """JS: the mean of both sides' divergence from their mean."""
    fractions = _fractions(table)
    others, group = fractions[..., 0, :], fractions[..., 1, :]
    mean, common = (others + group) / 2, _common(fractions)
    return (_logarithms(others, mean, common) + _logarithms(group, mean, common)) / 2


def _norm(order: float, scale: float = 1.0) -> Callable[[Counts], Counts]:
    """LP, TVD and KS: a norm of the difference of the fractions."""

    def compute(table: Counts) -> Counts:
        fractions = _fractions(table)
        apart = fractions[..., 0, :] - fractions[..., 1, :]
        apart = np.where(_common(fractions), apart, 0.0)
        return np.asarray(scale * np.linalg.norm(apart, order, axis=-1))

    return compute


def _conditional_disparity(table: Counts) -> Counts:
    """CDDL and CDDPL: of the rejected, the fraction that the group is, less that of the accepted.

    The mean over the subgroups, by their rows.
    """
    outcomes = table.sum(axis=-2)
    fractions = divided(table[..., 1, :], outcomes)
    rows = outcomes.sum(axis=-1)
    disparity = fractions[..., 0] - fractions[..., 1]
    return divided((rows * disparity).sum(axis=-1), rows.sum(axis=-1))


# --- Of pairs of label and prediction, shape (…, 2, 2, 2) ---


def _of_each(
    ratio: Callable[[Counts, Counts, Counts, Counts], Counts], sign: int
) -> Callable[[Counts], Counts]:
    """A difference of a ratio: a - d where the sign is 1, d - a where it is -1.

    Args:
        ratio: Computed of true negatives, false positives, false negatives, true positives.
        sign: Which difference it is.
    """

    def compute(table: Counts) -> Counts:
        cells = (table[..., 0, 0], table[..., 0, 1], table[..., 1, 0], table[..., 1, 1])
        both = ratio(*cells)
        others, group = both[..., 0], both[..., 1]
        return minus(others, group) if sign > 0 else minus(group, others)

    return compute


def _entropy(table: Counts) -> Counts:
    """GE: half the squared coefficient of variation of the benefits, which are 0, 1 or 2."""
    cells = table.sum(axis=-3)
    false_positives, false_negatives = cells[..., 0, 1], cells[..., 1, 0]
    rows = cells.sum(axis=(-2, -1))
    right = rows - false_positives - false_negatives
    mean = divided(2 * false_positives + right, rows)
    squares = divided(4 * false_positives + right, rows)
    return (divided(squares, mean**2) - 1) / 2


def _flip_test(table: Counts) -> Counts:
    """FT: records of the group with a better outcome than their neighbours, less the others."""
    return divided(table[..., 0] - table[..., 1], table.sum(axis=-1))


#: How each metric of `bias_names.METRICS` is computed of its table, shape (…, *shape of a table).
COMPUTED: dict[str, Callable[[Counts], Counts]] = {
    "CI": _imbalance,
    "DPL": _proportions,
    "KL": _kullback_leibler,
    "JS": _jensen_shannon,
    "LP": _norm(2),
    "TVD": _norm(1, 0.5),
    "KS": _norm(np.inf),
    "CDDL": _conditional_disparity,
    "DPPL": _proportions,
    "DI": _impact,
    "DCA": _of_each(lambda _tn, fp, fn, tp: divided(fn + tp, fp + tp), 1),
    "DCR": _of_each(lambda tn, fp, fn, _tp: divided(tn + fp, tn + fn), -1),
    "RD": _of_each(lambda _tn, _fp, fn, tp: divided(tp, tp + fn), 1),
    "SD": _of_each(lambda tn, fp, _fn, _tp: divided(tn, tn + fp), -1),
    "DAR": _of_each(lambda _tn, fp, _fn, tp: divided(tp, tp + fp), 1),
    "DRR": _of_each(lambda tn, _fp, fn, _tp: divided(tn, tn + fn), -1),
    "AD": _of_each(lambda tn, fp, fn, tp: divided(tn + tp, tn + fp + fn + tp), 1),
    "CDDPL": _conditional_disparity,
    "TE": _of_each(lambda _tn, fp, fn, _tp: divided(fn, fp), -1),
    "FT": _flip_test,
    "GE": _entropy,
}
