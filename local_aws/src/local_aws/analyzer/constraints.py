"""Constraints on the data: how a baseline suggests them, and what breaks them.

Format, checks and the words of the violations are Model Monitor's:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
The distances are Deequ's (analyzers/Distance.scala), with which Model Monitor computes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

Json = Mapping[str, Any]
Violation = dict[str, str]

MONITORING_CONFIG = {
    "evaluate_constraints": "Enabled",
    "emit_metrics": "Enabled",
    "datatype_check_threshold": 1.0,
    "domain_content_threshold": 1.0,
    "distribution_constraints": {
        "perform_comparison": "Enabled",
        "comparison_threshold": 0.1,
        "comparison_method": "Robust",
        "categorical_comparison_threshold": 0.1,
        "categorical_drift_method": "LInfinity",
    },
}
"""The thresholds that Model Monitor suggests."""


def suggest(statistics: Json) -> dict[str, Any]:
    """Suggest constraints that the described data satisfies."""
    return {
        "version": 0.0,
        "features": [_suggest(feature) for feature in statistics["features"]],
        "monitoring_config": MONITORING_CONFIG,
    }


def _suggest(feature: Json) -> dict[str, Any]:
    constraint = {
        "name": feature["name"],
        "inferred_type": feature["inferred_type"],
        "completeness": _least_completeness(common(feature)),
    }
    if "numerical_statistics" in feature:
        if "min" in feature["numerical_statistics"]:
            non_negative = feature["numerical_statistics"]["min"] >= 0
            constraint["num_constraints"] = {"is_non_negative": non_negative}
        return constraint
    buckets = _buckets(feature)
    if len(buckets) == feature["string_statistics"]["distinct_count"]:
        constraint["string_constraints"] = {"domains": sorted(buckets)}
    return constraint


def _least_completeness(counts: Mapping[str, int]) -> float:
    """Return the share of values that must be present.

    1 when all are; otherwise the lower end of the 95 % confidence interval, rounded down to two
    digits, as Deequ's RetainCompletenessRule has it.
    """
    rows = counts["num_present"] + counts["num_missing"]
    share = counts["num_present"] / rows if rows else 1.0
    bound = share - 1.96 * math.sqrt(share * (1 - share) / max(1, rows))
    return max(0.0, math.floor(bound * 100) / 100)


def check(
    limits: Json, baseline: Json | None, current: Json, match: Mapping[str, float]
) -> list[Violation]:
    """Check current statistics against constraints and the baseline's distributions.

    Args:
        limits: constraints.json of the baseline.
        baseline: statistics.json of the baseline; without it distributions are not compared.
        current: The current statistics.
        match: The share of each feature's present values that have the constraint's type.

    Returns:
        Entries of constraint_violations.json, feature by feature.
    """
    if _config(limits).get("evaluate_constraints") == "Disabled":
        return []
    before = {feature["name"]: feature for feature in (baseline or {}).get("features", [])}
    now = {feature["name"]: feature for feature in current["features"]}
    found: list[Violation] = []
    names = [constraint["name"] for constraint in limits["features"]]
    for constraint in limits["features"]:
        name = constraint["name"]
        if name not in now:
            found.append(_violation(name, "missing_column_check", "The column is not in the data."))
            continue
        config = {**_config(limits), **constraint.get("monitoringConfigOverrides", {})}
        checks = (
            _type(constraint, config, match[name]),
            _completeness(constraint, config, now[name]),
        )
        found += [violation for violation in checks if violation]
        found += _domain(constraint, config, now[name])
        found += _drift(name, config["distribution_constraints"], before.get(name), now[name])
    found += [
        _violation(name, "extra_column_check", "The column is not in the baseline.")
        for name in now
        if name not in names
    ]
    return found


def distances(limits: Json, baseline: Json | None, current: Json) -> dict[str, float]:
    """Return the distance of each feature's distribution from the baseline's, where comparable."""
    before = {feature["name"]: feature for feature in (baseline or {}).get("features", [])}
    overrides = {
        constraint["name"]: constraint.get("monitoringConfigOverrides", {})
        for constraint in limits["features"]
    }
    found = {}
    for feature in current["features"]:
        name = feature["name"]
        config = {**_config(limits), **overrides.get(name, {})}["distribution_constraints"]
        measured = _distance(config, before.get(name), feature)
        if measured is not None:
            found[name] = measured[0]
    return found


def _config(limits: Json) -> dict[str, Any]:
    return {**MONITORING_CONFIG, **limits.get("monitoring_config", {})}


def _violation(name: str, check_type: str, description: str) -> Violation:
    return {"feature_name": name, "constraint_check_type": check_type, "description": description}


def _type(constraint: Json, config: Json, share: float) -> Violation | None:
    expected, kind = config["datatype_check_threshold"], constraint["inferred_type"]
    if share >= expected:
        return None
    return _violation(
        constraint["name"],
        "data_type_check",
        f"Data type match requirement is not met. Expected data type: {kind}, Expected match: "
        f"{expected:.1%}. Observed: Only {share:.1%} of data is {kind}.",
    )


def _completeness(constraint: Json, config: Json, now: Json) -> Violation | None:
    counts = common(now)
    rows = counts["num_present"] + counts["num_missing"]
    share, expected = counts["num_present"] / rows, constraint.get("completeness", 0.0)
    least = expected
    if config["distribution_constraints"]["comparison_method"] == "Robust" and least < 1:
        least -= 3 * math.sqrt(share * (1 - share) / rows)  # what may be missing by chance
    if share >= least:
        return None
    return _violation(
        constraint["name"],
        "completeness_check",
        f"Completeness requirement is not met. Expected: at least {expected:.1%}. "
        f"Observed: {share:.1%} of data is present.",
    )


def _domain(constraint: Json, config: Json, now: Json) -> Iterator[Violation]:
    domain = constraint.get("string_constraints", {}).get("domains")
    present = common(now)["num_present"]
    if not domain or not present or "string_statistics" not in now:
        return
    buckets, known = _buckets(now), set(domain)
    unknown = [value for value in buckets if value not in known]
    share = 1 - sum(buckets[value] for value in unknown) / present
    expected = config["domain_content_threshold"]
    if share < expected:
        yield _violation(
            constraint["name"],
            "categorical_values_check",
            f"Value domain requirement is not met. Expected: at least {expected:.1%} known values. "
            f"Observed: {share:.1%}; unknown are {', '.join(unknown[:5])}"
            f"{' …' if len(unknown) > 5 else ''}.",
        )


def _drift(name: str, config: Json, before: Json | None, now: Json) -> Iterator[Violation]:
    measured = _distance(config, before, now)
    if measured and measured[0] > measured[1]:
        yield _violation(
            name,
            "baseline_drift_check",
            f"Baseline drift distance: {measured[0]:.4f} exceeds threshold: {measured[1]}",
        )


def _distance(config: Json, before: Json | None, now: Json) -> tuple[float, float] | None:
    """Return a distribution's distance from the baseline's and its threshold, None for nothing."""
    kinds = {"numerical_statistics", "string_statistics"}
    if (
        config["perform_comparison"] != "Enabled"
        or before is None
        or kinds & before.keys() != kinds & now.keys()
    ):
        return None
    sizes = [common(feature)["num_present"] for feature in (before, now)]
    if not all(sizes):
        return None
    threshold: float = config["comparison_threshold"]
    if "numerical_statistics" in now:
        distance = kolmogorov_smirnov(_weighted(before), _weighted(now))
    else:
        threshold = config.get("categorical_comparison_threshold", threshold)
        shares = [
            _shares(feature, size) for feature, size in zip((before, now), sizes, strict=True)
        ]
        values = {*shares[0], *shares[1]}
        distance = max(abs(shares[0].get(v, 0.0) - shares[1].get(v, 0.0)) for v in values)
    if config["comparison_method"] == "Robust":
        # Takes off what samples of these sizes may differ by chance.
        chance = 1.8 * math.sqrt(sum(sizes) / math.prod(sizes))
        distance = max(0.0, distance - chance)
    return distance, threshold


def kolmogorov_smirnov(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> float:
    """Return the largest distance of two empirical distribution functions.

    Args:
        first: Values and their weights, sorted by value.
        second: The other sample's.
    """
    curves = []
    for sample in (first, second):
        cumulated = list(accumulate(weight for _, weight in sample))
        curves.append(([value for value, _ in sample], [0.0, *cumulated], cumulated[-1]))
    largest = 0.0
    for value in (*curves[0][0], *curves[1][0]):
        shares = [sums[bisect_right(values, value)] / total for values, sums, total in curves]
        largest = max(largest, abs(shares[0] - shares[1]))
    return largest


def common(feature: Json) -> Mapping[str, int]:
    """Return how many values are present and missing."""
    section = feature.get("numerical_statistics") or feature["string_statistics"]
    counts: Mapping[str, int] = section["common"]
    return counts


def _buckets(feature: Json) -> dict[str, int]:
    buckets = feature["string_statistics"]["distribution"]["categorical"]["buckets"]
    return {bucket["value"]: bucket["count"] for bucket in buckets}


def _shares(feature: Json, size: int) -> dict[str, float]:
    return {value: count / size for value, count in _buckets(feature).items()}


def _weighted(feature: Json) -> list[tuple[float, float]]:
    """Return the values of a KLL sketch; one of level n stands for 2^n values."""
    levels = feature["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"]
    return sorted((value, 2.0**level) for level, values in enumerate(levels) for value in values)
