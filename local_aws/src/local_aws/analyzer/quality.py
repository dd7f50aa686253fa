"""How good predictions are: Model Monitor's model-quality statistics, constraints and violations.

Names and layout:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local_aws.analyzer import classification
from local_aws.analyzer.classification import Pair
from local_aws.analyzer.dataset import LABEL, Dataset
from local_aws.analyzer.settings import AnalysisError, Settings

_RESAMPLES, _SHARE, _LEAST = 5, 0.8, 200  # Model Monitor's rule for standard deviations

_LOWER_IS_BETTER = ("mae", "mse", "rmse", "false_positive_rate", "false_negative_rate")

_SECTIONS = {
    "Regression": "regression",
    "BinaryClassification": "binary_classification",
    "MulticlassClassification": "multiclass_classification",
}


def measure(data: Dataset, settings: Settings) -> dict[str, Any]:
    """Measure the predictions in a table.

    Args:
        data: Labels and predictions, a row each.
        settings: Name the columns and the kind of problem.

    Returns:
        The content of statistics.json.

    Raises:
        AnalysisError: A column is not there, or holds what it cannot.
    """
    problem = settings.get("problem_type")
    if problem not in _SECTIONS:
        known = ", ".join(_SECTIONS)
        raise AnalysisError(f"problem_type: {problem!r} is not one of {known}")
    pairs, threshold = _pairs(data, settings, problem)
    measured: dict[str, Any] = {"version": 0.0, "dataset": {"item_count": len(pairs)}}
    if pairs:
        scalars = _scalars(problem, threshold)
        measured[f"{_SECTIONS[problem]}_metrics"] = {
            **classification.details(problem, pairs, threshold),
            **_with_deviations(pairs, scalars),
        }
    return measured


def _scalars(problem: str, threshold: float | None) -> Callable[[Sequence[Pair]], dict[str, float]]:
    if problem == "Regression":
        return regression
    if problem == "BinaryClassification":
        return lambda pairs: classification.binary(pairs, threshold)
    return classification.multiclass


def _with_deviations(
    pairs: Sequence[Pair], scalars: Callable[[Sequence[Pair]], dict[str, float]]
) -> dict[str, dict[str, float | str]]:
    """Give each metric its standard deviation over samples of the data.

    From 200 pairs on, metrics are computed on five random samples of 80 %; below it is "NaN".
    """
    generator = random.Random(0)  # noqa: S311 - a sample, not a secret
    size = math.ceil(_SHARE * len(pairs))
    samples = []
    if len(pairs) >= _LEAST:
        samples = [scalars(generator.sample(pairs, size)) for _ in range(_RESAMPLES)]
    return {
        name: {
            "value": _json(value),
            "standard_deviation": _json(
                statistics.stdev(sample[name] for sample in samples) if samples else math.nan
            ),
        }
        for name, value in scalars(pairs).items()
    }


def _json(value: float) -> float | str:
    return "NaN" if math.isnan(value) else value


def regression(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the metrics of a regression; `r2` is NaN where all labels are equal."""
    labels = [float(label) for label, _ in pairs]
    errors = [float(predicted) - label for (_, predicted), label in zip(pairs, labels, strict=True)]
    mse = math.fsum(error**2 for error in errors) / len(errors)
    mean = math.fsum(labels) / len(labels)
    variance = math.fsum((label - mean) ** 2 for label in labels) / len(labels)
    return {
        "mae": math.fsum(abs(error) for error in errors) / len(errors),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "r2": 1 - mse / variance if variance else math.nan,
    }


def _pairs(data: Dataset, settings: Settings, problem: str) -> tuple[list[Pair], float | None]:
    """Return true and predicted values, and the threshold where the latter are probabilities."""
    truth = LABEL if LABEL in data.columns else settings.get("ground_truth_attribute")
    threshold = None
    predicted = settings.get("inference_attribute")
    if problem == "BinaryClassification" and settings.get("probability_attribute"):
        predicted = settings.get("probability_attribute")
        try:
            threshold = float(settings.get("probability_threshold_attribute") or 0.5)
        except ValueError:
            raise AnalysisError("probability_threshold_attribute: is not a number") from None
    columns = [
        _column(data, "ground_truth_attribute", truth),
        _column(data, "inference_attribute or probability_attribute", predicted),
    ]
    given = [
        (label, value)
        for label, value in zip(*(data.values(column) for column in columns), strict=True)
        if label is not None and value is not None
    ]
    numbers = (problem == "Regression", problem == "Regression" or threshold is not None)
    try:
        return [
            (_value(label, number=numbers[0]), _value(value, number=numbers[1]))
            for label, value in given
        ], threshold
    except ValueError as error:
        raise AnalysisError(f"labels and predictions: {error}") from None


def _column(data: Dataset, setting: str, name: str) -> str:
    """Return the column that a name or, for data without names, a number stands for."""
    if not name:
        raise AnalysisError(f"{setting}: the environment variable is not set")
    for candidate in (name, f"_c{name}"):
        if candidate in data.columns:
            return candidate
    raise AnalysisError(f"{setting}: there is no column {name!r}; there are {data.columns}")


def _value(text: str, *, number: bool) -> float | str:
    """Return a number, or a class, whose whole numbers read alike however they are written."""
    if number:
        return float(text)
    try:
        value = float(text)
    except ValueError:
        return text.strip()
    return str(int(value)) if value.is_integer() else text.strip()


def suggest(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest constraints: no metric may be worse than it is."""
    suggested: dict[str, Any] = {"version": 0.0}
    for section in [name for name in measured if name.endswith("_metrics")]:
        suggested[section.replace("_metrics", "_constraints")] = {
            name: {"threshold": metric["value"], "comparison_operator": _operator(name)}
            for name, metric in measured[section].items()
            if isinstance(metric.get("value"), float) and "best_constant" not in name
        }
    return suggested


def _operator(name: str) -> str:
    return "GreaterThanThreshold" if name in _LOWER_IS_BETTER else "LessThanThreshold"


def check(measured: Mapping[str, Any], limits: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the entries of constraint_violations.json.

    A metric that is not defined on the data is not judged.
    """
    found = []
    for section in [name for name in limits if name.endswith("_constraints")]:
        metrics = measured.get(section.replace("_constraints", "_metrics"), {})
        for name, limit in limits[section].items():
            value = metrics.get(name, {}).get("value", "NaN")
            threshold, operator = limit["threshold"], limit["comparison_operator"]
            if value == "NaN" or threshold == "NaN":
                print(f"{name} is not defined on these predictions and not judged")
            elif value < threshold if operator == "LessThanThreshold" else value > threshold:
                text = f"Metric {name} with {value:.4f} was {operator} {threshold:.4f}"
                found.append(
                    {"metric_name": name, "constraint_check_type": operator, "description": text}
                )
    return found
