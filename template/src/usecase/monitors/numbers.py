"""Checks of numeric features that Model Monitor does not have, and what a check measures."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from usecase.monitors import chance, profile
from usecase.monitors.results import Measurement


def checked(name: str, kind: str, value: float, threshold: float, broken: str) -> Measurement:
    """What a check has measured.

    Args:
        name: The feature.
        kind: The check.
        value: What was measured.
        threshold: What the value may be.
        broken: What is found, in words, where the constraint is broken; empty where it is not.
    """
    return Measurement(name, kind, value, threshold, violated=bool(broken), message=broken)


def check(
    constraint: Mapping[str, Any],
    extension: Mapping[str, Any],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
) -> Iterator[Measurement]:
    """Measure what Model Monitor does not look for in a numeric feature.

    Args:
        constraint: Its constraint in Model Monitor's format.
        extension: Its entry in `extensions`.
        before: Its statistics in the baseline.
        now: Its current ones.

    Returns:
        What each check has measured.
    """
    if "numerical_statistics" not in before:
        return
    name = now["name"]
    rows, known = (
        feature["numerical_statistics"]["common"]["num_present"] for feature in (now, before)
    )
    if not rows or not known:
        return
    values = np.asarray(profile.sample_of(now))
    # A sketch of many values stands for all of them.
    share = rows / len(values)
    non_negative = constraint.get("num_constraints", {}).get("is_non_negative", False)
    negative = round(share * int((values < 0).sum()))
    if non_negative:
        broken = (
            f"Non-negative requirement is not met. Observed: {negative / rows:.1%} of data is "
            f"negative, the lowest value is {now['numerical_statistics']['min']:g}."
        )
        beyond = chance.beyond(negative, rows, known)
        yield checked(name, "non_negative_check", negative / rows, 0.0, broken if beyond else "")
    least, most = extension.get("min", -math.inf), extension.get("max", math.inf)
    below = (values < least) & ((values >= 0) | (not non_negative))  # the others are negative
    outside = round(share * int((below | (values > most)).sum()))
    allowed = extension.get("range_threshold", 1.0)
    broken = (
        f"Range requirement is not met. Expected: at most {allowed:.1%} of data outside of "
        f"{least:g} to {most:g}. Observed: {outside / rows:.1%}."
    )
    beyond = outside > allowed * rows and chance.outside(outside, rows, known)
    yield checked(name, "range_check", outside / rows, allowed, broken if beyond else "")
    allowed = extension.get("sentinel_threshold", 1.0)
    earlier = Counter(profile.sample_of(before))
    frequent, largest = [], 0.0
    for value, number in Counter(values.tolist()).most_common():
        count = round(share * number)
        before_that = earlier[value] / earlier.total()
        if before_that >= chance.HARDLY:
            continue
        largest = max(largest, count / rows)
        if count <= allowed * rows:
            break
        if chance.frequent(count, rows, round(before_that * known), known):
            frequent.append(f"{count / rows:.1%} of data is {value:g}")
    broken = (
        f"A single value that the baseline hardly has is too frequent. Expected: at most "
        f"{allowed:.1%} of data. Observed: {', '.join(frequent[:5])}"
        f"{' …' if len(frequent) > 5 else ''}."
    )
    yield checked(name, "sentinel_check", largest, allowed, broken if frequent else "")
