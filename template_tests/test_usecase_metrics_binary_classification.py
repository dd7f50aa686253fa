"""The metrics of binary classification against scikit-learn and AWS's documented example.

scikit-learn's values (version 1.9.1) for `rows()` are written down:

    recall_score, precision_score, accuracy_score, fbeta_score of p >= threshold;
    roc_auc_score of p; true_negative_rate is recall_score(pos_label=0);
    *_best_constant_classifier of np.ones_like(y);
    curves are roc_curve(drop_intermediate=False) and precision_recall_curve turned round;
    calibration is calibration_curve(strategy="quantile", n_bins=10).
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from support.examples import LABELS, OUTPUT, TARGET, WRONG_TARGETS

from usecase import metrics, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.model import Model
from usecase.problem.binary_classification import METRICS, Target

SECTION = "binary_classification_metrics"
Values = npt.NDArray[Any]

# (rows, share, digits, threshold) -> (tn, fp, fn, tp), values
SCIKIT_LEARN = {
    (500, 0.5, 6, 0.5): (
        (167, 87, 83, 163),
        {
            "recall": 0.6626016260162602,
            "precision": 0.652,
            "accuracy": 0.66,
            "auc": 0.7222008834261572,
            "f0_5": 0.6540930979133226,
            "f1": 0.657258064516129,
            "f2": 0.660453808752026,
            "true_negative_rate": 0.65748031496063,
            "false_positive_rate": 0.34251968503937,
            "f1_best_constant_classifier": 0.6595174262734584,
            "f0_5_best_constant_classifier": 0.5476402493321461,
            "accuracy_best_constant_classifier": 0.492,
        },
    ),
    (400, 0.4, 1, 0.3): (
        (90, 180, 9, 121),
        {
            "recall": 0.9307692307692308,
            "precision": 0.4019933554817276,
            "accuracy": 0.5275,
            "auc": 0.755042735042735,
            "f0_5": 0.4535232383808096,
            "f1": 0.5614849187935035,
            "f2": 0.7369062119366626,
            "true_negative_rate": 0.3333333333333333,
            "false_positive_rate": 0.6666666666666667,
            "f1_best_constant_classifier": 0.49056603773584906,
            "f0_5_best_constant_classifier": 0.37572254335260113,
            "accuracy_best_constant_classifier": 0.325,
        },
    ),
    (1000, 0.12, 6, 0.3): (
        (300, 670, 0, 30),
        {
            "recall": 1.0,
            "precision": 0.04285714285714286,
            "accuracy": 0.33,
            "auc": 0.9216151202749141,
            "f0_5": 0.053003533568904596,
            "f1": 0.0821917808219178,
            "f2": 0.18292682926829268,
            "true_negative_rate": 0.30927835051546393,
            "false_positive_rate": 0.6907216494845361,
            "f1_best_constant_classifier": 0.05825242718446602,
            "f0_5_best_constant_classifier": 0.03722084367245657,
            "accuracy_best_constant_classifier": 0.03,
        },
    ),
    (50, 0.5, 2, 0.5): (
        (16, 11, 8, 15),
        {
            "recall": 0.6521739130434783,
            "precision": 0.5769230769230769,
            "accuracy": 0.62,
            "auc": 0.7053140096618358,
            "f0_5": 0.5905511811023622,
            "f1": 0.6122448979591837,
            "f2": 0.635593220338983,
            "true_negative_rate": 0.5925925925925926,
            "false_positive_rate": 0.40740740740740744,
            "f1_best_constant_classifier": 0.6301369863013698,
            "f0_5_best_constant_classifier": 0.515695067264574,
            "accuracy_best_constant_classifier": 0.46,
        },
    ),
}


def rows(count: int, share: float, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that go together somewhat; few digits make ties."""
    i = np.arange(count)
    p = np.round((i * 7919 % 1009) / 1009, digits)
    noise = (i * 104729 % 997) / 997
    return (noise * 0.6 + p * 0.4 > 1 - share).astype(int), p


