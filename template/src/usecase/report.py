"""What an evaluation tells people: evaluation.json, and report.html, which shows the same."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import packages_distributions, version
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from usecase import metrics, model
from usecase.config import UseCase
from usecase.problem import Target

Values = npt.NDArray[Any]

#: Of the bootstrap: with more rows, samples of so many are drawn; a thousand, fewer of many rows.
RESAMPLED_ROWS, RESAMPLED_VALUES, RESAMPLES = 20_000, 4_000_000, 1000
#: With fewer rows a group is not judged; of the groups of a facet, so many are told apart.
LEAST_ROWS, MOST_GROUPS = 30, 30
#: How often each feature is shuffled, of so many rows; of fewer where there are many features.
SHUFFLES, SHUFFLED_ROWS, SHUFFLED_VALUES = 5, 2_000, 500_000

COMMIT, EXECUTION = "COMMIT", "EXECUTION"
"""The environment variables that tell the job of which commit and which training it is."""


def document(
    trained: model.Model, table: pl.DataFrame, labels: Values, output: Values, use_case: UseCase
) -> dict[str, Any]:
    """All that is told of a model on its test data, as evaluation.json holds it.

    Args:
        trained: The model.
        table: The test data as `prepare` wrote it.
        labels: The target, checked, shape (rows,).
        output: What the model predicted, shape (rows, …).
        use_case: What is wanted of it.

    Returns:
        A JSON object. A metric has `low` and `high` where an interval can be told; a value that is
        not defined is "NaN", as in statistics.json.
    """
    target, approval = use_case.target, use_case.approval
    predictions = np.asarray(target.predicted(output))
    time = use_case.data.time
    facets = {name: facet.groups(table[name]) for name, facet in use_case.facets.items()}
    return {
        "execution": os.environ.get(EXECUTION, ""),
        "commit": os.environ.get(COMMIT, ""),
        "libraries": libraries(),
        "target": asdict(target),
        "features": use_case.features.names,
        "gate": asdict(approval) | {"higher_is_better": approval.higher_is_better},
        "data": {"test": window(table, time)},
        "metrics": intervals(labels, predictions, target),
        "charts": metrics.charts(labels, output, target),
        "months": by_group(table[time].dt.strftime("%Y-%m"), labels, predictions, target)
        if time in table.columns
        else [],
        "facets": {
            name: by_group(groups, labels, predictions, target, use_case.facets[name].names)
            for name, groups in facets.items()
        },
        "importances": importances(trained, table, labels, use_case),
    }


def window(part: pl.DataFrame, time: str) -> dict[str, Any]:
    """How many rows data has, and from when to when they are."""
    found: dict[str, Any] = {"rows": part.height}
    if time in part.columns:
        found |= {"first": str(part[time].min()), "last": str(part[time].max())}
    return found


def libraries() -> dict[str, str]:
    """The packages that src/usecase/model.py uses, and their versions."""
    names = {
        str(getattr(each, "__module__", None) or getattr(each, "__name__", "")).partition(".")[0]
        for each in vars(model).values()
    }
    packages = packages_distributions()
    return {
        package: version(package)
        for name in sorted(names - {"usecase"})
        for package in packages.get(name, [])
    }


def intervals(
    labels: Values,
    predictions: Values,
    target: Target,
    most_rows: int = RESAMPLED_ROWS,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Any]]:
    """Each metric that can be watched, and between what it lies with a confidence of 95 %.

    By the percentile bootstrap (Efron and Tibshirani 1993, An Introduction to the Bootstrap,
    chapter 13), with a fixed seed. Of many rows, m of n are drawn, and the distances from the value
    scaled by √(m/n) (Bickel, Götze and van Zwet 1997). There is none where a resample may leave the
    metric undefined, or where all give the same: then it tells nothing of what other rows would.

    Args:
        labels: Labels, shape (rows,).
        predictions: What `Target.predicted` returned, shape (rows,).
        target: What is predicted.
        most_rows: Samples have so many rows at the most.
        resamples: So many of them are drawn at the most.
    """
    rows = len(labels)
    drawn = min(rows, most_rows)
    generator = np.random.default_rng(0)
    samples: list[dict[str, float]] = []
    for _ in range(min(resamples, RESAMPLED_VALUES // drawn)):
        chosen = generator.integers(rows, size=drawn)
        samples.append(metrics.summary(labels[chosen], predictions[chosen], target))
    found: dict[str, dict[str, Any]] = {}
    for name, value in metrics.summary(labels, predictions, target).items():
        found[name] = {"value": defined(value)}
        ends = np.quantile([sample[name] for sample in samples], [0.025, 0.975])
        low, high = (value + (ends - value) * math.sqrt(drawn / rows)).tolist()
        if low < high:  # NaN is not
            found[name] |= {"low": low, "high": high}
    return found


def by_group(
    groups: pl.Series,
    labels: Values,
    predictions: Values,
    target: Target,
    names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The metrics of each group of records.

    Args:
        groups: The group of each record; null where it has none, which is a group as well.
        labels: As those of `intervals`.
        predictions: As those of `intervals`.
        target: What is predicted.
        names: The groups in their order; by default all there are, the largest first.

    Returns:
        Of each group its `group` and `rows`, and its `metrics` where these are LEAST_ROWS or more.
        The last entry may be `others`: so many more groups, with their rows.
    """
    counts = groups.alias("group").value_counts(name="rows")
    rows = dict(counts.sort("rows", "group", descending=[True, False]).iter_rows())
    order = [*names, *([None] if None in rows else [])] if names else [*rows]
    found: list[dict[str, Any]] = []
    for name in order[:MOST_GROUPS]:
        entry: dict[str, Any] = {"group": name, "rows": rows.get(name, 0)}
        if entry["rows"] >= LEAST_ROWS:
            chosen = groups.eq_missing(pl.Series([name], dtype=pl.String)).to_numpy()
            entry["metrics"] = intervals(labels[chosen], predictions[chosen], target)
        found.append(entry)
    if others := order[MOST_GROUPS:]:
        found.append({"others": len(others), "rows": sum(rows.get(name, 0) for name in others)})
    return found


