"""Constraints on the data in Model Monitor's format: how they are suggested and checked.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html

Beside Model Monitor's there are three checks of our own, `non_negative_check`, `range_check` and
`sentinel_check`. What they and the noise of the training data need is in a section of its own,
`extensions`, which Model Monitor does not know:

    {"extensions": {"distance": {"min": 80.0, "max": 4983.0, "range_threshold": 0.01,
        "sentinel_threshold": 0.01, "noise": {"24": {"blocks": 127, "distance": 0.0, …}}}}}
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from usecase.monitors import chance, numbers, profile
from usecase.monitors.results import Measurement
from usecase.monitors.settings import DataQuality, FeatureConstraints

#: The least threshold of drift that the noise of the training data gives.
LEAST_DRIFT = 0.05
#: What a distance of n rows may be, times √n, with a probability of `chance.UNLIKELY`, beyond the
#: 1.8 that `robust` takes off: Smirnov's P(D √n > x) = 2 exp(-2 x²).
BY_CHANCE = math.sqrt(math.log(2 / chance.UNLIKELY) / 2) - 1.8
#: So much of a feature may be outside the range, or be one new value, unless noise is more.
LEAST_FRACTION = 0.01
EXTENSIONS = "extensions"
Noise = Mapping[str, Mapping[str, Mapping[str, float]]]


def suggest(
    statistics: Mapping[str, Any], settings: DataQuality, noise: Noise | None = None
) -> dict[str, Any]:
    """Suggest constraints that the described data satisfies.

    Args:
        statistics: What `profile.statistics` returned.
        settings: The thresholds, and what people want otherwise of some features.
        noise: What `noise.measure` returned.

    Returns:
        The constraints, with `settings.features` in the place of what the data suggests.
    """
    distribution = {
        "perform_comparison": "Enabled",
        "comparison_threshold": settings.comparison_threshold,
        "comparison_method": settings.comparison_method,
        "categorical_comparison_threshold": settings.comparison_threshold,
        "categorical_drift_method": "LInfinity",
    }
    wanted = {
        feature["name"]: settings.features.get(feature["name"], FeatureConstraints())
        for feature in statistics["features"]
    }
    return {
        "version": 0.0,
        "features": [
            _suggest_feature(feature, wanted[feature["name"]], distribution)
            for feature in statistics["features"]
        ],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": settings.datatype_check_threshold,
            "domain_content_threshold": settings.domain_content_threshold,
            "distribution_constraints": distribution,
        },
        EXTENSIONS: {
            feature["name"]: _extension(
                feature, wanted[feature["name"]], (noise or {}).get(feature["name"], {})
            )
            for feature in statistics["features"]
        },
    }


def _suggest_feature(
    feature: Mapping[str, Any], wanted: FeatureConstraints, distribution: Mapping[str, Any]
) -> dict[str, Any]:
    """What Model Monitor knows of a feature's constraints."""
    suggested = {
        "name": feature["name"],
        "inferred_type": feature["inferred_type"],
        "completeness": _either(wanted.completeness, least_completeness(_common(feature))),
    }
    if described := feature.get("numerical_statistics"):
        if "min" in described:
            non_negative = _either(wanted.is_non_negative, described["min"] >= 0)
            suggested["num_constraints"] = {"is_non_negative": non_negative}
    else:
        buckets = _buckets(feature)
        known = len(buckets) == feature["string_statistics"]["distinct_count"]
        domains = _either(wanted.domain, sorted(buckets) if known else None)
        if domains is not None:
            suggested["string_constraints"] = {"domains": [*domains]}
    overrides = {
        key: value
        for key in ("datatype_check_threshold", "domain_content_threshold")
        if (value := getattr(wanted, key)) is not None
    }
    if wanted.comparison_threshold is not None:
        overrides["distribution_constraints"] = _with(distribution, wanted.comparison_threshold)
    if overrides:
        suggested["monitoringConfigOverrides"] = overrides
    return suggested


