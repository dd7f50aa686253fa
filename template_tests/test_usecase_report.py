"""The report of an evaluation: evaluation.json, and the page that shows the same."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy.stats import bootstrap
from support.examples import LABELS, UNDEFINED, right
from support.image import read_json
from support.page import Page

from usecase import config, evaluate, metrics, model, page, report, tables
from usecase.config import UseCase
from usecase.facets import Facet
from workflows import names

HOSTILE = "</td><script>alert(1)</script>&amp;"
TARGET, METRIC = config.load().target, config.load().approval.metric


class Judged(NamedTuple):
    """A model on its test data."""

    trained: model.Model
    table: pl.DataFrame
    labels: npt.NDArray[Any]
    output: npt.NDArray[Any]
    predictions: npt.NDArray[Any]


@pytest.fixture(scope="module")
def judged(trained: Path, prepared: Path, use_case: UseCase) -> Judged:
    loaded, table = model.Model.load(trained / "model"), tables.read(prepared / "test")
    labels, output = evaluate.answered(loaded, table, use_case)
    return Judged(loaded, table, labels, output, np.asarray(TARGET.predicted(output)))


def test_the_page_shows_the_evaluation(evaluation: Path, use_case: UseCase) -> None:
    found = read_json(evaluation / "evaluation.json")
    statistics = read_json(evaluation / "statistics.json")
    shown = Page((evaluation / "report.html").read_text())
    for name, entry in found["metrics"].items():
        assert entry["value"] == statistics[names.QUALITY_METRICS][name]["value"]
        assert entry["low"] < entry["value"] < entry["high"]
        assert [name, page.number(entry["value"]), page.interval(entry)] in shown.rows
    rows = statistics["dataset"]["item_count"]
    assert list(found["facets"]) == list(use_case.facets)
    for groups in (found["months"], *found["facets"].values()):
        assert sum(group["rows"] for group in groups) == rows
        for group in groups:
            line = next(line for line in shown.rows if line[0] == page.group(group))
            assert line[1] == page.number(group["rows"])
            if "metrics" in group:
                value = group["metrics"][METRIC]
                assert line[3] == f"{page.number(value['value'])} ({page.interval(value)})"
    for entry in found["importances"]:
        assert [entry["feature"], page.number(entry["mean"]), ""] in shown.rows
    assert {entry["feature"] for entry in found["importances"]} == {*use_case.features.names}
    for chart in found["charts"]:
        assert chart["title"] in shown.text
    for part in ("train", "validation", "test"):
        data = found["data"][part]
        line = [f"{part} data", page.number(data["rows"]), page.span(data)]
        assert line in shown.rows
    assert found["data"]["test"]["rows"] == rows
    assert ["commit", "not on record"] in shown.rows
    assert "polars" in found["libraries"]


def test_the_evaluation_is_that_of_a_training(
    judged: Judged, use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMIT", "0123abc")
    monkeypatch.setenv("EXECUTION", "execution-1")
    found = report.document(*judged[:4], use_case)
    assert (found["commit"], found["execution"]) == ("0123abc", "execution-1")
    assert found == report.document(*judged[:4], use_case)  # to the last digit


def test_intervals_are_those_of_scipy(judged: Judged) -> None:
    labels, predictions = judged.labels[:400], judged.predictions[:400]

    def value(rows: npt.NDArray[np.int64]) -> float:
        return metrics.summary(labels[rows], predictions[rows], TARGET)[METRIC]

    expected = bootstrap(
        [np.arange(400)], value, vectorized=False, n_resamples=1000, method="percentile", rng=1
    ).confidence_interval
    width = expected.high - expected.low
    found = report.intervals(labels, predictions, TARGET)[METRIC]
    assert found["low"] == pytest.approx(expected.low, abs=width / 6)
    assert found["high"] == pytest.approx(expected.high, abs=width / 6)
    # A hundred times the rows tell a tenth as much again, though not all of them are drawn.
    more = report.intervals(np.tile(labels, 100), np.tile(predictions, 100), TARGET)[METRIC]
    assert more["value"] == pytest.approx(found["value"])
    assert more["high"] - more["low"] == pytest.approx(width / 10, rel=0.2)


def test_groups_have_their_own_metrics_and_small_ones_none(judged: Judged) -> None:
    count = len(judged.labels)
    sizes = [report.LEAST_ROWS - 1, report.LEAST_ROWS + 70, report.LEAST_ROWS + 80]
    groups = np.repeat(["few", "b", "a"], sizes).tolist()
    found = report.by_group(
        pl.Series([*groups, *[None] * (count - sum(sizes))]),
        judged.labels,
        judged.predictions,
        TARGET,
    )
    assert {entry["group"] for entry in found} == {None, "a", "b", "few"}
    assert [entry["rows"] for entry in found] == sorted([*sizes, count - sum(sizes)], reverse=True)
    for entry in found:
        chosen = np.array([*groups, *[None] * (count - len(groups))]) == entry["group"]
        if entry["group"] == "few":
            assert "metrics" not in entry
        else:
            own = report.intervals(judged.labels[chosen], judged.predictions[chosen], TARGET)
            assert entry["metrics"] == own


def test_what_facets_part() -> None:
    numbers = Facet(thresholds=(10, 20.5))
    assert numbers.groups(pl.Series([5.0, 10.0, 10.1, 20.5, 21.0, None])).to_list() == [
        *("≤ 10", "≤ 10", "> 10 to 20.5", "> 10 to 20.5", "> 20.5", None)
    ]
    texts = pl.Series(["b", "a", "c", None, "d"])
    listed = Facet(values=("a", "b"))
    assert listed.groups(texts).to_list() == ["b", "a", "all others", None, "all others"]
    assert Facet().groups(texts).to_list() == texts.to_list()


def test_a_thousand_hostile_groups(judged: Judged, evaluation: Path) -> None:
    count = len(judged.labels)
    groups = pl.Series([f"{HOSTILE}{row % 1000 * (row % 3)}" for row in range(count)])
    found = report.by_group(groups, judged.labels, judged.predictions, TARGET)
    assert len(found) == report.MOST_GROUPS + 1
    assert sum(entry["rows"] for entry in found) == count
    document = read_json(evaluation / "evaluation.json") | {"facets": {HOSTILE: found}}
    shown = Page(page.page(document, read_json(evaluation / "statistics.json")))
    assert f"By {HOSTILE}" in shown.text
    others = groups.n_unique() - report.MOST_GROUPS
    assert [
        f"smaller groups: {others}",
        page.number(found[-1]["rows"]),
        "not told apart",
    ] in shown.rows
    few = next(entry for entry in found if entry["rows"] < report.LEAST_ROWS)
    assert [few["group"], str(few["rows"]), "too few rows to judge"] in shown.rows


def test_one_class_and_a_constant_prediction(evaluation: Path) -> None:
    labels = np.array([LABELS[0]] * 100)
    output = right(labels.tolist())
    predictions = np.asarray(TARGET.predicted(output))
    found = report.intervals(labels, predictions, TARGET)
    # Here all labels are the first one; the examples tell what is undefined where all are the last.
    assert [name for name, entry in found.items() if entry["value"] == "NaN"] or not UNDEFINED
    assert not [entry for entry in found.values() if "low" in entry]
    document = read_json(evaluation / "evaluation.json")
    changed = {
        "metrics": found,
        "charts": metrics.charts(labels, output, TARGET),
        "months": report.by_group(pl.Series(["x"] * 100), labels, predictions, TARGET),
        "facets": {},
    }
    shown = Page(page.page(document | changed, metrics.statistics(labels, predictions, TARGET)))
    assert "names no feature to tell groups by" in shown.text
    assert document["charts"][-1]["title"] in shown.text


class OneFeature(model.Model):
    """Is always right, by what one feature says."""

    def __init__(self, feature: str) -> None:
        self.feature = feature

    def predict(self, rows: model.Rows) -> npt.NDArray[Any]:
        return right([LABELS[int(value or 0)] for value in rows[self.feature]])


def test_only_what_the_model_uses_is_important(judged: Judged, use_case: UseCase) -> None:
    name = use_case.features.names[-1]
    bits = np.arange(judged.table.height) % 2
    table = judged.table.with_columns(pl.Series(name, bits))
    labels = np.array([LABELS[bit] for bit in bits])
    first, *others = report.importances(OneFeature(name), table, labels, use_case)
    assert first["feature"] == name
    assert first["mean"] > first["standard_deviation"] > 0
    assert {(entry["mean"], entry["standard_deviation"]) for entry in others} == {(0.0, 0.0)}
