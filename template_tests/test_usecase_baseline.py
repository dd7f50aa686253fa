"""The baseline of the data's quality: statistics, constraints, and the distances between."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from scipy import stats
from support.image import ROOT, fail, place, read_json, succeed

from usecase import schema, tables
from usecase.config import UseCase
from usecase.monitors import chance, constraints, noise, profile
from usecase.monitors.settings import DataQuality, FeatureConstraints
from usecase.schema import Schema


def feature(statistics: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in statistics["features"] if entry["name"] == name)


def test_numbers_are_described_as_scipy_does() -> None:
    values = np.random.default_rng(0).gamma(2, 3, 10_000)
    table = pl.DataFrame({"x": [*values, None, None]})
    found = profile.statistics(table)
    assert found["dataset"] == {"item_count": 10_002}
    entry = feature(found, "x")
    numbers = entry["numerical_statistics"]
    expected = stats.describe(values, ddof=0)
    assert entry["inferred_type"] == "Fractional"
    assert numbers["common"] == {"num_present": 10_000, "num_missing": 2}
    assert (numbers["min"], numbers["max"]) == expected.minmax
    assert numbers["mean"] == pytest.approx(expected.mean)
    assert numbers["std_dev"] ** 2 == pytest.approx(expected.variance)
    assert numbers["sum"] == pytest.approx(values.sum())
    kll = numbers["distribution"]["kll"]
    limits = float(values.min()), float(values.max())
    shares = stats.relfreq(values, 10, defaultreallimits=limits).frequency
    assert [bucket["count"] for bucket in kll["buckets"]] == pytest.approx(shares * 10_000)
    assert kll["buckets"][0]["lower_bound"] == expected.minmax[0]
    assert kll["buckets"][-1]["upper_bound"] == expected.minmax[1]
    (sample,) = kll["sketch"]["data"]
    assert len(sample) == kll["sketch"]["parameters"]["k"] == 2048
    assert stats.ks_2samp(sample, values).statistic <= 1 / 4096 + 1 / 10_000


def test_small_and_odd_columns() -> None:
    table = pl.DataFrame(
        {
            "whole": [1, 1, 1],
            "missing": pl.Series([None, None, None], dtype=pl.Float64),
            "text": ["b", None, "b"],
        }
    )
    found = profile.statistics(table)
    whole = feature(found, "whole")
    assert whole["inferred_type"] == "Integral"
    assert whole["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"] == [[1, 1, 1]]
    assert feature(found, "missing") == {
        "name": "missing",
        "inferred_type": "Unknown",
        "numerical_statistics": {"common": {"num_present": 0, "num_missing": 3}},
    }
    assert feature(found, "text") == {
        "name": "text",
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": 2, "num_missing": 1},
            "distinct_count": 1,
            "distribution": {"categorical": {"buckets": [{"value": "b", "count": 2}]}},
        },
    }
    suggested = constraints.suggest(found, DataQuality())
    assert [entry["completeness"] for entry in suggested["features"]] == [1.0, 0.0, 0.13]
    # The data satisfies what it suggests.
    match = dict.fromkeys(table.columns, 1.0)
    assert not [each for each in constraints.check(suggested, found, found, match) if each.violated]


def test_many_categories_are_no_domain() -> None:
    table = pl.DataFrame({"id": [str(i) for i in range(1500)]})
    found = profile.statistics(table)
    buckets = feature(found, "id")["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert len(buckets) == 1000
    assert "string_constraints" not in constraints.suggest(found, DataQuality())["features"][0]


@pytest.mark.parametrize(("size", "other"), [(1000, 1000), (5000, 300), (7, 3)])
@pytest.mark.parametrize("digits", [0, 6])
def test_the_numeric_distance_is_kolmogorov_and_smirnovs(
    size: int, other: int, digits: int
) -> None:
    generator = np.random.default_rng(size + digits)
    one = generator.normal(0, 2, size).round(digits)
    two = generator.normal(0.5, 3, other).round(digits)
    expected = stats.ks_2samp(one, two).statistic
    assert constraints.numeric_distance(one, two) == pytest.approx(expected)
    assert constraints.numeric_distance(one, one) == 0


def test_the_categorical_distance_is_the_largest_difference_of_shares() -> None:
    distance = constraints.categorical_distance({"a": 50, "b": 50}, {"a": 20, "c": 60}, [100, 80])
    assert distance == pytest.approx(0.75)  # c: 0 % and 75 %


def test_robust_takes_off_what_is_chance() -> None:
    assert constraints.robust(0.2, 1000, 1000) == pytest.approx(0.2 - 1.8 * 0.0447213595)
    assert constraints.robust(0.05, 1000, 1000) == 0
    # Two samples of one distribution stay below any threshold.
    generator = np.random.default_rng(1)
    for size in (20, 200, 2000):
        distance = constraints.numeric_distance(
            generator.normal(size=size), generator.normal(size=9000)
        )
        assert constraints.robust(distance, size, 9000) == 0


def test_what_has_been_missing_may_be_missing_again() -> None:
    """As Deequ's RetainCompletenessRule has it: 0.9 - 1.96 * sqrt(0.09 / 1000) = 0.8814."""
    assert constraints.least_completeness({"num_present": 900, "num_missing": 100}) == 0.88
    assert constraints.least_completeness({"num_present": 1000, "num_missing": 0}) == 1
    assert constraints.least_completeness({"num_present": 1, "num_missing": 99}) == 0


