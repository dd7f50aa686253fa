"""Do the requests still look like the training data?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from usecase import container
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.monitors import constraints, noise, profile
from usecase.monitors.job import Leniency, Report, Subject, dropped, upward
from usecase.monitors.results import Measurement

NUMERIC = ("Integral", "Fractional")
EXACT = 2**53  # up to here a float holds every whole number
DRIFT = "baseline_drift_check"


def describe(train: pl.DataFrame, use_case: UseCase, folder: Path) -> None:
    """Write statistics and suggested constraints of the training data's features.

    Args:
        train: The training data.
        use_case: The use case.
        folder: Where to.
    """
    features, settings = train.select(use_case.features.names), use_case.monitors.data_quality
    statistics = profile.statistics(features, use_case.features.text)
    robust = settings.comparison_method == "Robust"
    values = features.drop(use_case.features.text)
    differences = noise.measure(values, train[use_case.data.time], robust=robust)
    suggested = constraints.suggest(statistics, settings, differences)
    container.write_json(folder / "constraints.json", suggested)
    container.write_json(folder / "statistics.json", statistics)


def judge(subject: Subject, use_case: UseCase) -> Report:
    """Compare what was asked within the window with the baseline.

    Raises:
        UseCaseError: When the baseline cannot be read.
    """
    baseline = container.read_json(subject.baseline / "statistics.json")
    suggested = container.read_json(subject.baseline / "constraints.json")
    withheld = use_case.log.withheld
    features = subject.reading.features.drop(withheld)
    try:
        limits = constraints.applied(suggested, subject.window.hours, features.height)
        limits["features"] = [each for each in limits["features"] if each["name"] not in withheld]
        types = {entry["name"]: entry["inferred_type"] for entry in limits["features"]}
        table, type_match = convert(features, types)
        statistics = profile.statistics(table, use_case.features.text)
        found = constraints.check(limits, baseline, statistics, type_match) if table.height else []
        new = unseen(table, limits)
    except KeyError as error:
        message = f"baseline: statistics.json or constraints.json has no {error}"
        raise UseCaseError(message) from None
    settings = use_case.monitors.data_quality
    problems = dropped(subject.reading, settings.max_dropped)
    summary = f"{table.height} predictions"
    if table.height < settings.min_predictions:
        few = f"{summary}, fewer than min_predictions = {settings.min_predictions}"
        if subject.served_partly:
            summary = f"{few}, as {subject.served_partly}"
        else:
            problems.append(f"There are {few}.")
    if withheld:
        summary = f"{summary}, [log] withholds {', '.join(withheld)}, not judged"
    return Report(
        statistics=statistics,
        constraints=limits,
        violations=[
            {
                "feature_name": each.name,
                "constraint_check_type": each.kind,
                "description": each.message,
            }
            for each in found
            if each.violated
        ],
        judged=table.height,
        counts={
            "unseen_categories": sum(new.values()),
            "unseen_by_feature": new,
            **({"not_judged": withheld} if withheld else {}),
        },
        problems=problems,
        summary=summary,
        measured=found,
    )


def leniency(
    windows: Sequence[Sequence[Measurement]], _baseline: Path, _use_case: UseCase
) -> Leniency:
    """How lenient the check of drift is: by what the limits of all features are multiplied.

    The other checks are rules about single values, which chance does not break.

    Args:
        windows: What was measured in each window. What a feature may differ by depends on how many
            rows that has; it is the largest of these limits which is multiplied.
    """
    limits: dict[str, float] = {}
    for measured in windows:
        for each in measured:
            if each.kind == DRIFT and each.name and each.threshold:
                limits[each.name] = max(each.threshold, limits.get(each.name, 0.0))

    def needed(each: Measurement) -> float | None:
        if each.kind != DRIFT or each.name not in limits or each.value is None:
            return None
        return each.value / limits[each.name]

    def section(times: float) -> Mapping[str, Any]:
        least = constraints.LEAST_DRIFT
        return {
            "features": {
                name: {"comparison_threshold": min(1.0, upward(max(least, times * limit)))}
                for name, limit in limits.items()
            }
        }

    return Leniency(needed, section)


def unseen(table: pl.DataFrame, limits: Mapping[str, Any]) -> dict[str, int]:
    """How many values of each categorical feature the training data does not have.

    Args:
        table: The features.
        limits: The constraints; a feature without a list of its values is left out.
    """
    found = {}
    for constraint in limits["features"]:
        name = constraint["name"]
        if "string_constraints" in constraint and name in table.columns:
            known = constraint["string_constraints"]["domains"]
            found[name] = int((~table[name].drop_nulls().is_in(known)).sum())
    return found


def convert(asked: pl.DataFrame, types: dict[str, str]) -> tuple[pl.DataFrame, dict[str, float]]:
    """Give the features the types that the baseline has.

    Args:
        asked: Features as text.
        types: The `inferred_type` of each feature in the baseline.

    Returns:
        The features, a value that is not a number missing where one is expected; and the fraction
        of the present values of each that have the type. A whole number is Integral however it is
        written (5, 5.0): Model Monitor takes 5.0 for Fractional, which makes false alarms of
        clients that send floats.
    """
    columns, match = [], {}
    for text in asked:
        kind = types.get(text.name, "String")
        match[text.name] = 1.0
        if kind not in NUMERIC:
            columns.append(text)
            continue
        # A number may have space around it: the server takes such.
        numbers = text.str.strip_chars().cast(pl.Float64, strict=False)
        numbers = numbers.set(~numbers.is_finite(), None)
        fits = numbers.is_not_null()
        if kind == "Integral":
            whole = (numbers == numbers.round()) & (numbers.abs() <= EXACT)
            fits = whole.fill_null(value=False)
            if whole.all():  # those that there are
                numbers = numbers.cast(pl.Int64)
        if present := len(text) - text.null_count():
            match[text.name] = int(fits.sum()) / present
        columns.append(numbers)
    return pl.DataFrame(columns), match
