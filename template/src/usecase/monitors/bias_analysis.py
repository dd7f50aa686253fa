"""How alike the groups of each facet are treated: an analysis as SageMaker Clarify writes it.

https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-analysis-results.html

A metric has, besides, `low` and `high`, between which it lies with a confidence of 95 %.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from usecase import container
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.monitors import bias_outcomes
from usecase.monitors.bias_metrics import Tables, Value, flips, measure
from usecase.monitors.bias_names import METRICS, Stage

CONFIG = "bias_config.json"
ANALYSIS = "bias_analysis.json"
#: The sections of an analysis, and the file of the baseline with each.
FILES: Mapping[Stage, str] = {
    "pre_training": "bias_pre_training.json",
    "post_training": "bias_post_training.json",
}
#: Of the groups of a facet, so many are told apart, the largest.
MOST_GROUPS = 30

Places = npt.NDArray[np.int64]
#: The metrics of an evaluation, by facet, group and name.
Before = dict[tuple[str, str, str], Value]


@dataclass(frozen=True)
class Records:
    """What is analysed.

    Attributes:
        features: The features, in their types.
        predicted: Whether the predicted outcome is positive, shape (rows,).
        labelled: The places of the records whose label is known.
        labels: Whether these are positive outcomes, shape (labelled records,).
    """

    features: pl.DataFrame
    predicted: npt.NDArray[np.bool_]
    labelled: Places
    labels: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """What was measured of a group of a facet.

    Attributes:
        facet: The feature.
        name: The group.
        rows: How many records are of the group, and how many of the others.
        labelled: The same of those with a label.
        metrics: Each metric, or why it cannot be computed.
    """

    facet: str
    name: str
    rows: tuple[int, int]
    labelled: tuple[int, int]
    metrics: Mapping[str, Value | str]

    def sizes(self, metric: str) -> tuple[int, int]:
        """How many records of the group, and of the others, a metric is computed of."""
        whole = METRICS[metric].table in ("predictions", "flips")
        return self.rows if whole else self.labelled


def describe(
    table: pl.DataFrame,
    labels: npt.NDArray[Any],
    predictions: npt.NDArray[Any],
    use_case: UseCase,
    folder: Path,
) -> None:
    """Write the baseline: the analysis of the test data, and its configuration.

    Args:
        table: The test data.
        labels: The target, shape (rows,).
        predictions: What `Target.predicted` made of the model's output, shape (rows,).
        use_case: The use case.
        folder: Where to.
    """
    positive = bias_outcomes.wanted(labels, use_case)
    records = Records(
        features=table.select(use_case.features.names),
        predicted=bias_outcomes.of_predictions(predictions, positive, use_case),
        labelled=np.arange(len(labels)),
        labels=bias_outcomes.of_labels(labels, positive),
    )
    groups = analyse(records, use_case)
    document = analysis(groups, positive, use_case)
    container.write_json(folder / CONFIG, configuration(groups, positive, use_case))
    container.write_json(folder / ANALYSIS, document)
    for stage, file in FILES.items():
        section = f"{stage}_bias_metrics"
        part = {"version": document["version"], section: document[section]}
        container.write_json(folder / file, part)


def analyse(records: Records, use_case: UseCase) -> list[Group]:
    """Measure each group of each facet."""
    generator = np.random.default_rng(0)
    variable = use_case.monitors.bias.group_variable
    if variable:
        values = records.features[variable].cast(pl.String).fill_null("")
        subgroups, several = places(values, values.unique().sort().to_list())
    else:
        subgroups, several = np.zeros(records.features.height, np.int64), 1
    found = []
    for facet, parted in use_case.facets.items():
        groups = parted.groups(records.features[facet])
        counted = groups.drop_nulls().value_counts(name="rows")
        largest = counted.sort("rows", facet, descending=[True, False])[facet].to_list()
        names = (parted.names or largest)[:MOST_GROUPS]
        group, kinds = places(groups, names)
        shape = (kinds, several, 2)
        whole = table(shape, group, subgroups, records.predicted)
        own = records.labelled
        pairs = table(
            (*shape, 2), group[own], subgroups[own], records.labels, records.predicted[own]
        )
        others = records.features.drop(facet)
        for number, name in enumerate(names):
            cells = against(pairs, number)
            tables = Tables(
                predictions=against(whole, number),
                labels=cells.sum(axis=3) if len(own) else None,
                pairs=cells.sum(axis=0) if len(own) else None,
                flips=flipped(others, records.predicted, group == number),
                conditional=bool(variable),
            )
            sizes = tables.predictions.sum(axis=(0, 2)), cells.sum(axis=(0, 2, 3))
            rows, labelled = ((int(size[1]), int(size[0])) for size in sizes)
            found.append(Group(facet, name, rows, labelled, measure(tables, generator)))
    return found


def places(values: pl.Series, names: Sequence[str]) -> tuple[Places, int]:
    """The place of each value among some names, shape (rows,), and how many places there are.

    The last place is that of all other values, and of those that are missing.
    """
    numbers = pl.int_range(len(names), eager=True)
    found = values.cast(pl.String).replace_strict(
        pl.Series(names, dtype=pl.String), numbers, default=len(names), return_dtype=pl.Int64
    )
    return found.fill_null(len(names)).to_numpy().astype(np.int64), len(names) + 1


def table(shape: tuple[int, ...], *axes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Count records by their place on each axis."""
    codes = np.ravel_multi_index([axis.astype(np.int64) for axis in axes], shape)
    return np.bincount(codes, minlength=math.prod(shape)).reshape(shape)


