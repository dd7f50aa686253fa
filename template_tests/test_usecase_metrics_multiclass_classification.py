"""The metrics of multiclass classification against scikit-learn and AWS's documented example.

scikit-learn's values (version 1.9.1) for `rows()` are written down: confusion_matrix,
accuracy_score; recall_score, precision_score and fbeta_score with average="weighted" and
zero_division=0; *_best_constant_classifier of the most frequent class; roc_auc_score and
calibration_curve(strategy="quantile", n_bins=10) of one class against the others.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from support.examples import OUTPUT, PREDICTIONS, TARGET, WRONG_TARGETS

from usecase import config, metrics, page, tables
from usecase.config import ConfigError, UseCase
from usecase.errors import UseCaseError
from usecase.model import Model
from usecase.problem.multiclass_classification import METRICS, PREDICTION, Target

Values = npt.NDArray[Any]

SECTION = "multiclass_classification_metrics"
CLASSES = ("red", "green", "blue", "grey")
METRIC_TARGET = Target("y", CLASSES)
TOML_WEIGHTS = "decision_weights = "
Case = tuple[int, float, tuple[float, ...]]

# (rows, agreement, shares) -> confusion matrix, values
SCIKIT_LEARN: dict[Case, tuple[list[list[int]], dict[str, float]]] = {
    (500, 0.5, (0.25, 0.25, 0.25, 0.25)): (
        [[74, 17, 16, 18], [15, 77, 15, 18], [16, 18, 74, 17], [16, 17, 15, 77]],
        {
            "accuracy": 0.604,
            "weighted_recall": 0.604,
            "weighted_precision": 0.6043609579286112,
            "weighted_f0_5": 0.6041617159687851,
            "weighted_f1": 0.603982107534775,
            "weighted_f2": 0.6039452950186387,
            "accuracy_best_constant_classifier": 0.25,
            "weighted_precision_best_constant_classifier": 0.0625,
            "weighted_f1_best_constant_classifier": 0.1,
        },
    ),
    (1000, 0.2, (0.9, 0.05, 0.04, 0.01)): (
        [[832, 35, 29, 5], [33, 13, 3, 0], [32, 0, 8, 0], [5, 2, 0, 3]],
        {
            "accuracy": 0.856,
            "weighted_recall": 0.856,
            "weighted_precision": 0.8555676053215077,
            "weighted_f0_5": 0.8556245138333011,
            "weighted_f1": 0.855740567068354,
            "weighted_f2": 0.8558875117729208,
            "accuracy_best_constant_classifier": 0.901,
            "weighted_precision_best_constant_classifier": 0.811801,
            "weighted_f0_5_best_constant_classifier": 0.8281993470720261,
            "weighted_f1_best_constant_classifier": 0.8540778537611783,
            "weighted_f2_best_constant_classifier": 0.8816257602085144,
        },
    ),
    (300, 0.7, (0.5, 0.3, 0.2)): (
        [[124, 16, 9, 0], [15, 72, 4, 0], [11, 6, 43, 0], [0, 0, 0, 0]],
        {
            "accuracy": 0.7966666666666666,
            "weighted_recall": 0.7966666666666666,
            "weighted_precision": 0.7964896318811213,
            "weighted_f0_5": 0.7963673728550066,
            "weighted_f1": 0.7963349177801953,
            "weighted_f2": 0.7964774850713832,
            "accuracy_best_constant_classifier": 0.49666666666666665,
            "weighted_precision_best_constant_classifier": 0.24667777777777777,
            "weighted_f1_best_constant_classifier": 0.3296362286562732,
        },
    ),
}


def rows(count: int, agreement: float, shares: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted classes, the same in a share of the rows and by chance."""
    i = np.arange(count)
    bounds = np.cumsum(shares)
    truth = np.searchsorted(bounds, (i * 7919 % 1009) / 1009, side="right")
    other = np.searchsorted(bounds, (i * 104729 % 997) / 997, side="right")
    said = np.where(i * 6151 % 991 < agreement * 991, truth, other)
    names = np.array(CLASSES)
    return names[truth], names[said]


