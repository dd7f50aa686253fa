"""Are the groups of each facet still treated as in the evaluation, or better?

What is written has the form of SageMaker Clarify's bias monitor:

https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-bias-drift-violations.html

Clarify calls it a violation when a metric is further from 0, or `DI` from 1, than in the baseline.
Here it has to be further by more than `tolerance`, and by more than the chance of both samples
explains.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from usecase.config import UseCase
from usecase.monitors import bias_outcomes
from usecase.monitors.bias_analysis import (
    Before,
    Group,
    Records,
    analyse,
    analysis,
    baseline,
    finite,
)
from usecase.monitors.bias_metrics import Value
from usecase.monitors.bias_names import METRICS
from usecase.monitors.job import Leniency, Report, Subject, dropped, typed, upward
from usecase.monitors.labels import invalid, last_of_each, merge, read_labels
from usecase.monitors.results import Measurement, name_of
from usecase.monitors.settings import Bias

#: How often a window in which nothing has changed may be taken for a violation.
FALSE_ALARMS = 0.01
#: An interval of 95 % ends so many standard deviations from its middle.
DEVIATIONS = NormalDist().inv_cdf(0.975)


def judge(subject: Subject, use_case: UseCase) -> Report:
    """Analyse the window's predictions, with the labels that there are, and compare.

    Raises:
        UseCaseError: When the baseline cannot be read.
    """
    settings, reading = use_case.monitors.bias, subject.reading
    before, positive = baseline(subject.baseline)
    once = last_of_each(reading.rows.with_row_index("place"))
    labels = read_labels(subject.labels, use_case)
    features = typed(reading.features[once["place"].to_numpy()], use_case)
    known = merge(once.with_columns(place=pl.int_range(pl.len())), labels.table)
    records = Records(
        features=features,
        predicted=bias_outcomes.of_predictions(once["prediction"].to_numpy(), positive, use_case),
        labelled=known["place"].to_numpy().astype(np.int64),
        labels=bias_outcomes.of_labels(known[use_case.target.column].to_numpy(), positive),
    )
    groups = analyse(records, use_case)
    enough = features.height >= settings.min_predictions
    limits = [*compared(groups, before, settings, labelled=known.height)] if enough else []
    judged = [(limit, limit.broken(len(limits))) for limit in limits]
    found = [limit.violation() for limit, is_broken in judged if is_broken]
    unlabelled = features.height - known.height
    summary = f"{features.height} predictions, {unlabelled} unlabelled"
    few = f"fewer than min_predictions = {settings.min_predictions}"
    problems = dropped(reading, settings.max_dropped) + invalid(labels, settings.max_dropped)
    if enough:
        problems += missing(limits, settings, known.height, use_case)
    elif subject.served_partly:
        summary += f"; {few}, as {subject.served_partly}"
    else:
        problems.append(f"There are {features.height} predictions, {few}.")
    return Report(
        statistics=analysis(groups, positive, use_case),
        constraints={"version": "1.0", "constraints": [limit.document() for limit in limits]},
        violations=found,
        judged=features.height if enough else 0,
        counts={
            "unlabelled": unlabelled,
            "invalid_labels": labels.invalid,
            "repeated_labels": labels.repeated,
            "contradicting_labels": labels.contradicting,
            "compared": len(limits),
            "groups": len(groups),
            "small_groups": sum(min(group.rows) < settings.min_group for group in groups),
        },
        problems=problems,
        summary=summary,
        measured=[limit.measured(broken=is_broken) for limit, is_broken in judged],
        analysis=True,
    )


def leniency(
    _windows: Sequence[Sequence[Measurement]], _baseline: Path, use_case: UseCase
) -> Leniency:
    """How lenient the monitor is: its `tolerance`, for metrics that have no threshold of their own.

    Where the interval of a metric begins is taken for what is no chance, whereas a violation has to
    be still less likely: with this tolerance there are as few, or fewer.

    Args:
        use_case: Has the tolerance and the thresholds.
    """
    settings = use_case.monitors.bias

    def needed(each: Measurement) -> float | None:
        metric = (each.name or "").partition(" of ")[0]
        if metric not in settings.metrics or metric in settings.thresholds:
            return None

        def placed(number: float | None) -> float | None:
            return number if number is None or metric != "DI" else math.log(max(number, 1e-12))

        value, low, high, bound = map(placed, (each.value, each.low, each.high, each.threshold))
        above = value is None or value > 0  # it is None where it is infinite
        near = low if above else high
        if near is None or bound is None:
            return None
        return (near if above else -near) - abs(bound) + settings.tolerance

    return Leniency(needed, lambda least: {"tolerance": upward(max(0.0, least))}, below=0.9999)


@dataclass(frozen=True)
class Limit:
    """A metric of a group, and how far it may be from treating all alike.

    Attributes:
        group: The group.
        metric: The metric's name.
        now: What it is.
        before: What it was in the evaluation; `None` where only a threshold counts.
        allowed: So far may it be from 0; the logarithm of `DI`.
    """

    group: Group
    metric: str
    now: Value
    before: Value | None
    allowed: float

    def broken(self, comparisons: int) -> bool:
        """Whether it is further from treating all alike than allowed, and chance explains.

        Args:
            comparisons: So many are made of the window: the more, the more chance may do.
        """
        center, spread = distance(self.metric, self.now, near=True)
        _, earlier = distance(self.metric, self.before, near=False) if self.before else (0.0, 0.0)
        unlikely = NormalDist().inv_cdf(1 - FALSE_ALARMS / (2 * comparisons)) / DEVIATIONS
        return center - self.allowed > unlikely * math.hypot(spread, earlier)

    @property
    def bound(self) -> float:
        """What is allowed, on the metric's own scale; of `DI` also its inverse."""
        return math.exp(-self.allowed) if self.metric == "DI" else self.allowed

    def document(self) -> dict[str, Any]:
        """What was compared, for constraints.json."""
        return {
            "facet": self.group.facet,
            "facet_value": self.group.name,
            "metric_name": self.metric,
            "baseline": None if self.before is None else finite(self.before.value),
            "allowed": self.bound,
        }

    def measured(self, *, broken: bool) -> Measurement:
        """The row of the table `monitor_results`; `threshold` is how far from 0, `DI` at least."""
        entry, now = self.violation(), self.now
        ends = (end if math.isfinite(end) else None for end in (now.value, now.low, now.high))
        value, low, high = ends
        told = entry["description"] if broken else ""
        name, kind = name_of(entry), entry["constraint_check_type"]
        return Measurement(name, kind, value, self.bound, low, high, broken, told)

    def violation(self) -> dict[str, str]:
        """An entry of constraint_violations.json."""
        group, now = self.group, self.now
        was = f"; in the evaluation {self.before.value:.4f}" if self.before else ""
        between = f"{self.bound:.4f} to {1 / self.bound:.4f}" if self.metric == "DI" else ""
        allowed = between or f"up to {self.bound:.4f} from 0"
        return {
            "facet": group.facet,
            "facet_value": group.name,
            "metric_name": self.metric,
            "constraint_check_type": "bias_drift_check",
            "description": (
                f"Metric {self.metric} of {group.facet} {group.name} was {now.value:.4f} "
                f"({now.low:.4f} to {now.high:.4f}){was}; allowed is {allowed}"
            ),
        }