@pytest.mark.parametrize(
    ("method", "least", "missing", "found"),
    [
        ("Robust", 0.75, 260, False),  # three standard deviations of 1000 rows are 0.0416
        ("Robust", 0.75, 300, True),
        ("Simple", 0.75, 260, True),
        ("Robust", 1.0, 1, True),
    ],
)
def test_what_is_missing_by_chance_is_no_violation(
    method: Literal["Robust", "Simple"], least: float, missing: int, found: bool
) -> None:
    values = pl.Series("x", [None] * missing + [1] * (1000 - missing), dtype=pl.Int64)
    statistics = profile.statistics(pl.DataFrame([values]))
    suggested = constraints.suggest(statistics, DataQuality(comparison_method=method))
    suggested["features"][0]["completeness"] = least
    checks = constraints.check(suggested, statistics, statistics, {"x": 1.0})
    assert [each.kind for each in checks if each.violated] == (
        ["completeness_check"] if found else []
    )
    # What was measured is told in either case.
    (completeness,) = (each for each in checks if each.kind == "completeness_check")
    assert (completeness.value, completeness.threshold) == (1 - missing / 1000, least)
    assert bool(completeness.message) == found


def test_the_baseline_has_model_monitors_form(
    baseline: Path, prepared: Path, use_case: UseCase
) -> None:
    train = tables.read(prepared / "train")
    statistics = read_json(baseline / "statistics.json")
    suggested = read_json(baseline / "constraints.json")
    assert statistics["dataset"]["item_count"] == train.height
    assert schema.read(baseline) == Schema.of(use_case, train)
    names = use_case.features.names
    assert [entry["name"] for entry in statistics["features"]] == names
    assert [entry["name"] for entry in suggested["features"]] == names
    types = {entry["name"]: entry["inferred_type"] for entry in suggested["features"]}
    assert {types[name] for name in use_case.features.numeric} <= {"Integral", "Fractional"}
    assert {types[name] for name in use_case.features.categorical} == {"String"}
    settings = use_case.monitors.data_quality
    assert suggested["monitoring_config"] == {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": settings.datatype_check_threshold,
        "domain_content_threshold": settings.domain_content_threshold,
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": settings.comparison_threshold,
            "comparison_method": settings.comparison_method,
            "categorical_comparison_threshold": settings.comparison_threshold,
            "categorical_drift_method": "LInfinity",
        },
    }
    extensions = suggested["extensions"]
    assert [*extensions] == names
    distance, numbers = extensions["distance"], train["distance"].to_numpy()
    assert (distance["min"], distance["max"]) == stats.describe(numbers).minmax
    assert [*distance["noise"]] == ["1", "6", "24", "168", "720"]
    carrier = next(entry for entry in suggested["features"] if entry["name"] == "carrier")
    assert carrier["string_constraints"]["domains"] == sorted(train["carrier"].unique())


#: Every ten minutes of 60 days.
TIMES = pl.Series("at", [datetime(2026, 1, 1) + timedelta(minutes=10 * i) for i in range(60 * 144)])  # noqa: DTZ001 - as in tables


def measured(values: pl.Series, *, robust: bool = False) -> dict[str, dict[str, float]]:
    return noise.measure(pl.DataFrame([values]), TIMES, robust=robust)[values.name]


