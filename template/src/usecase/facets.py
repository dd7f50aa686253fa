"""Facets: what parts records into groups that a model should serve alike.

Imports nothing heavy, because the configuration imports it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from usecase.errors import require

if TYPE_CHECKING:
    import polars as pl

OTHERS = "all others"


@dataclass(frozen=True)
class Facet:
    """How the values of a feature are groups.

    Attributes:
        values: Of a categorical feature: the values that are groups, all others being one. None
            where each value is to be one.
        thresholds: Of a numeric feature: the numbers between the groups, in order. A threshold
            itself belongs to the group below it, as SageMaker Clarify has it.
    """

    values: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(
            len(set(self.values)) == len(self.values),
            f"values: are {', '.join(self.values)}; name each once",
        )
        ascending = all(low < high for low, high in pairwise(self.thresholds))
        shown = ", ".join(f"{each:g}" for each in self.thresholds)
        require(
            ascending and all(map(math.isfinite, self.thresholds)),
            f"thresholds: are {shown}; give finite numbers in ascending order",
        )

    def check(self, *, numeric: bool) -> None:
        """Check that a feature can be parted in this way.

        Args:
            numeric: Whether it is a number.

        Raises:
            ValueError: When it cannot; the message begins with the key.
        """
        need = "thresholds: is missing, as the feature is numeric; add [number, …]"
        require(bool(self.thresholds) or not numeric, need)
        require(not (numeric and self.values), "values: is for categorical features; take it out")
        require(numeric or not self.thresholds, "thresholds: is for numeric features; take it out")

    @property
    def names(self) -> list[str]:
        """The groups in their order; empty where each value is one."""
        if not self.thresholds:
            return [*self.values, OTHERS] if self.values else []
        bounds = [f"{each:g}" for each in self.thresholds]
        between = [f"> {low} to {high}" for low, high in pairwise(bounds)]
        return [f"≤ {bounds[0]}", *between, f"> {bounds[-1]}"]

    def groups(self, values: pl.Series) -> pl.Series:
        """The group of each record, as text; null where the value is missing.

        Args:
            values: The feature, shape (rows,).
        """
        if self.thresholds:
            place = (values > self.thresholds[0]).cast(int)
            for each in self.thresholds[1:]:
                place += (values > each).cast(int)
            return place.replace_strict(dict(enumerate(self.names)))
        if self.values:
            kept = [None, *self.values]
            return values.replace_strict(kept, kept, default=OTHERS)
        return values