def distance(metric: str, value: Value, *, near: bool) -> tuple[float, float]:
    """How far a metric is from treating all alike, and how far its interval goes on from there.

    Args:
        metric: Its name. `DI` is a ratio: a half is as far from 1 as 2 is.
        value: The metric.
        near: Whether the end of the interval counts that is nearer to treating all alike.
    """
    numbers = [value.center, value.low, value.high]
    if metric == "DI":
        numbers = [math.log(max(number, 1e-12)) for number in numbers]
    center, low, high = numbers
    end = low if near == (center > 0) else high
    return abs(center), abs(center - end)


def compared(
    groups: Sequence[Group], before: Before, settings: Bias, *, labelled: int
) -> Iterator[Limit]:
    """What of the window is compared with the evaluation, or with a threshold.

    Args:
        groups: What was measured.
        before: What `baseline` read.
        settings: Which metrics are watched, and how much of each there has to be.
        labelled: How many predictions have a label.
    """
    for group in groups:
        for metric in settings.metrics:
            now, was = group.metrics[metric], before.get((group.facet, group.name, metric))
            threshold = settings.thresholds.get(metric)
            of_labels = METRICS[metric].table in ("labels", "pairs")
            if (
                isinstance(now, str)
                or min(group.sizes(metric)) < settings.min_group
                or (of_labels and labelled < settings.min_labels)
            ):
                continue
            if threshold is not None:
                allowed = abs(math.log(threshold)) if metric == "DI" else threshold
                yield Limit(group, metric, now, None, allowed)
            elif was is not None and math.isfinite(was.value):
                allowed = distance(metric, was, near=False)[0] + settings.tolerance
                yield Limit(group, metric, now, was, allowed)


def missing(limits: Sequence[Limit], settings: Bias, labelled: int, use_case: UseCase) -> list[str]:
    """The problem that a metric which is watched could not be compared in any group.

    Args:
        limits: What was compared.
        settings: Which metrics are watched.
        labelled: How many predictions have a label.
        use_case: Has the facets.
    """
    if not use_case.facets:
        return ["There are no groups to compare: add a section [facets.<feature>] to usecase.toml."]
    absent = [name for name in settings.metrics if name not in {one.metric for one in limits}]
    unlabelled = [name for name in absent if METRICS[name].table in ("labels", "pairs")]
    if labelled >= settings.min_labels:
        unlabelled = []
    others = [name for name in absent if name not in unlabelled]
    found = []
    if unlabelled:
        found.append(
            f"{labelled} predictions have a label, fewer than min_labels = {settings.min_labels}: "
            f"{', '.join(unlabelled)} cannot be judged."
        )
    if others:
        found.append(
            f"{', '.join(others)} cannot be judged of any group: it has fewer than min_group = "
            f"{settings.min_group} predictions, or analysis.json, or the evaluation's, says why."
        )
    return found