@pytest.mark.parametrize("hours", [1, 24, 168])
def test_noise_is_how_far_stretches_of_time_are_from_the_others(hours: int) -> None:
    generator = np.random.default_rng(2)
    days = np.arange(len(TIMES)) // 144
    values = generator.normal(size=len(TIMES)) + generator.normal(size=61)[days]
    found = measured(pl.Series("x", values))[str(hours)]
    rows = hours * 6
    distances = []
    for start in range(0, len(values) - rows + 1, rows):
        block = values[start : start + rows]
        others = np.delete(values, slice(start, start + rows))
        distances.append(stats.ks_2samp(block, others).statistic)
    # Of the last block it is not known whether it is whole; a week's is not.
    used = distances if hours == 168 else distances[:-1]
    assert found["blocks"] == len(used)
    mean, deviation, number = np.mean(used), np.std(used, ddof=1), len(used)
    interval = stats.t(number - 1, mean, deviation * np.sqrt(1 + 1 / number)).ppf(0.995)
    assert found["distance"] == pytest.approx(min(1, max(*used, interval)), abs=2e-3)


def test_a_feature_that_follows_the_week_is_the_same_week_after_week() -> None:
    found = measured(TIMES.dt.weekday().cast(pl.Int64).alias("weekday"))
    assert found["24"]["distance"] > 0.9
    assert found["168"]["distance"] < 0.05  # 60 days are not whole weeks
    texts = measured(TIMES.dt.weekday().cast(pl.String).alias("weekday"))
    assert texts["24"]["distance"] > 0.8
    assert texts["168"]["distance"] < 0.05
    # A month of it is too short to tell: 60 days have one whole block.
    assert [*found] == ["1", "6", "24", "168"]


def test_noise_of_equal_rows_is_chance_and_taken_off() -> None:
    values = pl.Series("x", np.random.default_rng(3).normal(size=len(TIMES)))
    drift = {hours: each["distance"] for hours, each in measured(values, robust=True).items()}
    assert drift["1"] < 0.1  # the largest of 1439, each of six values
    assert [drift[hours] for hours in ("6", "24", "168")] == pytest.approx([0, 0, 0], abs=0.02)
    missing = pl.Series("x", [None] * len(TIMES), dtype=pl.Float64)
    assert measured(missing) == {}


def test_one_day_that_is_out_of_range_or_one_value_has_been_so() -> None:
    values = np.random.default_rng(4).normal(size=len(TIMES))
    values[144:200] = 50.0
    found = measured(pl.Series("x", values))
    assert found["24"]["range"] == found["24"]["sentinel"] == pytest.approx(56 / 144)
    assert found["168"]["range"] == pytest.approx(56 / 1008, rel=0.5)


@pytest.mark.parametrize(("odd", "rows", "before"), [(1, 30, 500), (3, 900, 112_000), (27, 27, 88)])
def test_chance_is_that_of_drawing_only_new_rows(odd: int, rows: int, before: int) -> None:
    expected = stats.hypergeom(rows + before, odd, rows).pmf(odd)
    assert chance.all_new(odd, rows, before) == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "window"), [(100, 30), (735, 225), (20_000, 1500)])
def test_small_data_is_not_odd_by_chance(rows: int, window: int) -> None:
    generator = np.random.default_rng(rows)

    def drawn(size: int) -> pl.DataFrame:
        columns = {f"normal {i}": generator.normal(size=size) for i in range(100)}
        columns |= {f"tail {i}": generator.exponential(size=size).round(1) for i in range(100)}
        return pl.DataFrame(columns)

    baseline, now = (profile.statistics(drawn(size)) for size in (rows, window))
    limits = constraints.applied(constraints.suggest(baseline, DataQuality()), None)
    match = dict.fromkeys([entry["name"] for entry in now["features"]], 1.0)
    assert not [each for each in constraints.check(limits, baseline, now, match) if each.violated]


def spoilt(values: Any, odd: float, number: int) -> list[float]:
    return [odd] * number + list(values[number:])


@pytest.mark.parametrize(
    ("odd", "number", "expected"),
    [
        (1.0, 0, set()),
        (-999.0, 1, set()),  # of 1000 rows one may be negative where 9000 had none
        (-999.0, 20, {"non_negative_check", "sentinel_check"}),
        (999.0, 9, set()),  # less than a hundredth
        (999.0, 20, {"range_check", "sentinel_check"}),
        (1.25, 20, {"sentinel_check"}),
    ],
)
def test_values_that_the_baseline_does_not_have(
    odd: float, number: int, expected: set[str]
) -> None:
    generator = np.random.default_rng(5)
    before, now = (generator.exponential(size=size).round(3) for size in (9000, 1000))
    before[:5] = 1.25  # hardly ever
    baseline, current = (
        profile.statistics(pl.DataFrame({"x": values}))
        for values in (before, spoilt(now, odd, number))
    )
    limits = constraints.applied(constraints.suggest(baseline, DataQuality()), None)
    found = {each.kind: each for each in constraints.check(limits, baseline, current, {"x": 1.0})}
    assert {kind for kind, each in found.items() if each.violated} == expected
    measured = {kind: found[kind].value for kind in ("range_check", "non_negative_check")}
    outside, negative = (number / 1000 if is_it else 0 for is_it in (odd > 500, odd < 0))
    assert measured["non_negative_check"] == negative
    # Chance may bring a value beyond the baseline's largest one as well.
    assert measured["range_check"] == pytest.approx(outside, abs=0.001)
    if "sentinel_check" in expected:
        assert f"2.0% of data is {odd:g}" in found["sentinel_check"].message
        assert found["sentinel_check"].value == pytest.approx(0.02)


