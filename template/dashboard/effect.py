"""What errors cost, in words: estimates by `[costs]` of usecase.toml, where it has that section."""

import math
from collections.abc import Mapping
from typing import Any

from usecase.costs import NORMAL, PER, Costs, Estimate

TITLE = f"Estimated cost of {PER:,} predictions"


def estimate(costs: Costs, measured: Mapping[str, Any]) -> Estimate | None:
    """What predictions cost; `None` where it is not on record what they were wrong in.

    Args:
        costs: What errors cost.
        measured: The section of the predictions' metrics in statistics.json.
    """
    try:
        return costs.estimate(measured)
    except KeyError:
        return None


def amount(costs: Costs, value: float) -> str:
    """An amount in the currency."""
    digits = 0 if abs(value) >= PER else 2
    return f"{costs.currency} {value:,.{digits}f}"


def between(costs: Costs, found: Estimate) -> str:
    """The interval of an estimate in words."""
    if found.interval is None:
        return "no interval can be told: all of them cost the same"
    low, high = (amount(costs, end) for end in found.interval)
    return f"{low} to {high} with a confidence of 95 %"


def against(costs: Costs, new: Estimate, old: Estimate, *, alike: bool) -> str:
    """How much more or less a version costs than the one that serves, in words.

    Args:
        costs: What errors cost.
        new: What it costs.
        old: What the one that serves costs.
        alike: Whether both were measured on the same records. They are wrong about many of these
            together, and how many is not on record, so an interval cannot be told.
    """
    difference = new.value - old.value
    half = 0.0 if alike else NORMAL * math.hypot(new.error, old.error)
    told = f"{signed(costs, difference)} against the version that serves"
    if not half:
        return f"{told}."
    low, high = (signed(costs, difference + sign * half) for sign in (-1, 1))
    unsure = " Which one costs less, this does not tell." if abs(difference) < half else ""
    return f"{told}, {low} to {high} with a confidence of 95 %.{unsure}"


def signed(costs: Costs, value: float) -> str:
    """A difference of amounts, with its sign."""
    return f"{'-' if value < 0 else '+'}{amount(costs, abs(value))}"