@pytest.mark.parametrize("case", SCIKIT_LEARN)
def test_values_are_scikit_learns(case: tuple[int, float, int, float]) -> None:
    count, share, digits, threshold = case
    (tn, fp, fn, tp), expected = SCIKIT_LEARN[case]
    found = metrics.statistics(*rows(count, share, digits), Target("y", threshold))[SECTION]
    assert found["confusion_matrix"] == {"0": {"0": tn, "1": fp}, "1": {"0": fn, "1": tp}}
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_curves_are_scikit_learns() -> None:
    found = metrics.statistics(*rows(400, 0.4, 1), Target("y", 0.3))[SECTION]
    roc = found["receiver_operating_characteristic_curve"]
    # Counts of the twelve points, of 270 negatives and 130 positives.
    false_positives = np.array([0, 7, 22, 42, 64, 89, 116, 145, 180, 211, 250, 270])
    true_positives = np.array([0, 14, 37, 59, 77, 92, 105, 116, 121, 128, 130, 130])
    assert roc["false_positive_rates"] == pytest.approx(false_positives / 270)
    assert roc["true_positive_rates"] == pytest.approx(true_positives / 130)
    curve = found["precision_recall_curve"]
    assert curve["recalls"] == pytest.approx(true_positives / 130)
    assert curve["precisions"][:4] == pytest.approx([1, 2 / 3, 0.6271186440677966, 59 / 101])
    assert curve["precisions"][-1] == pytest.approx(0.325)


def test_charts_are_scikit_learns() -> None:
    labels, probabilities = rows(400, 0.4, 1)
    section = metrics.statistics(labels, probabilities, Target("y"))[SECTION]
    roc, retrieved, calibration = metrics.charts(labels, probabilities, Target("y"))
    assert roc["title"] == f"y = 1: ROC curve, area {section['auc']['value']:.3f}"
    curve = section["receiver_operating_characteristic_curve"]
    found = np.array(roc["lines"][0]["points"])
    assert found[:, 0] == pytest.approx(curve["false_positive_rates"], rel=1e-5)
    assert found[:, 1] == pytest.approx(curve["true_positive_rates"], rel=1e-5)
    curve = section["precision_recall_curve"]
    found = np.array(retrieved["lines"][0]["points"])
    assert found[:, 0] == pytest.approx(curve["recalls"], rel=1e-5)
    assert found[:, 1] == pytest.approx(curve["precisions"], rel=1e-5)
    predicted = [0.0672131, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    true = [0.0327869, 0.184211, 0.125, 0.275, 0.325, 0.375, 0.45, 0.523810, 0.605263, 0.666667]
    found = np.array(calibration["lines"][0]["points"])
    assert found == pytest.approx(np.column_stack([predicted, true]), rel=1e-5)


def test_curves_of_a_rare_class_keep_what_happens_first() -> None:
    labels = np.zeros(10_000, int)
    labels[[0, 2, 4]] = 1
    _, retrieved, _ = metrics.charts(labels, np.linspace(1, 0, 10_000), Target("y"))
    points = retrieved["lines"][0]["points"]
    assert len(points) <= 101
    for point in ([0, 1], [0.333333, 1], [0.666667, 0.666667], [1, 0.6], [1, 0.0003]):
        assert point in points


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    found = metrics.statistics(*rows(1000, 0.5, 6), Target("y"))[SECTION]
    roc = found["receiver_operating_characteristic_curve"]
    for name in ("false_positive_rates", "true_positive_rates"):
        assert len(roc[name]) == 101
        assert roc[name] == sorted(roc[name])
        assert (roc[name][0], roc[name][-1]) == (0, 1)


def test_the_documented_example() -> None:
    """The binary example of model-monitor-model-quality-metrics.html."""
    labels, probabilities = np.array([0, 0, 0, 1]), np.array([0.1, 0.6, 0.7, 0.9])
    found = metrics.statistics(labels, probabilities, Target("y"))[SECTION]
    assert found["confusion_matrix"] == {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}}
    documented = {
        "recall": 1.0,
        "precision": 0.3333333333333333,
        "accuracy": 0.5,
        "recall_best_constant_classifier": 1.0,
        "precision_best_constant_classifier": 0.25,
        "accuracy_best_constant_classifier": 0.25,
        "true_positive_rate": 1.0,
        "true_negative_rate": 0.33333333333333337,
        "false_positive_rate": 0.6666666666666666,
        "false_negative_rate": 0.0,
        "auc": 1.0,
        "f0_5": 0.3846153846153846,
        "f1": 0.5,
        "f2": 0.7142857142857143,
        "f0_5_best_constant_classifier": 0.29411764705882354,
        "f1_best_constant_classifier": 0.4,
        "f2_best_constant_classifier": 0.625,
    }
    scalars = {name: entry for name, entry in found.items() if "value" in entry}
    assert {name: entry["value"] for name, entry in scalars.items()} == pytest.approx(documented)
    assert {entry["standard_deviation"] for entry in scalars.values()} == {"NaN"}