def _extension(
    feature: Mapping[str, Any],
    wanted: FeatureConstraints,
    noise: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """What Model Monitor does not know of a feature's constraints."""
    described = feature.get("numerical_statistics", {})
    extension = {
        "min": _either(wanted.min, described.get("min")),
        "max": _either(wanted.max, described.get("max")),
        "range_threshold": wanted.range_threshold,
        "sentinel_threshold": wanted.sentinel_threshold,
        "noise": noise or None,
    }
    return {key: value for key, value in extension.items() if value is not None}


def _either(wanted: Any, suggested: Any) -> Any:  # noqa: ANN401  of any type
    """What people want, where they want anything."""
    return suggested if wanted is None else wanted


def _with(distribution: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    """Distribution constraints with another threshold."""
    keys = ("comparison_threshold", "categorical_comparison_threshold")
    return {**distribution, **dict.fromkeys(keys, threshold)}


def applied(
    constraints: Mapping[str, Any], hours: float | None, rows: int | None = None
) -> dict[str, Any]:
    """The constraints for a window, which may differ by what the training data does.

    The noise is that of the longest blocks which are not longer than the window. Of a shorter
    window than all blocks it is not known: the general thresholds hold.

    Args:
        constraints: What `suggest` made of the baseline, perhaps edited.
        hours: How long the window is, `None` when that is not known.
        rows: How many rows it has: of few, more may be chance than `robust` takes off, as there are
            many features, and a run every day.

    Returns:
        The same, with the thresholds that hold for each feature. One that is there already, made
        by people, stays.
    """
    extensions = constraints.get(EXTENSIONS, {})
    general = constraints["monitoring_config"]["distribution_constraints"]
    features, extended = [], {}
    for constraint in constraints["features"]:
        name = constraint["name"]
        extension = extensions.get(name, {})
        noise = _of_length(extension.get("noise", {}), hours)
        overrides = constraint.get("monitoringConfigOverrides", {})
        if "distance" in noise and "distribution_constraints" not in overrides:
            least = max(LEAST_DRIFT, BY_CHANCE / math.sqrt(rows or math.inf))
            least = min(least, general["comparison_threshold"])
            threshold = _with(general, round(max(least, noise["distance"]), 4))
            overrides = {**overrides, "distribution_constraints": threshold}
        features.append(
            {**constraint, "monitoringConfigOverrides": overrides} if overrides else constraint
        )
        if extension:
            thresholds = {
                f"{key}_threshold": round(max(LEAST_FRACTION, noise.get(key, 0.0)), 4)
                for key in ("range", "sentinel")
            }
            numeric = "min" in extension
            extended[name] = {**(thresholds if numeric else {}), **extension}
    found = {**constraints, "features": features}
    return found | ({EXTENSIONS: extended} if extended else {})


def _of_length(
    noise: Mapping[str, Mapping[str, float]], hours: float | None
) -> Mapping[str, float]:
    """The noise of the longest blocks that a window is not shorter than."""
    fitting = [length for length in noise if hours is not None and float(length) <= hours]
    return noise[max(fitting, key=float)] if fitting else {}


def least_completeness(common: Mapping[str, int]) -> float:
    """The fraction of values that must be present.

    1 when all are. Otherwise the lower end of the 95 % confidence interval (Wald), rounded down to
    two digits, as Deequ's RetainCompletenessRule suggests it: what was missing by chance may be
    missing again.

    Args:
        common: `num_present` and `num_missing`.
    """
    rows = common["num_present"] + common["num_missing"]
    fraction = common["num_present"] / rows
    bound = fraction - 1.96 * math.sqrt(fraction * (1 - fraction) / rows)
    return max(0.0, math.floor(bound * 100) / 100)


def check(
    constraints: Mapping[str, Any],
    baseline: Mapping[str, Any],
    current: Mapping[str, Any],
    type_match: Mapping[str, float],
) -> list[Measurement]:
    """Check current statistics against constraints and the baseline's distributions.

    Args:
        constraints: What `applied` made of the baseline's.
        baseline: The baseline's statistics.
        current: The current statistics.
        type_match: The fraction of a feature's present values that have the constraint's type.

    Returns:
        What each check has measured, feature by feature.
    """
    if constraints["monitoring_config"].get("evaluate_constraints") == "Disabled":
        return []
    before = {feature["name"]: feature for feature in baseline["features"]}
    now = {feature["name"]: feature for feature in current["features"]}
    found: list[Measurement] = []
    for constraint in constraints["features"]:
        name = constraint["name"]
        if name not in now:
            found.append(_odd(name, "missing_column_check", "The column is not in the data."))
            continue
        settings = constraints["monitoring_config"] | constraint.get(
            "monitoringConfigOverrides", {}
        )
        found += _check_feature(constraint, settings, before.get(name), now[name], type_match[name])
        if name in before and "numerical_statistics" in now[name]:
            extension = constraints.get(EXTENSIONS, {}).get(name, {})
            found += numbers.check(constraint, extension, before[name], now[name])
    known = {constraint["name"] for constraint in constraints["features"]}
    found += [
        _odd(name, "extra_column_check", "The column is not in the baseline.")
        for name in now
        if name not in known
    ]
    return found


def _check_feature(
    constraint: Mapping[str, Any],
    settings: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    now: Mapping[str, Any],
    type_match: float,
) -> Iterator[Measurement]:
    """What Model Monitor's checks measure of one feature."""
    name = constraint["name"]
    common = _common(now)
    rows = common["num_present"] + common["num_missing"]
    expected, kind = settings["datatype_check_threshold"], constraint["inferred_type"]
    broken = (
        f"Data type match requirement is not met. Expected data type: {kind}, Expected match: "
        f"{expected:.1%}. Observed: Only {type_match:.1%} of data is {kind}."
    )
    yield numbers.checked(
        name, "data_type_check", type_match, expected, broken if type_match < expected else ""
    )
    completeness = common["num_present"] / rows
    least = expected = constraint["completeness"]
    if settings["distribution_constraints"]["comparison_method"] == "Robust" and least < 1:
        # By chance so much more may be missing: three standard deviations.
        least -= 3 * math.sqrt(completeness * (1 - completeness) / rows)
    broken = (
        f"Completeness requirement is not met. Expected: at least {expected:.1%}. Observed: "
        f"{completeness:.1%} of data is present."
    )
    yield numbers.checked(
        name, "completeness_check", completeness, expected, broken if completeness < least else ""
    )
    domain = constraint.get("string_constraints", {}).get("domains")
    if domain and common["num_present"]:
        kinds, expected = set(domain), settings["domain_content_threshold"]
        buckets = _buckets(now)
        unknown = [value for value in buckets if value not in kinds]
        known = 1 - sum(buckets[value] for value in unknown) / common["num_present"]
        broken = (
            f"Value domain requirement is not met. Expected: at least {expected:.1%} known values. "
            f"Observed: {known:.1%}; unknown are {', '.join(unknown[:5])}"
            f"{' …' if len(unknown) > 5 else ''}."
        )
        yield numbers.checked(
            name, "categorical_values_check", known, expected, broken if known < expected else ""
        )
    distance, threshold = drift(settings["distribution_constraints"], before, now)
    if distance is not None:
        broken = f"Baseline drift distance: {distance:.4f} exceeds threshold: {threshold}"
        yield numbers.checked(
            name,
            "baseline_drift_check",
            distance,
            threshold,
            broken if distance > threshold else "",
        )


def _odd(name: str, kind: str, found: str) -> Measurement:
    """A column that is not where it should be, of which nothing can be measured."""
    return Measurement(name, kind, violated=True, message=found)


def drift(
    settings: Mapping[str, Any], before: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> tuple[float | None, float]:
    """How far a feature's distribution is from the baseline's, and how far it may be.

    Args:
        settings: The `distribution_constraints`.
        before: The feature's statistics in the baseline.
        now: Its current ones.

    Returns:
        Distance and threshold; no distance where there is nothing to compare.
    """
    threshold = settings["comparison_threshold"]
    kinds = {"numerical_statistics", "string_statistics"}
    if (
        settings["perform_comparison"] != "Enabled"
        or before is None
        or kinds & before.keys() != kinds & now.keys()
    ):
        return None, threshold
    sizes = [_common(feature)["num_present"] for feature in (before, now)]
    if not all(sizes):
        return None, threshold
    if "numerical_statistics" in now:
        distance = numeric_distance(profile.sample_of(before), profile.sample_of(now))
    else:
        threshold = settings.get("categorical_comparison_threshold", threshold)
        distance = categorical_distance(_buckets(before), _buckets(now), sizes)
    if settings["comparison_method"] == "Robust":
        distance = robust(distance, *sizes)
    return distance, threshold


def numeric_distance(first: "np.typing.ArrayLike", second: "np.typing.ArrayLike") -> float:
    """The two-sample Kolmogorov-Smirnov statistic.

    That is the largest distance of the empirical distribution functions, which Model Monitor
    computes with Deequ (analyzers/Distance.scala, numericalDistance).
    """
    one, two = np.sort(np.asarray(first)), np.sort(np.asarray(second))
    values = np.concatenate([one, two])
    below_one = np.searchsorted(one, values, side="right") / len(one)
    below_two = np.searchsorted(two, values, side="right") / len(two)
    return float(np.abs(below_one - below_two).max())


def categorical_distance(
    first: Mapping[str, int], second: Mapping[str, int], sizes: list[int]
) -> float:
    """The L-infinity distance: the largest difference in a value's fraction.

    As Deequ has it (analyzers/Distance.scala, categoricalLInfinityDistance).
    """
    parts = ((first.get(value, 0), second.get(value, 0)) for value in {*first, *second})
    # Of free text no value is kept.
    return max((abs(a / sizes[0] - b / sizes[1]) for a, b in parts), default=0.0)


def robust(distance: float, size: int, other_size: int) -> float:
    """Take off a distance what samples of these sizes may differ by chance.

    max(0, d - 1.8 · √((n + m) / (n · m))), as Deequ has it (analyzers/Distance.scala,
    selectMetrics), after the critical values of the Kolmogorov-Smirnov test.
    """
    return max(0.0, distance - 1.8 * math.sqrt((size + other_size) / (size * other_size)))


def _common(feature: Mapping[str, Any]) -> Mapping[str, int]:
    section = feature.get("numerical_statistics") or feature["string_statistics"]
    common: Mapping[str, int] = section["common"]
    return common


def _buckets(feature: Mapping[str, Any]) -> dict[str, int]:
    buckets = feature["string_statistics"]["distribution"]["categorical"]["buckets"]
    return {bucket["value"]: bucket["count"] for bucket in buckets}