def against(counts: npt.NDArray[Any], group: int) -> npt.NDArray[Any]:
    """Of counts by group and subgroup, those of all others and of one group.

    Returns:
        Shape (subgroups, 2, …), the others first.
    """
    return np.stack([counts.sum(axis=0) - counts[group], counts[group]], axis=1)


def flipped(
    features: pl.DataFrame, predicted: npt.NDArray[np.bool_], group: npt.NDArray[np.bool_]
) -> npt.NDArray[Any] | str:
    """What `flips` counts, or why it cannot: it needs numbers alone."""
    words = [name for name, kind in features.schema.items() if not kind.is_numeric()]
    if words:
        return f"The flip test needs numeric features alone, {', '.join(words)}: not numeric."
    if features.is_empty() or not features.width:
        return "There are no features to compare records by."
    empty = [column.name for column in features if column.null_count() or column.is_nan().any()]
    if empty:
        return f"The flip test needs values everywhere, {', '.join(empty)}: some are missing."
    return flips(features.to_numpy().astype(np.float64), predicted, group)


def analysis(groups: Sequence[Group], positive: Sequence[Any], use_case: UseCase) -> dict[str, Any]:
    """What was measured, as Clarify's analysis.json has it."""
    document: dict[str, Any] = {"version": "1.0"}
    for stage in FILES:
        facets: dict[str, list[dict[str, Any]]] = {name: [] for name in use_case.facets}
        for group in groups:
            entries = [
                entry(name, value)
                for name, value in group.metrics.items()
                if METRICS[name].stage == stage
            ]
            facets[group.facet].append({"value_or_threshold": group.name, "metrics": entries})
        document[f"{stage}_bias_metrics"] = {
            "label": use_case.target.column,
            "label_value_or_threshold": ",".join(str(each) for each in positive),
            "facets": facets,
        }
    return document


def entry(name: str, value: Value | str) -> dict[str, Any]:
    """A metric in an analysis."""
    named = {"name": name, "description": f"{METRICS[name].words} ({name})"}
    if isinstance(value, str):
        return {**named, "value": None, "error": value}
    ends = {"value": value.value, "low": value.low, "high": value.high}
    return {**named, **{key: finite(number) for key, number in ends.items()}}


def finite(number: float) -> float | str:
    """A number as Clarify writes it."""
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def configuration(
    groups: Sequence[Group], positive: Sequence[Any], use_case: UseCase
) -> dict[str, Any]:
    """The analysis as a configuration of Clarify's.

    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-configure-analysis.html
    """
    variable = use_case.monitors.bias.group_variable
    facets = [
        {
            "name_or_index": name,
            "value_or_threshold": [*facet.thresholds]
            or [group.name for group in groups if group.facet == name],
        }
        for name, facet in use_case.facets.items()
    ]
    return {
        "version": "1.0",
        "headers": [*use_case.features.names, use_case.target.column],
        "label": use_case.target.column,
        "label_values_or_threshold": [*positive],
        "facet": facets,
        **({"group_variable": variable} if variable else {}),
        "methods": {f"{stage}_bias": {"methods": "all"} for stage in FILES},
    }


def baseline(folder: Path) -> tuple[Before, list[Any]]:
    """The metrics of the evaluation, by facet, group and name; and the positive outcomes.

    Raises:
        UseCaseError: When a file is not there, or not as `describe` wrote it.
    """
    found: Before = {}
    try:
        positive = [*container.read_json(folder / CONFIG)["label_values_or_threshold"]]
        for stage, file in FILES.items():
            facets = container.read_json(folder / file)[f"{stage}_bias_metrics"]["facets"]
            for facet, groups in facets.items():
                for group in groups:
                    for metric in group["metrics"]:
                        if metric["value"] is not None:
                            value, low, high = (float(metric[k]) for k in ("value", "low", "high"))
                            key = (facet, group["value_or_threshold"], metric["name"])
                            found[key] = Value(value, value, low, high)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UseCaseError(f"baseline: {CONFIG} or an analysis is not whole ({reason})") from None
    return found, positive
