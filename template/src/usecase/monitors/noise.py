"""How much the training data differs from one stretch of time to the next.

A day has one weekday and its own weather: compared with half a year, each day has drifted. So the
training data is divided into blocks of the lengths that windows have, and each block is compared
with all others, as a monitor compares a window with the baseline. What that brings is no drift.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtrit

from usecase.monitors import chance, profile

#: Hours of a block: an hour, a quarter of a day, a day, a week, a month.
LENGTHS = (1, 6, 24, 168, 720)
#: With fewer blocks of a length nothing is known of it.
LEAST_BLOCKS = 4
#: So seldom would a block like those of the training data be further off, were they normal.
BEYOND = 0.005

Blocks = npt.NDArray[np.int64]
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Length:
    """The blocks of a length.

    Attributes:
        block: The number of each row's block, shape (rows,).
        whole: The blocks that are whole, which the last one is not.
    """

    block: Blocks
    whole: int


def measure(
    table: pl.DataFrame, times: pl.Series, *, robust: bool
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure how far the blocks of each length are from the rest of the data.

    Args:
        table: The features, as `profile.statistics` takes them.
        times: Dates or datetimes, shape (rows,).
        robust: Whether what samples of that size may differ by chance is taken off a distance.

    Returns:
        By feature and by length in hours, as text: `blocks`, their number; and what a window may
        differ by, as `bound` has it: `distance`, of the distributions; of numbers also
        `range`, the fraction outside the range of the others, and `sentinel`, the fraction of one
        value that the others hardly have. Lengths of which there are too few blocks are left out.
    """
    seconds = times.cast(pl.Datetime("us")).dt.epoch("s").to_numpy()
    lengths = {}
    for hours in LENGTHS:
        block = (seconds - seconds.min()) // (hours * 3600)
        if (whole := int(block.max())) >= LEAST_BLOCKS:
            lengths[str(hours)] = Length(block, whole)
    return {values.name: _feature(values, lengths, robust=robust) for values in table}


def _feature(
    values: pl.Series, lengths: Mapping[str, Length], *, robust: bool
) -> dict[str, dict[str, float]]:
    """The noise of a feature, length by length."""
    present = values.is_not_null().to_numpy()
    known = values.drop_nulls()
    numeric = values.dtype != pl.String
    codes, kinds = _codes(known)
    found = {}
    for name, length in lengths.items():
        block = length.block[present]
        counts = np.bincount(block * kinds + codes, minlength=(length.whole + 1) * kinds)
        table = counts.reshape(length.whole + 1, kinds)
        there = np.bincount(block, minlength=length.whole + 1)
        measured = {"distance": _distances(table, there, numeric=numeric, robust=robust)}
        if numeric:
            numbers = known.to_numpy().astype(np.float64)
            measured["range"] = _outside(numbers, block, there)
            measured["sentinel"] = _single(known, block, there)
        # The last block is not whole; in a block without a value there is nothing to measure.
        used = there[: length.whole] > 0
        if (blocks := int(used.sum())) >= LEAST_BLOCKS:
            bounds = {key: bound(each[: length.whole][used]) for key, each in measured.items()}
            found[name] = {"blocks": blocks, **bounds}
    return found


def _codes(known: pl.Series) -> tuple[Blocks, int]:
    """The place of each value among some of the values, in order, and how many places there are.

    Numbers between two of these count as the upper one: they are as many as a sketch keeps.
    """
    if known.dtype == pl.String:
        frequent = known.value_counts(sort=True)[known.name].head(profile.CATEGORIES)
        codes = known.replace_strict(
            frequent, pl.int_range(len(frequent), eager=True), default=len(frequent)
        )
        return codes.to_numpy().astype(np.int64), len(frequent) + 1
    numbers = known.to_numpy().astype(np.float64)
    grid = np.unique(profile.sample(np.sort(numbers)))
    return np.searchsorted(grid, numbers, side="left"), len(grid) + 1


def _distances(
    table: Blocks, there: Blocks, *, numeric: bool, robust: bool
) -> npt.NDArray[np.float64]:
    """The distance of each block from all others; 0 for one without values, or without others."""
    total, sizes = int(there.sum()), np.maximum(there, 1)
    fractions, whole = table / sizes[:, None], table.sum(axis=0) / max(total, 1)
    if numeric:
        fractions, whole = fractions.cumsum(axis=1), whole.cumsum()
    distance = np.abs(fractions - whole).max(axis=1)
    others = np.maximum(total - there, 1)
    # The block is a part of the whole: from the others it is so much further away.
    distance *= max(total, 1) / others
    if robust:
        distance = np.maximum(0.0, distance - 1.8 * np.sqrt(1 / sizes + 1 / others))
    return np.where((there > 0) & (there < total), distance, 0.0)


def _outside(numbers: Values, block: Blocks, there: Blocks) -> npt.NDArray[np.float64]:
    """The fraction of each block that is outside the range of all others."""
    least, most = np.full(len(there), np.inf), np.full(len(there), -np.inf)
    np.minimum.at(least, block, numbers)
    np.maximum.at(most, block, numbers)
    outside = (numbers < _others(least)[block]) | (numbers > -_others(-most)[block])
    counts = np.bincount(block, weights=outside, minlength=len(there)).astype(np.int64)
    total = int(there.sum())
    return np.array(
        [
            count / size if chance.outside(count, size, total - size) else 0.0
            for count, size in zip(counts.tolist(), there.tolist(), strict=True)
        ]
    )


def _others(least: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each block the smallest of all others' values."""
    first, second = np.partition(least, 1)[:2]
    others = np.full(len(least), first)
    others[np.argmin(least)] = second
    return others


def _single(known: pl.Series, block: Blocks, there: Blocks) -> npt.NDArray[np.float64]:
    """The largest fraction that one value makes up of a block which the others hardly have."""
    total, hardly = pl.lit(int(there.sum())), pl.lit(chance.HARDLY)
    sizes = pl.DataFrame({"block": np.arange(len(there)), "size": there})
    counts = pl.DataFrame({"value": known, "block": block}).group_by("value", "block").len()
    single = (
        counts.with_columns(elsewhere=pl.col("len").sum().over("value") - pl.col("len"))
        .join(sizes, on="block")
        .filter(
            pl.col("len") >= chance.LEAST,
            pl.col("elsewhere") < hardly * (total - pl.col("size")),
        )
        .group_by("block")
        .agg(fraction=(pl.col("len") / pl.col("size")).max())
    )
    found = np.zeros(len(there))
    found[single["block"].to_numpy()] = single["fraction"].to_numpy()
    return found


def bound(values: npt.NDArray[np.float64]) -> float:
    """How large the next value may be: the largest so far, or more when they are few.

    That is the upper end of a prediction interval, mean + t · sd · √(1 + 1/n), where that is more
    (Hahn and Meeker 1991, Statistical Intervals, section 4.7).
    """
    number = len(values)
    quantile = float(stdtrit(number - 1, 1 - BEYOND))
    predicted = values.mean() + quantile * values.std(ddof=1) * math.sqrt(1 + 1 / number)
    return float(min(1.0, max(values.max(), predicted)))
