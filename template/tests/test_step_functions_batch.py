"""The state machine of the batch workflow, run as Step Functions would run it."""

import json
from pathlib import Path

import pytest
from support.simulated_step_functions import (
    ACCOUNT,
    BUCKET,
    FUNCTION,
    SETTINGS,
    Run,
    Services,
    StateError,
    language_errors,
    unguarded,
)

from workflows import names
from workflows.step_functions import batch

DEFINITION = batch.definition(SETTINGS, f"{FUNCTION}:inputs", f"{FUNCTION}:rejections")
APPROVED = {
    "version": "3",
    "model": f"{names.PROJECT}-3-20260131120000000",
    "image": f"{ACCOUNT}.dkr.ecr.{names.REGION}.amazonaws.com/repository:of-version-3",
    "start": "2026-01-31",
    "end": "newest",
}
COUNTS = {"predictions": 5, "rejected": 0}
FOLDER = f"s3://{BUCKET}/batch/execution-1"


@pytest.fixture
def services() -> Services:
    found = Services()
    found.results = {
        "BatchInputs": {"Payload": APPROVED},
        "ReadSelection": {"Body": json.dumps({"records": 5})},
        "Rejections": {"Payload": COUNTS},
    }
    return found


def score(services: Services, **given: str) -> Run:
    run = Run(DEFINITION, services)
    run.run(given)
    return run


def test_validator_of_the_language_finds_nothing(tmp_path: Path) -> None:
    assert language_errors(DEFINITION, tmp_path) == ""


def test_what_can_pass_is_tried_again_and_every_failure_is_caught() -> None:
    assert unguarded(DEFINITION) == []


def test_records_are_selected_scored_collected_and_counted(services: Services) -> None:
    run = Run(DEFINITION, services)
    assert run.run() == COUNTS
    assert run.names == [
        *("Parameters", "BatchInputs", "Select", "ReadSelection", "AnyRecords", "Transform"),
        *("Collect", "Rejections"),
    ]


def test_without_records_nothing_is_scored(services: Services) -> None:
    services.results["ReadSelection"] = {"Body": json.dumps({"records": 0})}
    assert score(services).names[-2:] == ["AnyRecords", "Rejections"]


def test_days_can_be_given(services: Services) -> None:
    asked = score(services).requests["BatchInputs"]["Payload"]
    assert asked == {"start": "auto", "end": "auto"}
    given = score(services, Start="2026-01-01", End="2026-01-02").requests["BatchInputs"]["Payload"]
    assert given == {"start": "2026-01-01", "end": "2026-01-02"}


def test_one_step_reads_what_the_other_has_written(services: Services) -> None:
    requests = score(services).requests
    assert requests["ReadSelection"] == {
        "Bucket": BUCKET,
        "Key": "batch/execution-1/selection/selection.json",
    }
    source = requests["Transform"]["TransformInput"]["DataSource"]["S3DataSource"]
    assert source["S3Uri"] == f"{FOLDER}/records"
    inputs = {i["InputName"]: i["S3Input"] for i in requests["Collect"]["ProcessingInputs"]}
    answered = requests["Transform"]["TransformOutput"]["S3OutputPath"]
    assert inputs["transformed"]["S3Uri"] == answered == f"{FOLDER}/transformed"
    assert inputs["selection"]["S3Uri"] == f"{FOLDER}/selection"
    expected = {"report": f"{FOLDER}/report", "version": APPROVED["version"]}
    assert requests["Rejections"]["Payload"] == expected


def test_version_that_predicts_brings_its_own_image(services: Services) -> None:
    requests = score(services).requests
    assert requests["Transform"]["ModelName"] == APPROVED["model"]
    for state in ("Select", "Collect"):
        assert requests[state]["AppSpecification"]["ImageUri"] == APPROVED["image"]
        assert requests[state]["Environment"]["MODEL_VERSION"] == APPROVED["version"]


@pytest.mark.parametrize("state", ["BatchInputs", "Select", "Transform", "Collect", "Rejections"])
def test_failure_fails_the_execution_with_its_reason(services: Services, state: str) -> None:
    told = json.dumps({"TransformJobName": "job-1", "FailureReason": "ClientError: no model"})
    services.failures[state] = [StateError("States.TaskFailed", told)]
    with pytest.raises(StateError) as raised:
        score(services)
    assert str(raised.value) == f"StateFailed: {state}: ClientError: no model (job-1)"
