"""Are the predictions still as good as in the evaluation?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from usecase import container, metrics, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.monitors.job import Report, Subject, dropped
from usecase.monitors.results import Measurement
from usecase.monitors.settings import ModelQuality
from usecase.predictions import Window, reading
from usecase.problem import VALUE
from usecase.report import intervals

_LABEL = {
    "groundTruthData": pl.Struct({"data": pl.String, "encoding": pl.String}),
    "eventMetadata": pl.Struct({"eventId": pl.String, "row": pl.Int64}),
}


@dataclass(frozen=True)
class Labels:
    """The labels.

    Attributes:
        table: `inference_id`, `row` (null where the label names none), `filed`, the hour of its
            folder (null where there is none), and the target.
        lines: The lines that there are.
        invalid: So many of them are not labels.
        repeated: So many say the same of a record as another one.
        contradicting: So many records have labels that differ; the last one counts.
        example: One of the latter, in words.
    """

    table: pl.DataFrame
    lines: int
    invalid: int
    example: str
    repeated: int
    contradicting: int


def judge(subject: Subject, use_case: UseCase) -> Report:
    """Merge the window's predictions with the labels and compare with the evaluation.

    Raises:
        UseCaseError: When the baseline cannot be read.
    """
    limits = container.read_json(subject.baseline / "constraints.json")
    settings, made = use_case.monitors.model_quality, subject.reading
    labels = read_labels(subject.labels, use_case)
    once = last_of_each(made.rows)
    merged = merge(once, labels.table)
    counts = {
        "asked_again": made.rows.height - once.height,
        "unlabelled": once.height - merged.height,
        **unused(labels.table, once, made.others, subject.window, settings.delay_hours),
        "invalid_labels": labels.invalid,
        "repeated_labels": labels.repeated,
        "contradicting_labels": labels.contradicting,
    }
    examples = {"invalid_label": labels.example} if labels.invalid else {}
    unlabelled, unmatched = counts["unlabelled"], counts["unmatched"]
    dataset = {
        "item_count": merged.height,
        "unlabelled_predictions": unlabelled,
        "unmatched_labels": unmatched,
    }
    statistics: dict[str, Any] = {"version": 0.0, "dataset": dataset}
    summary = (
        f"{merged.height} labelled predictions, {unlabelled} unlabelled, "
        f"{unmatched} labels without a prediction"
    )
    few = once.height < settings.min_labels and subject.served_partly
    if few:
        summary += f"; fewer predictions than min_labels = {settings.min_labels}, as {few}"
    compared = merged[use_case.target.column].to_numpy(), merged["prediction"].to_numpy()
    if merged.height:
        statistics |= metrics.statistics(*compared, use_case.target)
    enough = merged.height >= settings.min_labels
    spans = intervals(*compared, use_case.target) if enough else {}
    try:
        found = check(statistics, limits) if enough else []
        missing = undefined(statistics, limits) if enough else []
    except KeyError as error:
        raise UseCaseError(f"baseline: constraints.json has an entry without {error}") from None
    return Report(
        statistics=statistics,
        constraints=limits,
        violations=found,
        judged=merged.height if enough else 0,
        counts=counts | examples,
        problems=[
            *dropped(made, settings.max_dropped),
            *problems(once.height, counts, labels, settings, few_expected=bool(few)),
            *(
                f"{name} is not defined on these {merged.height} labels and cannot be judged."
                for name in missing
            ),
        ],
        summary=summary,
        measured=measure(statistics, limits, spans) if enough else [],
    )


def read_labels(folder: Path, use_case: UseCase) -> Labels:
    """Read labels in Model Monitor's ground-truth format.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html

    `eventMetadata.row`, the record's place in a request of many, is ours. Of several labels of one
    record the last counts, in order of the files' names, which begin with the hour: a label can be
    corrected. What is not a label is counted and left out.
    """
    lines = tables.read_lines(folder, _LABEL)
    metadata = pl.col("eventMetadata").struct
    labels = lines.select(
        "file",
        inference_id=metadata.field("eventId"),
        row=metadata.field("row"),
        label=pl.col("groundTruthData").struct.field("data").str.strip_chars(),
    )
    truth, reasons = clean(labels["label"], use_case)
    target = use_case.target.column
    whole = labels["inference_id"].is_not_null() & truth.is_not_null()
    bad = labels.filter(~whole)
    example = ""
    for first in bad.head(1).iter_rows(named=True):
        reason = reasons.get(first["label"], "the line has no id or no label")
        example = f"{first['inference_id'] or first['file']}: {reason}"
    files = labels["file"].unique()
    hours = pl.DataFrame(
        {"file": files, "filed": [reading.hour_of(file) for file in files]},
        schema={"file": pl.String, "filed": pl.Datetime("us", "UTC")},
    )
    record = ["inference_id", "row"]
    every = labels.with_columns(truth).filter(whole)
    different = every.select(*record, target).unique()
    table = every.join(hours, on="file", maintain_order="left").unique(
        record, keep="last", maintain_order=True
    )
    return Labels(
        table.select(*record, "filed", target),
        lines.height,
        bad.height,
        example,
        every.height - different.height,
        different.filter(pl.struct(record).is_duplicated()).select(record).unique().height,
    )


def clean(labels: pl.Series, use_case: UseCase) -> tuple[pl.Series, dict[str, str]]:
    """What labels stand for, in the target's type.

    Args:
        labels: As text.
        use_case: Knows the target.

    Returns:
        The values, null for those that are none; and of the latter what is wrong, by the text.
    """
    target = use_case.target
    values = labels.cast(VALUE, strict=False).alias(target.column)
    no_values = labels.filter(values.is_null()).drop_nulls().unique()
    reasons = {text: f"the label is {text!r}, which is not a number" for text in no_values}
    try:
        true = target.clean(values.drop_nulls(), "labels")
    except UseCaseError:
        for value in values.drop_nulls().unique():
            try:
                target.clean(pl.Series(target.column, [value]), "labels")
            except UseCaseError as error:
                wrong = values == value if value == value else values.is_nan()  # noqa: PLR0124
                reasons |= dict.fromkeys(labels.filter(wrong).unique(), str(error))
        values = values.set(labels.is_in([*reasons]), None)
        true = target.clean(values.drop_nulls(), "labels")
    places = values.is_not_null().arg_true()
    nothing = pl.Series(target.column, [None] * len(labels), true.dtype)
    return nothing.scatter(places, true), reasons


def last_of_each(made: pl.DataFrame) -> pl.DataFrame:
    """The predictions without those that were asked for again: each request's last answer counts.

    Args:
        made: A row per record, in order of time.
    """
    newest = pl.col("time") == pl.col("time").max().over("inference_id")
    return made.filter(newest).unique(["inference_id", "row"], keep="last", maintain_order=True)


def merge(once: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Match predictions with labels, by their id and their row.

    A label that names no row belongs to a request of one record.

    Args:
        once: What `last_of_each` returned.
        labels: What `read_labels` read.
    """
    return once.join(
        rowed(labels, once).drop("filed"), on=["inference_id", "row"], maintain_order="left"
    )


