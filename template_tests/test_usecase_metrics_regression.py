"""The metrics of regression against scikit-learn and AWS's documented example.

scikit-learn's values (version 1.9.1) for `rows()` are written down: mean_absolute_error,
mean_squared_error, root_mean_squared_error and r2_score.
"""

import json
import math
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from support.examples import LABELS, OUTPUT, TARGET, WRONG_TARGETS

from usecase import metrics
from usecase.errors import UseCaseError
from usecase.problem.regression import METRICS, Target

SECTION = "regression_metrics"
METRIC_TARGET = Target("y")

# (rows, scale, shift) -> values
SCIKIT_LEARN: dict[tuple[int, float, float], dict[str, float]] = {
    (500, 40, 3): {
        "mae": 12.881738976930794,
        "mse": 248.4895112296702,
        "rmse": 15.763550083330538,
        "r2": 0.7069485103055,
    },
    (1000, 5, -2): {
        "mae": 11.746187402206623,
        "mse": 202.81124524552115,
        "rmse": 14.241181314958432,
        "r2": 0.7610896613648265,
    },
    (50, 300, 0): {
        "mae": 81.07903029087261,
        "mse": 8575.001857288999,
        "rmse": 92.6013059156781,
        "r2": -8.90437389402414,
    },
    (2, 1, 0): {
        "mae": 12.817933801404212,
        "mse": 217.85158205891494,
        "rmse": 14.759796138799308,
        "r2": 0.8810749945088463,
    },
}


