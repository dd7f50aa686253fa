"""Are the predictions still as good as in the evaluation?"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from usecase import container, metrics
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.monitors.job import Leniency, Report, Subject, dropped, upward
from usecase.monitors.labels import Labels, invalid, last_of_each, merge, read_labels, rowed
from usecase.monitors.results import Measurement
from usecase.monitors.settings import ModelQuality
from usecase.predictions import Window, reading
from usecase.report import intervals


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


def leniency(
    _windows: Sequence[Sequence[Measurement]], baseline: Path, use_case: UseCase
) -> Leniency:
    """How lenient the monitor is: its `tolerance`, for metrics that have no threshold of their own.

    Args:
        baseline: The folder with the evaluation's statistics.
        use_case: Has the thresholds.

    Raises:
        UseCaseError: When the baseline cannot be read.
    """
    document = container.read_json(baseline / "statistics.json")
    before = next(each for name, each in document.items() if name.endswith("_metrics"))
    own = use_case.monitors.model_quality.thresholds

    def needed(each: Measurement) -> float | None:
        was = before.get(each.name, {}).get("value", "NaN")
        if each.name in own or each.value is None or was in ("NaN", 0):
            return None
        worse = was - each.value if each.kind == "LessThanThreshold" else each.value - was
        return float(worse / abs(was))

    return Leniency(needed, lambda least: {"tolerance": upward(max(0.0, least))}, below=0.9999)


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
    return found + invalid(labels, settings.max_dropped)


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