def rowed(labels: pl.DataFrame, once: pl.DataFrame) -> pl.DataFrame:
    """The labels, with row 0 for those that name none and belong to a request of one record."""
    single = once.filter(pl.len().over("inference_id") == 1)["inference_id"]
    alone = pl.col("row").is_null() & pl.col("inference_id").is_in(single.implode())
    return labels.with_columns(row=pl.when(alone).then(0).otherwise("row").cast(pl.Int64)).unique(
        ["inference_id", "row"], keep="last", maintain_order=True
    )


def unused(
    labels: pl.DataFrame,
    once: pl.DataFrame,
    others: pl.DataFrame,
    asked: Window,
    delay_hours: float,
) -> dict[str, int]:
    """Count the labels that belong to no prediction of the window, by where theirs is.

    Args:
        labels: What `read_labels` read.
        once: What `last_of_each` returned.
        others: The predictions that are not judged.
        asked: The window.
        delay_hours: How long after a window's end its run is.

    Returns:
        `late_labels`: of the predictions before the window, filed after the run that judged them.
        `early_labels`: of those after it; a later run judges them. `labels_of_other_versions`, and
        `labels_of_dropped`, whose predictions could not be read. `unmatched`: of none that is
        known, or naming no row of their request.
    """
    left = rowed(labels, once).join(once, on=["inference_id", "row"], how="anti")
    where = (
        others.with_columns(
            rank=pl.col("where").replace_strict(
                {reading.EARLIER: 0, reading.LATER: 1, reading.OTHER_VERSION: 2, reading.DROPPED: 3}
            )
        )
        .sort("rank")
        .unique("inference_id", keep="first")
        .select("inference_id", "where")
    )
    left = left.join(where, on="inference_id", how="left")
    late = pl.col("where") == reading.EARLIER
    if asked.start:
        # The window before this one ended where this one starts.
        judged = asked.start + timedelta(hours=delay_hours)
        late &= (pl.col("filed") + timedelta(hours=1) > judged).fill_null(value=True)
    return {
        "late_labels": left.filter(late).height,
        "early_labels": left.filter(pl.col("where") == reading.LATER).height,
        "labels_of_other_versions": left.filter(pl.col("where") == reading.OTHER_VERSION).height,
        "labels_of_dropped": left.filter(pl.col("where") == reading.DROPPED).height,
        "unmatched": left.filter(pl.col("where").is_null()).height,
    }


