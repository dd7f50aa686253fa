"""`model-quality`: are the predictions still as good as in the evaluation?"""

import logging
from collections.abc import Mapping
from typing import Any

import polars as pl

from usecase import container, metrics, predictions, schema, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.monitors import window
from usecase.problem import VALUE

LOG = logging.getLogger(__name__)

_LABEL = {
    "groundTruthData": pl.Struct({"data": pl.String, "encoding": pl.String}),
    "eventMetadata": pl.Struct({"eventId": pl.String}),
}


def run(use_case: UseCase) -> None:
    """Merge the window's predictions with the true labels and compare with the evaluation.

    Raises:
        UseCaseError: When the baseline, the window or a label cannot be read, or the baseline has
            other features.
    """
    folder = container.processing_input("baseline")
    schema.check(folder, use_case)
    limits = container.read_json(folder / "constraints.json")
    start, end = window.bounds()
    made = predictions.read(container.processing_input("predictions"), use_case, start, end)
    labels = read_labels(use_case)
    merged = merge(made, labels)
    unmatched = labels.join(made, on="inference_id", how="anti").height
    dataset = {
        "item_count": merged.height,
        "unlabelled_predictions": made.height - merged.height,
        "unmatched_labels": unmatched,
    }
    statistics: dict[str, Any] = {"version": 0.0, "dataset": dataset}
    summary = (
        f"{merged.height} labelled predictions, {dataset['unlabelled_predictions']} unlabelled, "
        f"{unmatched} labels without a prediction"
    )
    least = use_case.monitors.model_quality.min_labels
    if merged.height:
        statistics |= metrics.statistics(
            merged[use_case.target.column].to_numpy(),
            merged["prediction"].to_numpy(),
            use_case.target,
        )
    if merged.height < least:
        window.report(statistics, limits, [], f"{summary}; fewer than {least} are not judged")
        return
    try:
        found = check(statistics, limits)
    except KeyError as error:
        raise UseCaseError(f"baseline: constraints.json has an entry without {error}") from None
    window.report(statistics, limits, found, summary)


def read_labels(use_case: UseCase) -> pl.DataFrame:
    """Read true labels in Model Monitor's ground-truth format.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html

    Returns:
        `inference_id` and the target. Of several labels with one id the last counts, in order of
        the files' names, which begin with the hour: a label can be corrected.

    Raises:
        UseCaseError: When a label is not what the target can be.
    """
    lines = tables.read_lines(container.processing_input("labels"), _LABEL)
    labels = (
        lines.select(
            inference_id=pl.col("eventMetadata").struct.field("eventId"),
            label=pl.col("groundTruthData").struct.field("data").str.strip_chars(),
        )
        .drop_nulls()
        .unique("inference_id", keep="last", maintain_order=True)
    )
    values = labels["label"].cast(VALUE, strict=False).alias(use_case.target.column)
    if values.null_count():
        row = labels.filter(values.is_null()).row(0, named=True)
        raise UseCaseError(
            f"labels: the label of {row['inference_id']} is {row['label']!r}, which is no number"
        )
    return labels.select("inference_id", use_case.target.clean(values, "labels"))


def merge(predictions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Match predictions with labels by their id.

    A label belongs to a request, so requests of several records cannot be matched. Of several
    predictions with one id the last counts: a client that repeats a request is counted once.
    """
    single = predictions.filter(pl.len().over("inference_id", "time") == 1)
    return single.unique("inference_id", keep="last", maintain_order=True).join(
        labels, on="inference_id", maintain_order="left"
    )


def check(statistics: Mapping[str, Any], constraints: Mapping[str, Any]) -> list[dict[str, str]]:
    """Check metrics against constraints.

    Args:
        statistics: With a section `<problem>_metrics`.
        constraints: With a section `<problem>_constraints`.

    Returns:
        Entries of constraint_violations.json as Model Monitor writes them for model quality.
    """
    section = next(name for name in statistics if name.endswith("_metrics"))
    found = []
    for name, constraint in constraints[section.replace("_metrics", "_constraints")].items():
        value, threshold = statistics[section][name]["value"], constraint["threshold"]
        operator = constraint["comparison_operator"]
        if value == "NaN":
            LOG.warning("%s is not defined on these predictions and not judged", name)
        elif value < threshold if operator == "LessThanThreshold" else value > threshold:
            found.append(
                {
                    "metric_name": name,
                    "constraint_check_type": operator,
                    "description": f"Metric {name} with {value:.4f} was {operator} {threshold:.4f}",
                }
            )
    return found