def test_standard_deviations_need_200_samples() -> None:
    labels, probabilities = rows(200, 0.5, 6)
    enough = metrics.statistics(labels, probabilities, Target("y"))[SECTION]["accuracy"]
    few = metrics.statistics(labels[:199], probabilities[:199], Target("y"))[SECTION]["accuracy"]
    assert few["standard_deviation"] == "NaN"
    # Of the mean of a sample of 80 % of 200, drawn without replacement.
    theory = math.sqrt(enough["value"] * (1 - enough["value"]) / 160 * (1 - 0.8))
    assert 0.3 < enough["standard_deviation"] / theory < 2


def test_what_is_not_defined_is_nan() -> None:
    for label in (0, 1):
        found = metrics.statistics(np.full(3, label), np.array([0.1, 0.6, 0.7]), Target("y"))
        assert found[SECTION]["auc"]["value"] == "NaN"
        json.dumps(found, allow_nan=False)
    assert found[SECTION]["true_negative_rate"]["value"] == "NaN"
    none_predicted = metrics.statistics(np.array([0, 1]), np.array([0.1, 0.1]), Target("y"))
    assert none_predicted[SECTION]["precision"]["value"] == 0
    assert none_predicted[SECTION]["f1"]["value"] == 0


def test_constraints_allow_what_is_tolerated() -> None:
    measured = metrics.statistics(*rows(500, 0.5, 6), Target("y"))
    found = metrics.constraints(measured, ["auc", "false_positive_rate"], 0.1)
    assert found == {
        "binary_classification_constraints": {
            "auc": {
                "threshold": pytest.approx(0.9 * 0.7222008834261572),
                "comparison_operator": "LessThanThreshold",
            },
            "false_positive_rate": {
                "threshold": pytest.approx(1.1 * 0.34251968503937),
                "comparison_operator": "GreaterThanThreshold",
            },
        }
    }
    single = metrics.statistics(np.array([1, 1]), np.array([0.1, 0.9]), Target("y"))
    assert metrics.constraints(single, ["auc"], 0.1) == {"binary_classification_constraints": {}}


def test_a_summary_has_the_metrics_that_can_be_watched() -> None:
    labels, probabilities = rows(500, 0.5, 6)
    summary = metrics.summary(labels, probabilities, Target("y"))
    assert list(summary) == list(METRICS)
    assert summary["f1"] == pytest.approx(0.657258064516129)


# What the target may be, and what becomes of the model's output.


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0]])
def test_yes_and_no_become_numbers(values: list[object]) -> None:
    found = TARGET.clean(pl.Series("late", values), "labels")
    assert found.to_list() == [1, 0]
    assert found.dtype == pl.Int64


@pytest.mark.parametrize(
    ("value", "message"), [*WRONG_TARGETS, (0.5, "has the value 0.5"), (None, "is Null, must be")]
)
def test_anything_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(UseCaseError, match=f"^labels: target late {message}"):
        TARGET.clean(pl.Series("late", [value]), "labels")


def test_an_empty_value_is_refused() -> None:
    with pytest.raises(UseCaseError, match="train: target late is empty in 1 of 2 rows"):
        TARGET.clean(pl.Series("late", [True, None]), "train")


def test_both_are_needed() -> None:
    TARGET.check(pl.Series("late", LABELS), "train")
    with pytest.raises(UseCaseError, match="train: target late is 0 in all 2 rows; both 0 and 1"):
        TARGET.check(pl.Series("late", [0, 0]), "train")


@pytest.mark.parametrize("threshold", [0, 1, -0.5])
def test_threshold_lies_between_0_and_1(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"decision_threshold: is .*, must lie between 0 and 1"):
        Target("late", threshold)


def test_probabilities_are_measured_as_they_are() -> None:
    assert (TARGET.predicted(OUTPUT) == OUTPUT).all()


def calibration_error(chances: Values, happened: Values) -> float:
    """The expected calibration error in ten bins of equal width (Naeini et al. 2015)."""
    places = np.minimum((chances * 10).astype(int), 9)
    return sum(
        abs(float(chances[places == place].sum() - happened[places == place].sum()))
        for place in range(10)
    ) / len(chances)


@pytest.mark.parametrize(("part", "most"), [("validation", 0.06), ("test", 0.085)])
def test_what_is_called_a_probability_is_one(
    prepared: Path, trained: Path, use_case: UseCase, part: str, most: float
) -> None:
    """On the sample's first half-year: .029 of the validation data, .068 of the test data.

    The latter is June, which had more late flights than any month before (31 % after 24 %), and no
    model knew: of records drawn at random from all months it is .009.
    """
    table = tables.read(prepared / part)
    output = Model.load(trained / "model").predict(table.select(use_case.features.names).to_dict())
    assert calibration_error(output, table[use_case.target.column].to_numpy()) < most
