"""The model-quality monitor, as the process that the job runs, on the real server's answers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from captures import event, label, write
from conftest import Server, fail, place, read_json, succeed
from examples import LABELS, UNDEFINED, WRONG_LABELS, worse

from usecase import config, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.monitors import model_quality
from usecase.problem import METRICS
from workflows import names

PREDICTIONS = "processing/input/predictions/1.jsonl"
TRUTH = "processing/input/labels/1.jsonl"
TARGET = config.load().target.column


@pytest.fixture(scope="module")
def rows(prepared: Path) -> pl.DataFrame:
    """The test data."""
    return tables.read(prepared / "test")


@pytest.fixture(scope="module")
def events(rows: pl.DataFrame, server: Server, use_case: UseCase) -> list[dict[str, Any]]:
    """An event for each row, with the server's own answers."""
    body = rows.select(use_case.features.names).write_csv(include_header=False)
    status, _, answer = server.invoke(body)
    assert status == 200
    pairs = zip(body.splitlines(), answer.splitlines(), rows[use_case.data.id], strict=True)
    return [event(sent, answered, name) for sent, answered, name in pairs]


@pytest.fixture
def base(evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /opt/ml, with the evaluation as the baseline."""
    place(evaluation, tmp_path / "processing" / "input" / "baseline")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def same(value: object) -> object:
    return value


def labels(rows: pl.DataFrame, change: Callable[[Any], object] = same) -> list[dict[str, Any]]:
    """A label for each row, made of its true value."""
    return [
        label(name, change(value)) for name, value in rows.select("flight_id", TARGET).iter_rows()
    ]


def report(base: Path, name: str) -> Any:
    return read_json(base / "processing" / "output" / "report" / f"{name}.json")


def test_the_test_data_again(
    rows: pl.DataFrame, events: list[dict[str, Any]], base: Path, evaluation: Path
) -> None:
    write(base / PREDICTIONS, events)
    write(base / TRUTH, labels(rows))
    succeed("model-quality", base)
    ours = report(base, "statistics")[names.QUALITY_METRICS]
    theirs = read_json(evaluation / "statistics.json")[names.QUALITY_METRICS]
    for name in METRICS:
        assert ours[name]["value"] == pytest.approx(theirs[name]["value"], rel=1e-3)
    assert report(base, "constraint_violations") == {"violations": []}
    assert report(base, "constraints") == read_json(evaluation / "constraints.json")
    assert (base / "output" / "message").read_text() == (
        f"Completed: {rows.height} labelled predictions, 0 unlabelled, "
        "0 labels without a prediction"
    )


def test_a_model_that_has_become_worse(
    rows: pl.DataFrame, events: list[dict[str, Any]], base: Path, use_case: UseCase
) -> None:
    write(base / PREDICTIONS, events)
    write(base / TRUTH, labels(rows, worse))
    succeed("model-quality", base)
    violations = report(base, "constraint_violations")["violations"]
    assert use_case.approval.metric in {v["metric_name"] for v in violations}
    for violation in violations:
        operator = METRICS[violation["metric_name"]]
        assert violation["constraint_check_type"] == operator
        assert violation["metric_name"] in use_case.monitors.model_quality.metrics
        assert re.fullmatch(
            rf"Metric \w+ with \d+\.\d{{4}} was {operator} \d+\.\d{{4}}", violation["description"]
        )
    message = (base / "output" / "message").read_text()
    assert message.startswith(f"CompletedWithViolations: {len(violations)} violations: ")


def test_what_has_no_partner_is_counted(
    rows: pl.DataFrame, events: list[dict[str, Any]], base: Path, use_case: UseCase
) -> None:
    write(base / PREDICTIONS, events[:250])
    write(base / TRUTH, labels(rows[10:300]))
    model_quality.run(use_case)
    assert report(base, "statistics")["dataset"] == {
        "item_count": 240,
        "unlabelled_predictions": 10,
        "unmatched_labels": 50,
    }


def test_few_labels_are_not_judged(
    rows: pl.DataFrame, events: list[dict[str, Any]], base: Path, use_case: UseCase
) -> None:
    write(base / PREDICTIONS, events[:199])
    write(base / TRUTH, labels(rows[:199], worse))
    model_quality.run(use_case)
    assert "fewer than 200 are not judged" in (base / "output" / "message").read_text()
    assert report(base, "constraint_violations") == {"violations": []}
    write(base / PREDICTIONS, [])
    write(base / TRUTH, [])
    model_quality.run(use_case)
    assert report(base, "statistics")["dataset"]["item_count"] == 0


def test_labels_that_are_all_the_same(
    rows: pl.DataFrame, events: list[dict[str, Any]], base: Path, use_case: UseCase
) -> None:
    write(base / PREDICTIONS, events[:300])
    write(base / TRUTH, labels(rows[:300], lambda _: LABELS[1]))
    model_quality.run(use_case)
    found = report(base, "statistics")[names.QUALITY_METRICS]
    assert [name for name in METRICS if found[name]["value"] == "NaN"] == UNDEFINED
    violations = report(base, "constraint_violations")["violations"]
    assert not {v["metric_name"] for v in violations} & {*UNDEFINED}


def test_labels_that_are_none(base: Path, use_case: UseCase) -> None:
    for text, message in WRONG_LABELS:
        write(base / TRUTH, [label("one", LABELS[1]), label("two", text)])
        with pytest.raises(UseCaseError, match=f"^labels: .*{re.escape(message)}"):
            model_quality.run(use_case)
    assert message in fail("model-quality", base)


def test_merging(tmp_path: Path, use_case: UseCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    write(tmp_path / "processing/input/labels/2026/01/15/12/b.jsonl", [label("one", LABELS[0])])
    write(tmp_path / "processing/input/labels/2026/01/15/13/a.jsonl", [label("one", LABELS[1])])
    truth = model_quality.read_labels(use_case)
    assert truth.rows() == [("one", LABELS[1])]  # the later label corrects the earlier one
    predictions = pl.DataFrame(
        {
            "inference_id": ["one", "many", "many", "one"],
            "time": [1, 2, 2, 3],
            "row": [0, 0, 1, 0],
            "prediction": [0.1, 0.2, 0.3, 0.4],
        }
    )
    truth = pl.concat([truth, pl.DataFrame({"inference_id": ["many"], TARGET: [LABELS[0]]})])
    merged = model_quality.merge(predictions, truth)
    assert merged.select("inference_id", "prediction", TARGET).rows() == [("one", 0.4, LABELS[1])]


def test_constraints_of_both_directions() -> None:
    statistics = {
        "version": 0.0,
        "dataset": {},
        "x_metrics": {"good": {"value": 0.5}, "bad": {"value": 0.5}, "none": {"value": "NaN"}},
    }

    def found(good: float, bad: float) -> list[str]:
        limits = {
            "good": {"threshold": good, "comparison_operator": "LessThanThreshold"},
            "bad": {"threshold": bad, "comparison_operator": "GreaterThanThreshold"},
            "none": {"threshold": 1, "comparison_operator": "LessThanThreshold"},
        }
        violations = model_quality.check(statistics, {"x_constraints": limits})
        return [violation["metric_name"] for violation in violations]

    assert found(0.5, 0.5) == []
    assert found(0.6, 0.5) == ["good"]
    assert found(0.4, 0.4) == ["bad"]


def test_no_baseline(base: Path, use_case: UseCase) -> None:
    path = base / "processing" / "input" / "baseline" / "constraints.json"
    path.write_text(json.dumps([]))
    with pytest.raises(UseCaseError, match="is not a JSON object"):
        model_quality.run(use_case)
    path.unlink()
    with pytest.raises(UseCaseError, match=r"constraints.json: cannot be read"):
        model_quality.run(use_case)
