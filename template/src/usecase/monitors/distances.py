"""How far two distributions are from each other, as Model Monitor measures it."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt


def numeric_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The two-sample Kolmogorov-Smirnov statistic.

    That is the largest distance of the empirical distribution functions, which Model Monitor
    computes with Deequ (analyzers/Distance.scala, numericalDistance).
    """
    one, two = np.sort(np.asarray(first)), np.sort(np.asarray(second))
    values = np.concatenate([one, two])
    below_one = np.searchsorted(one, values, side="right") / len(one)
    below_two = np.searchsorted(two, values, side="right") / len(two)
    return float(np.abs(below_one - below_two).max())


def categorical_distance(
    first: Mapping[str, int], second: Mapping[str, int], sizes: list[int]
) -> float:
    """The L-infinity distance: the largest difference in a value's fraction.

    As Deequ has it (analyzers/Distance.scala, categoricalLInfinityDistance).
    """
    parts = ((first.get(value, 0), second.get(value, 0)) for value in {*first, *second})
    # Of free text no value is kept.
    return max((abs(a / sizes[0] - b / sizes[1]) for a, b in parts), default=0.0)


def robust(distance: float, size: int, other_size: int) -> float:
    """Take off a distance what samples of these sizes may differ by chance.

    max(0, d - 1.8 · √((n + m) / (n · m))), as Deequ has it (analyzers/Distance.scala,
    selectMetrics), after the critical values of the Kolmogorov-Smirnov test.
    """
    return max(0.0, distance - 1.8 * math.sqrt((size + other_size) / (size * other_size)))