def rows(count: int, scale: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions that go together somewhat."""
    i = np.arange(count)
    truth = (i * 7919 % 1009) / 10 - 20
    noise = (i * 104729 % 997) / 997 - 0.5
    return truth, truth * 0.7 + noise * scale + shift


def values(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float | str]:
    found = metrics.statistics(labels, predictions, METRIC_TARGET)[SECTION]
    return {name: entry["value"] for name, entry in found.items() if name != "errors"}


@pytest.mark.parametrize("case", SCIKIT_LEARN)
def test_values_are_scikit_learns(case: tuple[int, float, float]) -> None:
    assert values(*rows(*case)) == pytest.approx(SCIKIT_LEARN[case], rel=1e-12)


def test_errors_above_and_below_add_up_to_the_metrics() -> None:
    found = metrics.statistics(*rows(500, 40, 3), METRIC_TARGET)[SECTION]
    over, under = found["errors"]["over"], found["errors"]["under"]
    assert found["errors"]["rows"] == 500
    assert over["mean"] + under["mean"] == pytest.approx(found["mae"]["value"])
    assert over["mean_square"] + under["mean_square"] == pytest.approx(found["mse"]["value"])
    labels, predictions = rows(500, 40, 3)
    assert over["mean"] - under["mean"] == pytest.approx((predictions - labels).mean())


def test_the_documented_example() -> None:
    """The regression example of model-monitor-model-quality-metrics.html.

    It was made of zeros and ones; the last example of that page tells how often each was taken for
    each.
    """
    labels = np.repeat([0, 0, 1, 1], [1180, 510, 268, 138])
    predictions = np.repeat([0, 1, 0, 1], [1180, 510, 268, 138])
    documented = {
        "mae": 0.3711832061068702,
        "mse": 0.3711832061068702,
        "rmse": 0.609248066149471,
        "r2": -1.3766111872212665,
    }
    assert values(labels, predictions) == pytest.approx(documented, rel=1e-12)


def test_charts_of_residuals() -> None:
    """A hundred predictions, 0 to 99; of each ten, five are 2 too low and five are right."""
    predictions = np.arange(100.0)
    labels = predictions + np.repeat(np.tile([0.0, 2.0], 10), 5)
    calibration, residuals, histogram = metrics.charts(labels, predictions, Target("y"))
    means = np.arange(4.5, 100, 10)
    found = np.array(calibration["lines"][0]["points"])
    assert found == pytest.approx(np.column_stack([means, means + 1]))
    quantiles = {line["name"]: np.array(line["points"]) for line in residuals["lines"]}
    for name, value in (("5 % are below", 0), ("50 % are below", 1), ("95 % are below", 2)):
        assert quantiles[name] == pytest.approx(np.column_stack([means, np.full(10, value)]))
    assert sum(rows for _, rows in histogram["lines"][0]["points"]) == 2 * 100


def test_small_floats_are_not_summed_as_such() -> None:
    """The model answers in 32 bits, in which sums of many rows would lose digits."""
    truth = np.full(100_000, 0.1, np.float32)
    truth[::2] = 0.3
    found = values(truth, np.zeros(100_000, np.float32))
    assert found["mae"] == pytest.approx(0.2, rel=1e-7)


def test_standard_deviations_need_200_samples() -> None:
    labels, predictions = rows(200, 40, 3)
    enough = metrics.statistics(labels, predictions, METRIC_TARGET)[SECTION]["mae"]
    few = metrics.statistics(labels[:199], predictions[:199], METRIC_TARGET)[SECTION]["mae"]
    assert few["standard_deviation"] == "NaN"
    # Of the mean of a sample of 80 % of 200, drawn without replacement.
    spread = np.abs(labels - predictions).std(ddof=1)
    theory = spread / math.sqrt(160) * math.sqrt(1 - 0.8)
    assert 0.3 < enough["standard_deviation"] / theory < 2


def test_what_is_not_defined_is_nan() -> None:
    found = metrics.statistics(np.array([5, 5, 5]), np.array([4, 5, 6]), METRIC_TARGET)
    assert found[SECTION]["r2"]["value"] == "NaN"
    assert found[SECTION]["mae"]["value"] == pytest.approx(2 / 3)
    json.dumps(found, allow_nan=False)
    assert metrics.constraints(found, ["r2"], 0.1) == {"regression_constraints": {}}


@pytest.mark.parametrize(
    ("case", "r2"), [((500, 40, 3), 0.9 * 0.7069485103055), ((50, 300, 0), 1.1 * -8.90437389402414)]
)
def test_constraints_allow_what_is_tolerated(case: tuple[int, float, float], r2: float) -> None:
    """Errors get worse upwards, r2 downwards, even where it is negative."""
    measured = metrics.statistics(*rows(*case), METRIC_TARGET)
    found = metrics.constraints(measured, METRICS, 0.1)["regression_constraints"]
    assert found == {
        **{
            name: {
                "threshold": pytest.approx(1.1 * SCIKIT_LEARN[case][name]),
                "comparison_operator": "GreaterThanThreshold",
            }
            for name in ("mae", "mse", "rmse")
        },
        "r2": {"threshold": pytest.approx(r2), "comparison_operator": "LessThanThreshold"},
    }


def test_a_summary_has_the_metrics_that_can_be_watched() -> None:
    summary = metrics.summary(*rows(500, 40, 3), METRIC_TARGET)
    assert list(summary) == list(METRICS)
    assert summary == pytest.approx(SCIKIT_LEARN[500, 40, 3])


# What the target may be, and what becomes of the model's output.


@pytest.mark.parametrize("values", [[3, -1], [3.0, -1.0], [Decimal("3.00"), Decimal("-1.00")]])
def test_numbers_become_floats(values: list[object]) -> None:
    found = TARGET.clean(pl.Series("delay", values), "labels")
    assert found.to_list() == [3, -1]
    assert found.dtype == pl.Float64


@pytest.mark.parametrize(
    ("value", "message"),
    [*WRONG_TARGETS, (float("nan"), "is empty or infinite in 1"), (True, "is Boolean, must be")],
)
def test_anything_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(UseCaseError, match=f"^labels: target delay {message}"):
        TARGET.clean(pl.Series("delay", [value]), "labels")


def test_an_empty_value_is_refused() -> None:
    with pytest.raises(UseCaseError, match="train: target delay is empty or infinite in 1 of 2"):
        TARGET.clean(pl.Series("delay", [1.5, None]), "train")


def test_different_values_are_needed() -> None:
    TARGET.check(pl.Series("delay", LABELS), "train")
    with pytest.raises(UseCaseError, match=r"train: target delay is 1\.5 in all 2 rows"):
        TARGET.check(pl.Series("delay", [1.5, 1.5]), "train")


def test_values_are_measured_as_they_are() -> None:
    assert (TARGET.predicted(OUTPUT) == OUTPUT).all()


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_answers_lose_nothing_at_any_size(size: float) -> None:
    output = np.linspace(-1, 1, 7, dtype=np.float32) * np.float32(size)
    (found,) = TARGET.answers(output).values()
    assert found == pytest.approx(output.tolist(), rel=1e-6)
