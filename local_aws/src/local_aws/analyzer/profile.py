"""Statistics of the columns, in the format of Model Monitor's statistics.json.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.analyzer.dataset import Dataset

NUMERIC = ("Integral", "Fractional")
BUCKETS = 10  # fixed, says Model Monitor
SAMPLE = 2048  # values kept of a numeric distribution; the k of Model Monitor's sketches
CATEGORIES = 1000  # values kept of a categorical one, like the bins of Deequ's Histogram analyzer

_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_WHOLE = r"[+-]?\d+"
_EXACT = 2**53  # up to here a float holds every whole number

Analysis = tuple[dict[str, Any], dict[str, float]]


def analyse(data: Dataset, types: Mapping[str, str] | None = None) -> Analysis:
    """Describe the columns of a table.

    Args:
        data: The table.
        types: The `inferred_type` of each feature in the baseline; without it, types are inferred
            from how the values are written, and all of a column must be numbers to be taken for
            some.

    Returns:
        The statistics, and the share of the present values of each column that have its type in the
        baseline. There a whole number is Integral however it is written (5, 5.0).
    """
    features, match = [], {}
    for name in data.columns:
        kind = _infer(data, name) if types is None else types.get(name, "String")
        match[name] = 1.0
        if kind in NUMERIC:
            match[name], kind = _numbers(data, name, kind, written=types is None)
            features.append(_numeric(data, name, kind))
        else:
            features.append(_text(data, name))
    return {"version": 0.0, "dataset": {"item_count": data.size}, "features": features}, match


def _infer(data: Dataset, name: str) -> str:
    present, whole, numbers = data.row(
        "select count({column}), count(*) filter (regexp_full_match({column}, ?)), "
        "count(*) filter (regexp_full_match({column}, ?)) from data",
        _WHOLE,
        _NUMBER,
        column=name,
    )
    if present and whole == present:
        return "Integral"
    return "Fractional" if present and numbers == present else "String"


def _numbers(data: Dataset, name: str, kind: str, *, written: bool) -> tuple[float, str]:
    """Put a column's numbers into the table `numbers`.

    Returns:
        The share of present values that have the type, and the type of what is there.
    """
    data.rows(
        "create or replace temp table numbers as "
        "select case when isfinite(v) then v end as v from (select case when "
        "regexp_full_match({column}, ?) then try_cast({column} as double) end as v from data)",
        _NUMBER,
        column=name,
    )
    (given,) = data.row("select count({column}) from data", column=name)
    present, whole = data.row(
        "select count(v), count(*) filter (v = round(v) and abs(v) <= ?) from numbers", _EXACT
    )
    if written:
        return 1.0, kind
    fits = present if kind == "Fractional" else whole
    found = "Integral" if kind == "Integral" and whole == present else "Fractional"
    return (fits / given if given else 1.0), found


def _numeric(data: Dataset, name: str, kind: str) -> dict[str, Any]:
    """Describe a numeric column.

    The standard deviation is that of the population, as Deequ's. Model Monitor keeps the
    distribution as a KLL sketch; here `data` has one level, and on it quantiles at equal
    distances (or all values, when they are few).
    """
    present, missing, mean, total, deviation, least, most = data.row(
        "select count(v), count(*) - count(v), avg(v), sum(v), stddev_pop(v), min(v), max(v) "
        "from numbers"
    )
    common = {"num_present": present, "num_missing": missing}
    if not present:
        unknown = {"name": name, "inferred_type": "Unknown"}
        return {**unknown, "numerical_statistics": {"common": common}}
    low, high = (least, most) if least < most else (least - 0.5, most + 0.5)
    step = (high - low) / BUCKETS
    edges = [*(low + place * step for place in range(BUCKETS)), high]
    between = ", ".join(["count(*) filter (v >= ? and v < ?)"] * (BUCKETS - 1))
    counts = data.row(
        "select BETWEEN, count(*) filter (v >= ?) from numbers".replace("BETWEEN", between),
        *(edge for place in range(BUCKETS - 1) for edge in edges[place : place + 2]),
        edges[-2],
    )
    return {
        "name": name,
        "inferred_type": kind,
        "numerical_statistics": {
            "common": common,
            "mean": mean,
            "sum": total,
            "std_dev": deviation,
            "min": least,
            "max": most,
            "distribution": {
                "kll": {
                    "buckets": [
                        {"lower_bound": lower, "upper_bound": upper, "count": count}
                        for lower, upper, count in zip(edges, edges[1:], counts, strict=False)
                    ],
                    "sketch": {
                        "parameters": {"c": 0.64, "k": float(SAMPLE)},
                        "data": [_sample(data, present)],
                    },
                }
            },
        },
    }


def _sample(data: Dataset, present: int) -> list[float]:
    rows = data.rows(
        "select v from (select v, row_number() over (order by v) - 1 as place from numbers "
        "where v is not null) where $1 <= $2 or place in "
        "(select cast(floor((k + 0.5) / $2 * $1) as bigint) from range($2) as wanted(k)) "
        "order by v",
        present,
        SAMPLE,
    )
    return [row[0] for row in rows]


def _text(data: Dataset, name: str) -> dict[str, Any]:
    """Describe a categorical column; the most frequent values come first."""
    present, distinct = data.row(
        "select count({column}), count(distinct {column}) from data", column=name
    )
    buckets = data.rows(
        "select {column}, count(*) from data where {column} is not null group by 1 "
        "order by 2 desc, 1 limit ?",
        CATEGORIES,
        column=name,
    )
    return {
        "name": name,
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": present, "num_missing": data.size - present},
            "distinct_count": distinct,
            "distribution": {
                "categorical": {
                    "buckets": [{"value": value, "count": count} for value, count in buckets]
                }
            },
        },
    }
