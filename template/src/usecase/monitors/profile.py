"""Statistics of a table in Model Monitor's data-quality format.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

BUCKETS = 10  # of a numeric distribution, as in Model Monitor
SAMPLE = 2048  # values kept of a numeric distribution; the `k` of Model Monitor's sketches
CATEGORIES = 1000  # values kept of a categorical one, like the bins of Deequ's Histogram analyzer


def statistics(table: pl.DataFrame, free: Collection[str] = ()) -> dict[str, Any]:
    """Describe the columns of a table.

    Args:
        table: Integers, floats without NaN, or text.
        free: Columns with free text, of which no value is kept.
    """
    return {
        "version": 0.0,
        "dataset": {"item_count": table.height},
        "features": [
            _text(values, CATEGORIES if values.name not in free else 0)
            if values.dtype == pl.String
            else _number(values)
            for values in table
        ],
    }


def sample(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of sorted values the quantiles at equal distances; all of them, when they are few.

    The empirical distribution function of these is off by at most 1 / (2 · 2048).
    """
    if len(values) <= SAMPLE:
        return values
    places = ((np.arange(SAMPLE) + 0.5) / SAMPLE * len(values)).astype(int)
    return np.asarray(values[places])


def _number(values: pl.Series) -> dict[str, Any]:
    """Statistics of a numeric column.

    The standard deviation is that of the population, as Deequ's. Model Monitor keeps the
    distribution as a KLL sketch; here `data` has one level, and on it a `sample` that stands for
    all `num_present` values.
    """
    present = np.sort(values.drop_nulls().to_numpy().astype(np.float64))
    common = {"num_present": len(present), "num_missing": values.null_count()}
    if not len(present):
        unknown = {"name": values.name, "inferred_type": "Unknown"}
        return {**unknown, "numerical_statistics": {"common": common}}
    counts, edges = np.histogram(present, bins=BUCKETS)
    return {
        "name": values.name,
        "inferred_type": "Integral" if values.dtype.is_integer() else "Fractional",
        "numerical_statistics": {
            "common": common,
            "mean": float(present.mean()),
            "sum": float(present.sum()),
            "std_dev": float(present.std()),
            "min": float(present[0]),
            "max": float(present[-1]),
            "distribution": {
                "kll": {
                    "buckets": [
                        {"lower_bound": float(low), "upper_bound": float(high), "count": int(count)}
                        for low, high, count in zip(edges, edges[1:], counts, strict=False)
                    ],
                    "sketch": {
                        "parameters": {"c": 0.64, "k": float(SAMPLE)},
                        "data": [sample(present).tolist()],
                    },
                }
            },
        },
    }


def _text(values: pl.Series, kept: int) -> dict[str, Any]:
    """Statistics of a column of text with so many values; the most frequent ones come first."""
    present = values.drop_nulls()
    counts = present.value_counts().sort("count", values.name, descending=[True, False])
    return {
        "name": values.name,
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": len(present), "num_missing": values.null_count()},
            "distinct_count": counts.height,
            "distribution": {
                "categorical": {
                    "buckets": [
                        {"value": value, "count": count}
                        for value, count in counts.head(kept).iter_rows()
                    ]
                }
            },
        },
    }


def sample_of(feature: Mapping[str, Any]) -> list[float]:
    """The sample that the statistics of a numeric column hold."""
    levels = feature["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"]
    return [value for level in levels for value in level]
