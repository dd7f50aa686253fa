"""The baseline of the data's quality: statistics, constraints, and the distances between."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from conftest import fail, read_json
from scipy import stats

from usecase import tables
from usecase.config import DataQuality, UseCase
from usecase.monitors import constraints, profile


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
    assert constraints.check(suggested, found, found, match) == []


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
    assert [violation.constraint_check_type for violation in checks] == (
        ["completeness_check"] if found else []
    )


def test_the_baseline_has_model_monitors_form(
    baseline: Path, prepared: Path, use_case: UseCase
) -> None:
    train = tables.read(prepared / "train")
    statistics = read_json(baseline / "statistics.json")
    suggested = read_json(baseline / "constraints.json")
    assert statistics["dataset"]["item_count"] == train.height
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
    carrier = next(entry for entry in suggested["features"] if entry["name"] == "carrier")
    assert carrier["string_constraints"]["domains"] == sorted(train["carrier"].unique())


def test_no_training_data(tmp_path: Path) -> None:
    assert "train: no Parquet files" in fail("baseline", tmp_path)