def problems(
    made: int,
    counts: Mapping[str, int],
    labels: Labels,
    settings: ModelQuality,
    *,
    few_expected: bool,
) -> list[str]:
    """What keeps the judgement from being one.

    Args:
        made: The predictions of the window.
        counts: What was counted.
        labels: The labels.
        settings: The thresholds.
        few_expected: There are too few predictions for `min_labels`, as is to be expected.
    """
    found = []
    labelled, unlabelled = made - counts["unlabelled"], counts["unlabelled"]
    if labelled < settings.min_labels and not few_expected:
        found.append(
            f"{labelled} predictions of {made} have a label, fewer than min_labels = "
            f"{settings.min_labels}: they are not judged."
        )
    if unlabelled > settings.max_unlabelled * made:
        found.append(
            f"{unlabelled / made:.1%} of {made} predictions have no label, more than "
            f"max_unlabelled = {settings.max_unlabelled:.1%}."
        )
    # Labels of old predictions come as well; only those that may have been meant for these count.
    if min(unlabelled, counts["unmatched"]) > settings.max_unmatched * made:
        found.append(
            f"{counts['unmatched']} labels have an id that no prediction has, while {unlabelled} "
            f"of {made} predictions lack their label, more than max_unmatched = "
            f"{settings.max_unmatched:.1%}: are the ids the same?"
        )
    if labels.invalid > settings.max_dropped * labels.lines:
        found.append(
            f"{labels.invalid} of {labels.lines} lines are not labels, more than max_dropped = "
            f"{settings.max_dropped:.1%}. One of them: {labels.example}."
        )
    return found


def check(statistics: Mapping[str, Any], constraints: Mapping[str, Any]) -> list[dict[str, str]]:
    """Check metrics against constraints.

    Args:
        statistics: With a section `<problem>_metrics`.
        constraints: With a section `<problem>_constraints`.

    Returns:
        Entries of constraint_violations.json as Model Monitor writes them for model quality. What
        is not defined breaks no constraint: see `undefined`.
    """
    found = []
    for name, constraint, value in _watched(statistics, constraints):
        threshold, operator = constraint["threshold"], constraint["comparison_operator"]
        if value == "NaN":
            continue
        if value < threshold if operator == "LessThanThreshold" else value > threshold:
            found.append(
                {
                    "metric_name": name,
                    "constraint_check_type": operator,
                    "description": f"Metric {name} with {value:.4f} was {operator} {threshold:.4f}",
                }
            )
    return found


def measure(
    statistics: Mapping[str, Any],
    constraints: Mapping[str, Any],
    spans: Mapping[str, Mapping[str, Any]],
) -> list[Measurement]:
    """The metrics that are watched, with their limits and the intervals that they lie in.

    Args:
        statistics: With a section `<problem>_metrics`.
        constraints: With a section `<problem>_constraints`.
        spans: What `report.intervals` returned.
    """
    broken = {each["metric_name"]: each["description"] for each in check(statistics, constraints)}
    return [
        Measurement(
            name,
            constraint["comparison_operator"],
            None if value == "NaN" else value,
            constraint["threshold"],
            spans.get(name, {}).get("low"),
            spans.get(name, {}).get("high"),
            violated=name in broken,
            message=broken.get(name, "It is not defined." if value == "NaN" else ""),
        )
        for name, constraint, value in _watched(statistics, constraints)
    ]


def undefined(statistics: Mapping[str, Any], constraints: Mapping[str, Any]) -> list[str]:
    """The metrics with a constraint that are not defined on these rows.

    Such as a rate among rows of a kind that is not there.

    Args:
        statistics: With a section `<problem>_metrics`.
        constraints: With a section `<problem>_constraints`.
    """
    return [name for name, _, value in _watched(statistics, constraints) if value == "NaN"]


def _watched(
    statistics: Mapping[str, Any], constraints: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """The name, the constraint and the value of each metric that has a constraint."""
    section = next(name for name in statistics if name.endswith("_metrics"))
    for name, constraint in constraints[section.replace("_metrics", "_constraints")].items():
        yield name, constraint, statistics[section][name]["value"]