@pytest.mark.parametrize("case", SCIKIT_LEARN)
def test_values_are_scikit_learns(case: Case) -> None:
    matrix, expected = SCIKIT_LEARN[case]
    found = metrics.statistics(*rows(*case), METRIC_TARGET)[SECTION]
    assert list(found["confusion_matrix"]) == list(CLASSES)
    for name, row in zip(CLASSES, matrix, strict=True):
        assert found["confusion_matrix"][name] == dict(zip(CLASSES, row, strict=True))
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_charts_are_scikit_learns() -> None:
    labels, said = rows(500, 0.5, (0.25, 0.25, 0.25, 0.25))
    places = np.arange(500)
    noise = (places[:, None] * np.array([3571, 7919, 104729, 6151]) % 997) / 997
    output = 0.1 + noise + 0.5 * (said[:, None] == np.array(CLASSES))
    output /= output.sum(axis=1, keepdims=True)
    charts = {chart["title"]: chart for chart in metrics.charts(labels, output, METRIC_TARGET)}
    assert [title for title in charts if "ROC" in title] == [
        *("red: ROC curve, area 0.693", "green: ROC curve, area 0.708"),
        *("blue: ROC curve, area 0.685", "grey: ROC curve, area 0.735"),
    ]
    predicted = [0.0610550, 0.103230, 0.140034, 0.178029, 0.219120]
    predicted += [0.259796, 0.295904, 0.334648, 0.385293, 0.476226]
    true = [0.18, 0.14, 0.16, 0.1, 0.1, 0.22, 0.28, 0.38, 0.4, 0.54]
    found = np.array(charts["blue: calibration"]["lines"][0]["points"])
    assert found == pytest.approx(np.column_stack([predicted, true]), rel=1e-5)


@pytest.mark.parametrize("count", [2, 20, 40])
def test_charts_of_the_most_frequent_classes(count: int) -> None:
    """One class is never there: of it there is no curve, nor an error."""
    target = Target("y", tuple(f"class {number}" for number in range(count)))
    labels = np.array([target.classes[row % (count - 1)] for row in range(1000)])
    output = np.full((1000, count), 1 / count)
    titles = [chart["title"] for chart in metrics.charts(labels, output, target)]
    assert len([title for title in titles if "calibration" in title]) == min(count, 24)
    assert len([title for title in titles if "ROC" in title]) == min(count - 1, 24) * (count > 2)
    found = page.confusion(metrics.statistics(labels, labels, target)[SECTION]["confusion_matrix"])
    assert found.count("<td") == (count + 1) ** 2 - 1


def test_the_documented_example() -> None:
    """The multiclass example of model-monitor-model-quality-metrics.html.

    But for the best constant classifier, which says the rarer class there.
    """
    labels = np.repeat(["0", "0", "1", "1"], [1180, 510, 268, 138])
    predictions = np.repeat(["0", "1", "0", "1"], [1180, 510, 268, 138])
    found = metrics.statistics(labels, predictions, Target("y", ("0", "1")))[SECTION]
    assert found["confusion_matrix"] == {"0": {"0": 1180, "1": 510}, "1": {"0": 268, "1": 138}}
    documented = {
        "accuracy": 0.6288167938931297,
        "weighted_recall": 0.6288167938931297,
        "weighted_precision": 0.6983172269629505,
        "weighted_f0_5": 0.6803947317178771,
        "weighted_f1": 0.6571162346664904,
        "weighted_f2": 0.6384024354394601,
    }
    assert {name: found[name]["value"] for name in METRICS} == pytest.approx(documented, rel=1e-12)


def test_standard_deviations_need_200_samples() -> None:
    labels, predictions = rows(200, 0.5, (0.5, 0.3, 0.2))
    enough = metrics.statistics(labels, predictions, METRIC_TARGET)[SECTION]["accuracy"]
    few = metrics.statistics(labels[:199], predictions[:199], METRIC_TARGET)[SECTION]["accuracy"]
    assert few["standard_deviation"] == "NaN"
    # Of the mean of a sample of 80 % of 200, drawn without replacement.
    theory = math.sqrt(enough["value"] * (1 - enough["value"]) / 160 * (1 - 0.8))
    assert 0.3 < enough["standard_deviation"] / theory < 2


def test_a_class_that_is_no_longer_one_is_wrong() -> None:
    """What a version with other classes has answered stays in the captures."""
    found = metrics.statistics(["red", "red"], ["red", "violet"], METRIC_TARGET)
    matrix = found[SECTION]["confusion_matrix"]
    assert matrix["red"] == {"red": 1, "green": 0, "blue": 0, "grey": 0, "violet": 1}
    assert found[SECTION]["accuracy"]["value"] == 0.5
    json.dumps(found, allow_nan=False)


def test_constraints_allow_what_is_tolerated() -> None:
    case = (300, 0.7, (0.5, 0.3, 0.2))
    measured = metrics.statistics(*rows(*case), METRIC_TARGET)
    expected = {
        name: {
            "threshold": pytest.approx(0.9 * SCIKIT_LEARN[case][1][name]),
            "comparison_operator": "LessThanThreshold",
        }
        for name in ("accuracy", "weighted_f1")
    }
    found = metrics.constraints(measured, expected, 0.1)
    assert found == {"multiclass_classification_constraints": expected}


