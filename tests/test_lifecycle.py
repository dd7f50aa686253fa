"""The whole life of a project with default answers, and what must go wrong in a good way."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import conftest, life, template

pytestmark = pytest.mark.slow

PARTS = ("base", "training", "serving", "monitoring")


@pytest.fixture(scope="module")
def lived(repository: Path) -> Iterator[life.Life]:
    """What `make demo` does in a fresh clone."""
    demo = repository / "build" / "demo"
    try:
        yield life.lived(demo, template.run(["make", "demo", "LOCAL=--keep"], repository))
    finally:
        if demo.exists():
            life.end(demo)


def endpoint(lived: life.Life) -> dict[str, Any]:
    found: dict[str, Any] = lived.client("sagemaker").describe_endpoint(EndpointName=lived.slug)
    return {key: value for key, value in found.items() if key != "ResponseMetadata"}


def test_second_version_serves(lived: life.Life) -> None:
    first, second = lived.result["model_versions"]
    assert (first["version"], second["version"]) == (1, 2)
    assert first["approval"] == second["approval"] == "Approved"
    assert 0.6 < first["metrics"]["auc"] < 1
    assert 0.6 < second["metrics"]["auc"] < 1
    assert lived.result["serving_version"] == 2
    assert endpoint(lived)["EndpointStatus"] == "InService"


def test_drift_has_started_the_retraining_once(lived: life.Life) -> None:
    assert lived.result["retraining"]["started_by"] == "drift"
    assert lived.result["retraining"]["status"] == "succeeded"
    sagemaker = lived.client("sagemaker")
    executions = sagemaker.list_pipeline_executions(PipelineName=f"{lived.slug}-training")
    started = [
        parameter["Value"]
        for execution in executions["PipelineExecutionSummaries"]
        for parameter in sagemaker.list_pipeline_parameters_for_execution(
            PipelineExecutionArn=execution["PipelineExecutionArn"]
        )["PipelineParameters"]
        if parameter["Name"] == "Trigger"
    ]
    assert started.count("drift") == 1
    assert started.count("new_data") == 1


def test_every_request_was_answered(lived: life.Life) -> None:
    assert lived.result["predictions"] >= 3000
    assert lived.result["failed_predictions"] == 0


def test_september_is_seen_as_drift(lived: life.Life) -> None:
    monitors = lived.result["monitors"]
    assert set(monitors) == set(lived.result["answers"]["monitors"])
    assert monitors["model_quality"]["violations"]
    alarms = lived.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert any(alarm["StateValue"] == "ALARM" for alarm in alarms)


def test_predictions_can_be_counted_as_documented(lived: life.Life) -> None:
    """Those that the monitors have judged, of two months; each is there once."""
    assert lived.counted("2000-01-01", "2099-12-31") == {"1": 2 * 1500}


def test_people_are_told(lived: life.Life, tmp_path: Path) -> None:
    # Two versions that wait, two deployments, one alarm at least.
    assert lived.result["notifications"] >= 5
    s3, command = lived.client("s3"), "ops models report 2"
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    (bucket,) = (name for name in buckets if name.startswith(f"{lived.slug}-"))
    kept = s3.list_objects_v2(Bucket=bucket, Prefix="notifications/")["Contents"]
    mails = [s3.get_object(Bucket=bucket, Key=mail["Key"])["Body"].read().decode() for mail in kept]
    assert len([mail for mail in mails if command in mail]) == 1
    page = tmp_path / "report.html"
    lived.ops(*command.split()[1:], "--output", str(page))
    execution = lived.result["retraining"]["execution"].rpartition("/")[2]
    for words in ("Version 2. Evaluation: late", execution, "By origin"):
        assert words in page.read_text()


def test_summary_is_complete(lived: life.Life) -> None:
    seconds = lived.result["seconds"]
    assert seconds["total"] == pytest.approx(
        sum(v for k, v in seconds.items() if k != "total"), abs=1
    )
    assert lived.result["answers"]["orchestrator"] == "sagemaker_pipelines"
    assert set(lived.result) >= {"answers", "model_versions", "serving_version", "dashboard_url"}
    assert "lifecycle.json" in lived.output


def test_operations_from_the_command_line(lived: life.Life) -> None:
    listed = lived.ops("models", "list")
    assert listed.count("Approved") == 2
    assert "auc" in lived.ops("models", "compare", "1", "2")


def test_json_lines_from_the_command_line(lived: life.Life, tmp_path: Path) -> None:
    use_case = tomllib.loads((lived.project / "usecase.toml").read_text())
    features = use_case["features"]["numeric"] + use_case["features"]["categorical"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(2 * (json.dumps(dict.fromkeys(features)) + "\n"))
    answers = [json.loads(line) for line in lived.ops("invoke", str(rows)).splitlines()]
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert 0 < answers[0]["probability"] < 1


def test_look_ups_that_have_aged_are_told(lived: life.Life) -> None:
    """All else is as the data mart has it, by way of requests, captures and the table."""
    told = lived.ops("skew", "1")
    assert "3000 predictions compared" in told
    assert "route_delay" in told
    assert not {"hour", "weekday", "distance", "visibility", "carrier"} & set(told.split())


def test_label_of_an_unknown_prediction_is_refused(lived: life.Life, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("flight_id,late\nno-such-flight,1\n")
    with pytest.raises(AssertionError, match="no-such-flight"):
        lived.ops("labels", str(truth))


def test_bad_request_is_refused_and_the_endpoint_goes_on(lived: life.Life) -> None:
    runtime = lived.client("sagemaker-runtime")
    for content_type, body, message in [
        ("text/csv", b"1,2\n", "fields"),
        ("application/json", b'{"instances": [{"hour": "noon"}]}', "row 1, field"),
        ("application/jsonlines", b'{"hour": "noon"}\n', "row 1, field"),
        ("text/plain", b"hello", "Content-Type must be"),
    ]:
        with pytest.raises(ClientError, match=message) as error:
            runtime.invoke_endpoint(EndpointName=lived.slug, ContentType=content_type, Body=body)
        assert error.value.response["Error"]["Code"] == "ModelError"
        assert 400 <= error.value.response["OriginalStatusCode"] < 500
    assert endpoint(lived)["EndpointStatus"] == "InService"


@pytest.mark.exhaustive
def test_life_in_an_environment_beside_another(repository: Path, tmp_path: Path) -> None:
    """The project's whole life as `dev`; then it comes and goes without an environment."""
    project = conftest.make_project(repository, tmp_path / "project")
    dev = {"USECASE_ENVIRONMENT": "dev"}
    try:
        output = template.run([*life.COMMAND, "--keep"], project, life.STRICT | dev)
        lived = life.lived(project, output)
        assert lived.result["serving_version"] == 2
        deploy = ["uv", "run", "poe", "deploy", "--require-approval", "never"]
        template.run(deploy, project, lived.environment)
        stays = f"{lived.slug}-base"
        theirs = [f"{lived.slug}-dev-{part}" for part in PARTS]
        assert stacks(lived) == sorted([*theirs, *(f"{lived.slug}-{part}" for part in PARTS)])
        lived.ops("destroy", "--yes")
        assert stacks(lived) == sorted([*theirs, stays])
        listed = template.run(
            ["uv", "run", "ops", "models", "list"], project, lived.environment | dev
        )
        assert listed.count("serving") == 1
        sagemaker = lived.client("sagemaker")
        (left,) = sagemaker.list_endpoints()["Endpoints"]
        assert (left["EndpointName"], left["EndpointStatus"]) == (f"{lived.slug}-dev", "InService")
    finally:
        life.end(project)


def stacks(lived: life.Life) -> list[str]:
    found = lived.client("cloudformation").describe_stacks()["Stacks"]
    return sorted(s["StackName"] for s in found if s["StackName"].startswith(lived.slug))
