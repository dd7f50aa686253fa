"""How much the training data differs from one stretch of time to the next.

A day has one weekday and its own weather: compared with half a year, each day has drifted. So the
training data is divided into blocks of the lengths that windows have, and each block is compared
with all others, as a monitor compares a window with the baseline. What that brings is no drift.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtrit

from usecase.monitors import chance, constraints, profile

#: Hours of a block: an hour, a quarter of a day, a day, a week, a month.
LENGTHS = (1, 6, 24, 168, 720)
#: With fewer blocks of a length nothing is known of it.
LEAST_BLOCKS = 4
#: So seldom would a block like those of the training data be further off, were they normal.
BEYOND = 0.005

#: So many blocks are looked at together.
AT_ONCE = 1000

Blocks = npt.NDArray[np.int64]
Values = npt.NDArray[Any]


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
        differ by, as `bound` has it: `distance`, of the distributions; of numbers also `range`, the
        fraction outside the range of the others, and `sentinel`, the fraction of one value that the
        others hardly have. Lengths of which there are too few blocks are left out.
    """
    seconds = times.cast(pl.Datetime("us")).dt.epoch("s").to_numpy()
    lengths = {}
    for hours in LENGTHS:
        numbers = (seconds - seconds.min()) // (hours * 3600)
        there, block = np.unique(numbers, return_inverse=True)
        if len(there) > LEAST_BLOCKS:
            lengths[str(hours)] = block
    return {values.name: _feature(values, lengths, robust=robust) for values in table}


def _feature(
    values: pl.Series, lengths: Mapping[str, Blocks], *, robust: bool
) -> dict[str, dict[str, float]]:
    """The noise of a feature, by length.

    Args:
        values: The feature, shape (rows,).
        lengths: The number of each row's block, shape (rows,), by length.
        robust: Whether chance is taken off a distance.
    """
    present = values.is_not_null().to_numpy()
    known = values.drop_nulls()
    numeric = values.dtype != pl.String
    codes, kinds = _codes(known)
    found = {}
    for name, all_blocks in lengths.items():
        block, last = all_blocks[present], int(all_blocks.max())
        sizes = np.bincount(block, minlength=last + 1)
        distances = _distances(codes, kinds, block, sizes, cumulative=numeric)
        if robust:
            others = np.maximum(1, len(known) - sizes)
            pairs = zip(distances, np.maximum(1, sizes), others, strict=True)
            distances = np.array([constraints.robust(*pair) for pair in pairs])
        measured = {"distance": distances}
        if numeric:
            numbers = known.to_numpy().astype(np.float64)
            measured["range"] = _outside(numbers, block, sizes)
            measured["sentinel"] = _single(known, block, sizes)
        # The last block is not whole; in a block without a value there is nothing to measure.
        used = (sizes > 0) & (np.arange(last + 1) < last)
        if (blocks := int(used.sum())) >= LEAST_BLOCKS:
            bounds = {key: bound(each[used]) for key, each in measured.items()}
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
    codes: Blocks, kinds: int, block: Blocks, sizes: Blocks, *, cumulative: bool
) -> npt.NDArray[np.float64]:
    """The distance of each block from all others; 0 for one without values, or without others.

    Args:
        codes: The places of the values, shape (values,).
        kinds: How many places there are.
        block: The number of each value's block, shape (values,).
        sizes: How many values each block has, shape (blocks,).
        cumulative: Whether distribution functions are compared, else the fractions of each place.
    """

    def curve(counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return counts.cumsum(axis=-1) if cumulative else counts

    total = len(codes)
    whole = curve(np.bincount(codes, minlength=kinds) / max(1, total))
    order, ends = np.argsort(block, kind="stable"), np.cumsum(sizes)
    found = np.zeros(len(sizes))
    # Some blocks at a time: hours of years would not fit into memory.
    for first in range(0, len(sizes), AT_ONCE):
        some = sizes[first : first + AT_ONCE]
        rows = order[ends[first] - sizes[first] : ends[first + len(some) - 1]]
        places = (block[rows] - first) * kinds + codes[rows]
        counts = np.bincount(places, minlength=len(some) * kinds).reshape(len(some), kinds)
        curves = curve(counts / np.maximum(1, some)[:, None])
        found[first : first + AT_ONCE] = np.abs(curves - whole).max(axis=1)
    # A block is a part of the whole: from the others it is so much further away.
    found *= total / np.maximum(1, total - sizes)
    return np.where((sizes > 0) & (sizes < total), found, 0.0)


def _outside(numbers: Values, block: Blocks, sizes: Blocks) -> npt.NDArray[np.float64]:
    """The fraction of each block that is outside the range of all others."""
    least, most = np.full(len(sizes), np.inf), np.full(len(sizes), -np.inf)
    np.minimum.at(least, block, numbers)
    np.maximum.at(most, block, numbers)
    outside = (numbers < _others(least)[block]) | (numbers > -_others(-most)[block])
    counts = np.bincount(block, weights=outside, minlength=len(sizes)).astype(np.int64)
    total = int(sizes.sum())
    return np.array(
        [
            count / size if chance.outside(count, size, total - size) else 0.0
            for count, size in zip(counts.tolist(), sizes.tolist(), strict=True)
        ]
    )


def _others(least: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each block the smallest of all others' values."""
    first, second = np.partition(least, 1)[:2]
    others = np.full(len(least), first)
    others[np.argmin(least)] = second
    return others


def _single(known: pl.Series, block: Blocks, sizes: Blocks) -> npt.NDArray[np.float64]:
    """The largest fraction that one value makes up of a block which the others hardly have."""
    total, hardly = pl.lit(int(sizes.sum())), pl.lit(chance.HARDLY)
    by_block = pl.DataFrame({"block": np.arange(len(sizes)), "size": sizes})
    counts = pl.DataFrame({"value": known, "block": block}).group_by("value", "block").len()
    single = (
        counts.with_columns(elsewhere=pl.col("len").sum().over("value") - pl.col("len"))
        .join(by_block, on="block")
        .filter(
            pl.col("len") >= chance.LEAST,
            pl.col("elsewhere") < hardly * (total - pl.col("size")),
        )
        .group_by("block")
        .agg(fraction=(pl.col("len") / pl.col("size")).max())
    )
    found = np.zeros(len(sizes))
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
    return round(float(min(1.0, max(values.max(), predicted))), 6)