def test_a_window_is_judged_by_the_noise_of_its_length() -> None:
    values = pl.DataFrame({"x": np.random.default_rng(6).normal(size=500), "y": [1.0] * 500})
    noisy = {
        "x": {
            "24": {"blocks": 60, "distance": 0.7, "range": 0.02, "sentinel": 0.0},
            "168": {"blocks": 8, "distance": 0.2, "range": 0.0, "sentinel": 0.03},
        },
        "y": {"24": {"blocks": 60, "distance": 0.0, "range": 0.0, "sentinel": 0.0}},
    }
    settings = DataQuality(
        comparison_threshold=0.15, features={"y": FeatureConstraints(comparison_threshold=0.3)}
    )
    limits = constraints.suggest(profile.statistics(values), settings, noisy)

    def thresholds(hours: float | None, name: str = "x") -> tuple[float, float, float]:
        found = constraints.applied(limits, hours)
        entry = next(entry for entry in found["features"] if entry["name"] == name)
        config = found["monitoring_config"] | entry.get("monitoringConfigOverrides", {})
        extension = found["extensions"][name]
        return (
            config["distribution_constraints"]["comparison_threshold"],
            extension["range_threshold"],
            extension["sentinel_threshold"],
        )

    assert thresholds(24) == (0.7, 0.02, 0.01)
    assert thresholds(100) == (0.7, 0.02, 0.01)
    assert thresholds(168) == (0.2, 0.01, 0.03)
    assert thresholds(1) == thresholds(None) == (0.15, 0.01, 0.01)
    assert thresholds(24, "y") == (0.3, 0.01, 0.01)  # people have said so
    limits = constraints.suggest(profile.statistics(values), DataQuality(), {"x": noisy["y"]})
    assert thresholds(24) == (0.05, 0.01, 0.01)
    # Of few rows more is chance: P(D √n > 2.47) is 1e-5, by Smirnov's limit.
    (few,) = (
        entry["monitoringConfigOverrides"]["distribution_constraints"]["comparison_threshold"]
        for entry in constraints.applied(limits, 24, rows=50)["features"]
        if entry["name"] == "x"
    )
    beyond = stats.kstwobign.sf(few * np.sqrt(50) + 1.8)
    assert beyond == pytest.approx(1e-5, rel=0.02)


def test_what_people_want_of_a_feature_replaces_what_the_data_suggests(
    prepared: Path, tmp_path: Path
) -> None:
    place(prepared / "train", tmp_path / "processing" / "input" / "train")
    text = (
        (ROOT / "usecase.toml").read_text()
        + """
[monitors.data_quality.features.distance]
completeness = 0.5
comparison_threshold = 0.4
is_non_negative = false
max = 9000
range_threshold = 0.1
[monitors.data_quality.features.carrier]
domain = ["UA", "DL"]
domain_content_threshold = 0.2
"""
    )
    path = tmp_path / "usecase.toml"
    path.write_text(text)
    succeed("baseline", tmp_path, USECASE_TOML=str(path))
    suggested = read_json(tmp_path / "processing" / "output" / "baseline" / "constraints.json")
    found = {entry["name"]: entry for entry in suggested["features"]}
    general = suggested["monitoring_config"]["distribution_constraints"]
    assert found["distance"] == {
        "name": "distance",
        "inferred_type": "Integral",
        "completeness": 0.5,
        "num_constraints": {"is_non_negative": False},
        "monitoringConfigOverrides": {
            "distribution_constraints": general
            | {"comparison_threshold": 0.4, "categorical_comparison_threshold": 0.4}
        },
    }
    assert found["carrier"]["string_constraints"] == {"domains": ["UA", "DL"]}
    assert found["carrier"]["monitoringConfigOverrides"] == {"domain_content_threshold": 0.2}
    assert suggested["extensions"]["distance"]["max"] == 9000
    assert suggested["extensions"]["distance"]["range_threshold"] == 0.1


def test_no_training_data(tmp_path: Path) -> None:
    assert "train: no Parquet files" in fail("baseline", tmp_path)
