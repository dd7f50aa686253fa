"""The local AWS's stand-in for Model Monitor's image finds what a project's own monitors find."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests import template

pytestmark = pytest.mark.slow

CAPTURED = {"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}
MERGED = {"sagemakerMergeJson": {"captureIndexNames": ["endpointOutput"]}}


@pytest.fixture(scope="module")
def folder(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `monitored.py` writes."""
    folder = tmp_path_factory.mktemp("monitored")
    script = Path(__file__).with_name("monitored.py")
    template.run(
        ["uv", "run", "python", "-P", script, folder], project, {"PYTHONPATH": str(project)}
    )
    return folder


def analyse(folder: Path, name: str, source: Path, **settings: str) -> Path:
    """Run the analyzer as its container is run; return the folder of its reports."""
    output = folder / "analyzer" / name
    environment = {
        "SAGEMAKER_BASE_DIR": str(folder / "analyzer" / f"ml-{name}"),
        "dataset_source": str(source),
        "output_path": str(output),
        **settings,
    }
    command = ["uv", "run", "--quiet", "--no-dev", "python", "-I", "-m", "local_aws.analyzer"]
    template.run(command, template.ROOT / "local_aws", environment)
    return output


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def differences(one: object, other: object, place: str = "") -> list[str]:
    """Where two JSON documents differ by more than the rounding of sums."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        pairs = [(one.get(key), other.get(key), f"{place}.{key}") for key in keys]
        return [found for pair in pairs for found in differences(*pair)]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(a, b, f"{place}[{n}]") for n, (a, b) in enumerate(zip(one, other, strict=True))]
        return [found for pair in pairs for found in differences(*pair)]
    if isinstance(one, float | int) and isinstance(other, float | int):
        same = math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    else:
        same = one == other
    return [] if same else [f"{place}: {one} and {other}"]


def test_the_baseline_is_the_same(folder: Path) -> None:
    (folder / "train").mkdir()
    (folder / "train.csv").rename(folder / "train" / "train.csv")
    made = analyse(folder, "baseline", folder / "train", dataset_format='{"csv": {"header": true}}')
    own = folder / "own" / "baseline"
    assert differences(read(made, "statistics"), read(own, "statistics")) == []
    # The thresholds are the project's to choose.
    features = [read(place, "constraints")["features"] for place in (made, own)]
    assert differences(*features) == []


UNLIKE = {
    ("distance", "data_type_check"),
    ("distance", "baseline_drift_check"),
    ("carrier", "categorical_values_check"),
    ("visibility", "completeness_check"),
}
FURTHER = {"non_negative_check", "range_check", "sentinel_check"}
"""Checks that Model Monitor does not have."""


@pytest.mark.parametrize("day", ["", "-day"])
@pytest.mark.parametrize(("name", "checks"), [("like", set()), ("unlike", UNLIKE)])
def test_the_quality_of_data_is_judged_the_same(
    folder: Path, name: str, day: str, checks: set[tuple[str, str]]
) -> None:
    """The constraints of a report are those that hold for its window, in Model Monitor's format."""
    own, baseline = folder / "own" / f"{name}{day}", folder / "own" / "baseline"
    made = analyse(
        folder,
        f"{name}{day}",
        folder / f"capture-{name}",
        dataset_format=json.dumps(CAPTURED),
        baseline_constraints=str(own / "constraints.json"),
        baseline_statistics=str(baseline / "statistics.json"),
        start_time="2026-01-15T12:00:00Z",
        end_time="2026-01-15T13:00:00Z",
    )
    assert differences(read(made, "statistics"), read(own, "statistics")) == []
    theirs, ours = (read(place, "constraint_violations")["violations"] for place in (made, own))
    assert theirs == [each for each in ours if each["constraint_check_type"] not in FURTHER]
    # Of carriers a day of the training data has less noise than the general threshold allows.
    expected = checks | ({("carrier", "baseline_drift_check")} if checks and day else set())
    assert {(each["feature_name"], each["constraint_check_type"]) for each in theirs} == expected


def test_the_quality_of_predictions_is_judged_the_same(folder: Path) -> None:
    own = folder / "own" / "model"
    merged = analyse(
        folder, "merge", folder / "capture-like", ground_truth_source=str(folder / "labels")
    )
    made = analyse(
        folder,
        "model",
        merged,
        analysis_type="MODEL_QUALITY",
        dataset_format=json.dumps(MERGED),
        problem_type="BinaryClassification",
        probability_attribute="0",
        probability_threshold_attribute=(folder / "threshold").read_text(),
        baseline_constraints=str(folder / "limits" / "constraints.json"),
    )
    metrics = [read(place, "statistics")["binary_classification_metrics"] for place in (made, own)]
    # Of random samples.
    for measured in metrics:
        for metric in measured.values():
            metric.pop("standard_deviation", None)
    assert differences(*metrics) == []
    found = [read(place, "constraint_violations")["violations"] for place in (made, own)]
    assert found[0] == found[1]
    assert [each["metric_name"] for each in found[0]] == ["precision"]