def importances(
    trained: model.Model, table: pl.DataFrame, labels: Values, use_case: UseCase
) -> list[dict[str, Any]]:
    """How much worse the gate's metric gets when the values of a feature are shuffled.

    Permutation importance (Breiman 2001, Random Forests, section 10). Of features that tell the
    same, each may look useless.

    Returns:
        Each feature with the mean of its importance and the standard deviation over the shuffles,
        the most important first.
    """
    names, approval = use_case.features.names, use_case.approval
    generator = np.random.default_rng(0)
    room = max(200, SHUFFLED_VALUES // (SHUFFLES * len(names)))
    chosen = generator.permutation(table.height)[: min(SHUFFLED_ROWS, room)]
    rows = table.select(names)[chosen].to_dict()
    # All shuffles of a feature are predicted at once, as each call costs.
    same = np.tile(np.arange(len(chosen)), SHUFFLES)
    other = np.concatenate([generator.permutation(len(chosen)) for _ in range(SHUFFLES)])
    repeated = {name: values[same] for name, values in rows.items()}

    def scores(values: Mapping[str, pl.Series], parts: int) -> npt.NDArray[np.float64]:
        output = np.split(trained.predict(values), parts)
        predictions = (np.asarray(use_case.target.predicted(part)) for part in output)
        found = (metrics.summary(labels[chosen], part, use_case.target) for part in predictions)
        sign = 1 if approval.higher_is_better else -1
        return np.array([sign * each[approval.metric] for each in found])

    (whole,) = scores(rows, 1)
    found = []
    for name in names:
        losses = whole - scores({**repeated, name: rows[name][other]}, SHUFFLES)
        found.append((name, float(losses.mean()), float(losses.std())))
    found.sort(key=lambda entry: (math.isnan(entry[1]), -entry[1]))
    return [
        {"feature": name, "mean": defined(mean), "standard_deviation": defined(deviation)}
        for name, mean, deviation in found
    ]


def defined(value: float) -> float | str:
    """A number as JSON can hold it."""
    return "NaN" if math.isnan(value) else value