def test_a_summary_has_the_metrics_that_can_be_watched() -> None:
    case = (300, 0.7, (0.5, 0.3, 0.2))
    summary = metrics.summary(*rows(*case), METRIC_TARGET)
    assert list(summary) == list(METRICS)
    assert summary == pytest.approx({name: SCIKIT_LEARN[case][1][name] for name in METRICS})


# What the target may be, and what becomes of the model's output.


def test_classes_become_text() -> None:
    for dtype in (pl.String, pl.Categorical, pl.Enum(TARGET.classes)):
        found = TARGET.clean(pl.Series("state", ["bad", "good"], dtype=dtype), "labels")
        assert found.to_list() == ["bad", "good"]
        assert found.dtype == pl.String
    codes = Target("state", ("0", "1"))
    assert codes.clean(pl.Series("state", [1, 0]), "labels").to_list() == ["1", "0"]


@pytest.mark.parametrize(
    ("value", "message"), [*WRONG_TARGETS, (["bad"], "is List"), ("Bad", "has the value 'Bad'")]
)
def test_anything_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(UseCaseError, match=f"^labels: target state {message}"):
        TARGET.clean(pl.Series("state", [value]), "labels")


def test_an_empty_value_is_refused() -> None:
    with pytest.raises(UseCaseError, match="train: target state is empty in 1 of 2 rows"):
        TARGET.clean(pl.Series("state", ["bad", None]), "train")


def test_all_classes_are_needed() -> None:
    TARGET.check(pl.Series("state", ["bad", "good", "so, so"]), "train")
    with pytest.raises(UseCaseError, match="train: target state is never so, so in 2 rows"):
        TARGET.check(pl.Series("state", ["bad", "good"]), "train")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "classes: are empty; name two or more"),
        (("a",), "classes: are a; name two or more"),
        (("a", "b", "a"), "classes: are a, b, a; name two or more, each once"),
        (("a", " b"), "classes: ' b' is empty or has spaces around it"),
        (("a", ""), "classes: '' is empty or has spaces around it"),
    ],
)
def test_classes_that_are_none(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target("state", classes)


def test_the_likeliest_class_is_measured() -> None:
    assert TARGET.predicted(OUTPUT) == PREDICTIONS


def test_decision_weights_change_the_class_and_no_probability() -> None:
    weighted = replace(TARGET, decision_weights=(1.0, 1.0, 1.5))
    assert weighted.predicted(OUTPUT) == [*PREDICTIONS[:3], "bad"]
    before, after = TARGET.answers(OUTPUT), weighted.answers(OUTPUT)
    assert after.pop(PREDICTION) != before.pop(PREDICTION)
    assert after == before


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0, 2.0), "decision_weights: are 2, must be 3, one for each of target.classes"),
        ((1.0, 0.0, 2.0), "decision_weights: has 0.0, must be positive numbers"),
        ((1.0, -1.0, 2.0), "decision_weights: has -1.0, must be"),
        ((1.0, math.inf, 2.0), "decision_weights: has inf, must be"),
        ((1.0, math.nan, 2.0), "decision_weights: has nan, must be"),
    ],
)
def test_decision_weights_that_are_none(weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TARGET, decision_weights=weights)


def test_decision_weights_are_read(tmp_path: Path) -> None:
    path = tmp_path / "usecase.toml"
    text = Path("usecase.toml").read_text()
    path.write_text(text.replace(f"{TOML_WEIGHTS}[", f"{TOML_WEIGHTS}[7, "))
    with pytest.raises(ConfigError, match=r"target\.decision_weights: are \d+, must be \d+"):
        config.load(path)
    path.write_text(text.replace(f"{TOML_WEIGHTS}[", f'{TOML_WEIGHTS}["a", '))
    with pytest.raises(ConfigError, match="decision_weights: is 'a', must be a list of numbers"):
        config.load(path)


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
    """The largest error of a class.

    On the sample's first half-year, by class: .009, .006, .012 of the validation data, .067, .017,
    .059 of the test data. When rare classes weighed more in the training it was .162, .089, .073
    and .102, .077, .024. What is left of the test data's is June, which had more late flights than
    any month before (31 % after 24 %), and no model knew.
    """
    table = tables.read(prepared / part)
    output = Model.load(trained / "model").predict(table.select(use_case.features.names).to_dict())
    assert output.sum(axis=1) == pytest.approx(1, abs=1e-5)
    true = table[use_case.target.column]
    errors = [
        calibration_error(output[:, place], (true == name).to_numpy())
        for place, name in enumerate(use_case.target.classes)
    ]
    assert max(errors) < most
