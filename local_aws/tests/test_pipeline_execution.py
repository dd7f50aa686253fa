"""Pipelines that really run: order, branches, failures, stops, and what is told of them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import ROLE, Aws, aws_client, make_service, until
from toy_pipelines import (
    THRESHOLD,
    condition,
    create,
    fail,
    lifecycle,
    notify,
    processing,
    run,
    start,
    steps_of,
    wait,
)

from local_aws.images.containers import start_time
from local_aws.sagemaker.core.texts import shorten


@pytest.fixture
def function(emulator_port: int) -> Iterator[str]:
    """The ARN of a Lambda function that returns what it gets, or fails on wish."""
    code = (
        "def handler(event, context):\n"
        "    if event.get('fail'): raise ValueError('asked to fail')\n"
        "    return {'echo': event.get('text'), 'count': 3, 'good': True, 'rate': 0.5}\n"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", code)
    client = aws_client("lambda", emulator_port)
    name = f"f-{uuid.uuid4().hex[:8]}"
    created = client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": packed.getvalue()},
    )
    yield created["FunctionArn"]
    client.delete_function(FunctionName=name)


def test_a_whole_pipeline_runs(aws: Aws, function: str) -> None:
    create(aws, "whole", *lifecycle(aws, function), Parameters=THRESHOLD)
    execution = start(aws, "whole")
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Succeeded"

    steps = steps_of(aws, execution)
    # What stands in the other branch, or waits for it, is skipped: not listed at all.
    assert set(steps) == {"Evaluate_1", "Train", "Gate", "Register", "Model", "Notify"}
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert all(step["StartTime"] <= step["EndTime"] for step in steps.values())
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "True"}}

    identifier = execution.rpartition("/")[2]
    job = steps["Evaluate_1"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert re.fullmatch(rf"pipelines-{identifier}-Evaluate-1-[A-Za-z0-9]{{10}}", job)
    assert aws.keys(f"{identifier}/") == [f"{identifier}/report/report.json"]

    package = steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    described = aws.sagemaker.describe_model_package(ModelPackageName=package)
    artifact = described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert artifact.endswith("/output/model.tar.gz")
    assert aws.keys(artifact.removeprefix(f"s3://{aws.bucket}/"))
    model = steps["Model"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    container = aws.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]
    assert container["ModelDataUrl"] == artifact

    outputs = steps["Notify"]["Metadata"]["Lambda"]["OutputParameters"]
    assert {output["Name"]: output["Value"] for output in outputs} == {
        "echo": package,
        "count": "3",
        "good": "true",
        "rate": "0.5",
    }


def test_the_other_branch_fails_with_its_message(aws: Aws, function: str) -> None:
    create(aws, "gated", *lifecycle(aws, function), Parameters=THRESHOLD)
    execution = start(aws, "gated", Threshold="0.9")
    ended = wait(aws, execution)
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert ended["FailureReason"].endswith("Step 'TooBad': below 0.9")
    steps = steps_of(aws, execution)
    assert set(steps) == {"Evaluate_1", "Train", "Gate", "TooBad"}
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "False"}}
    assert steps["TooBad"]["StepStatus"] == "Failed"
    assert steps["TooBad"]["Metadata"] == {"Fail": {"ErrorMessage": "below 0.9"}}


def test_conditions_after_another_and_outputs_of_lambda(aws: Aws, function: str) -> None:
    count = {"Get": "Steps.Notify.OutputParameters['count']"}
    first = condition("First", count, 3, [processing("Work", "print(1)")], [fail("TooFew")])
    second = condition("Second", count, 4, [fail("TooMany")], [])
    after = processing("After", "print(1)", DependsOn=["Work"])
    ended, steps = run(aws, notify(function, "x"), first, second | {"DependsOn": ["Work"]}, after)
    assert ended["PipelineExecutionStatus"] == "Succeeded"
    assert set(steps) == {"Notify", "First", "Second", "Work", "After"}


def test_a_lambda_is_not_called_with_a_boolean(aws: Aws, function: str) -> None:
    """What an expression stands for is only known when its step runs."""
    work = processing("Work", "print(1)")
    work["Arguments"]["NetworkConfig"] = {"EnableNetworkIsolation": True}
    told = {"Get": "Steps.Work.NetworkConfig.EnableNetworkIsolation"}
    ended, steps = run(aws, work, notify(function, told))
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert "Argument 'text' of a Lambda step must be a string" in ended["FailureReason"]
    assert steps["Notify"]["StepStatus"] == "Failed"


def test_a_failing_function_fails_the_execution(aws: Aws, function: str) -> None:
    ended, steps = run(aws, notify(function, "x", fail=1))
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert "asked to fail" in ended["FailureReason"]
    assert steps["Notify"]["Metadata"] == {"Lambda": {"Arn": function}}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"OutputName": "other", "OutputType": "String"}, "no output parameter 'other'"),
        ({"OutputName": "echo", "OutputType": "Integer"}, "'echo' must be of type Integer"),
    ],
)
def test_outputs_of_lambda_are_checked(
    aws: Aws, function: str, output: dict[str, str], message: str
) -> None:
    step = notify(function, "x")
    ended, _steps = run(aws, {**step, "OutputParameters": [output]})
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert message in ended["FailureReason"]


def test_a_failed_job_tells_its_reason_and_running_steps_end(aws: Aws) -> None:
    ended, steps = run(
        aws,
        processing("Slow", "import time; time.sleep(1)"),
        processing("Bad", "raise SystemExit('the reason')"),
        processing("AfterSlow", "print(1)", DependsOn=["Slow"]),
    )
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert "Step 'Bad': ClientError: AlgorithmError: the reason" in ended["FailureReason"]
    assert steps["Bad"]["FailureReason"] == (
        "ClientError: AlgorithmError: the reason, exit code: 1"
    )
    assert steps["Slow"]["StepStatus"] == "Succeeded"
    assert "AfterSlow" not in steps


def test_independent_steps_run_at_the_same_time(aws: Aws) -> None:
    sleep = "import time; time.sleep(1)"
    _ended, steps = run(aws, *(processing(f"S{number}", sleep) for number in range(4)))
    last_start = max(step["StartTime"] for step in steps.values())
    assert last_start < min(step["EndTime"] for step in steps.values())


def test_parallelism_is_bounded_when_asked(aws: Aws) -> None:
    create(aws, "narrow", *(processing(f"S{number}", "print(1)") for number in range(3)))
    execution = aws.sagemaker.start_pipeline_execution(
        PipelineName="narrow", ParallelismConfiguration={"MaxParallelExecutionSteps": 1}
    )["PipelineExecutionArn"]
    wait(aws, execution)
    steps = sorted(steps_of(aws, execution).values(), key=lambda step: step["StartTime"])
    assert len(steps) == 3
    assert all(a["EndTime"] <= b["StartTime"] for a, b in pairwise(steps))


def test_an_invalid_request_fails_its_step(aws: Aws) -> None:
    step = processing("Bad", "print(1)")
    step["Arguments"]["RoleArn"] = "not-an-arn"
    ended, steps = run(aws, step)
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert "roleArn" in steps["Bad"]["FailureReason"]


def test_an_expression_without_value_fails_its_step(aws: Aws) -> None:
    first = processing("First", "print(1)")
    ended, steps = run(aws, first, fail("Second", {"Get": "Steps.First.Nothing"}))
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert steps["Second"]["FailureReason"] == (
        "ClientError: Step 'First' has no property 'Nothing'."
    )


def statuses_of(aws: Aws) -> list[str]:
    """What the events of executions said, one after the other."""
    key = "currentPipelineExecutionStatus"
    return [detail[key] for _kind, detail, _resources in aws.events if key in detail]


def test_stop_ends_the_jobs(aws: Aws) -> None:
    slow = processing("Slow", "import time; time.sleep(60)")
    create(aws, "stopped", slow, processing("After", "print(1)", DependsOn=["Slow"]))
    execution = start(aws, "stopped")
    until(lambda: "Metadata" in steps_of(aws, execution).get("Slow", {}))
    job = steps_of(aws, execution)["Slow"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Stopped"
    steps = steps_of(aws, execution)
    assert set(steps) == {"Slow"}
    assert steps["Slow"]["StepStatus"] == "Stopped"
    assert aws.wait("Processing", job)["ProcessingJobStatus"] == "Stopped"
    until(lambda: statuses_of(aws) == ["Executing", "Stopping", "Stopped"])
    told = [detail for _kind, detail, _resources in aws.events]
    assert [d["currentStepStatus"] for d in told if "stepName" in d] == [
        "Starting",
        "Executing",
        "Stopping",
        "Stopped",
    ]
    # Stopping again changes nothing; what has ended otherwise cannot be stopped.
    aws.sagemaker.stop_pipeline_execution(PipelineExecutionArn=execution)
    assert wait(aws, execution)["PipelineExecutionStatus"] == "Stopped"


def test_events_of_an_execution_and_its_steps(aws: Aws) -> None:
    pipeline = create(aws, "told", fail("F", "because"))
    execution = start(aws, "told")
    wait(aws, execution)
    events = aws.wait_events(5)
    statuses = [
        (
            detail.get("stepName"),
            detail.get("currentStepStatus") or detail["currentPipelineExecutionStatus"],
        )
        for _kind, detail, _resources in events
    ]
    assert statuses == [
        (None, "Executing"),
        ("F", "Starting"),
        ("F", "Executing"),
        ("F", "Failed"),
        (None, "Failed"),
    ]
    assert all(resources == [pipeline, execution] for _kind, _detail, resources in events)
    kind, detail, _resources = events[3]
    assert kind == "SageMaker Model Building Pipeline Execution Step Status Change"
    assert detail["previousStepStatus"] == "Executing"
    assert detail["failureReason"] == "because"
    assert detail["stepType"] == "Fail"
    assert events[4][1]["previousPipelineExecutionStatus"] == "Executing"


def test_an_interrupted_execution_is_failed_at_the_next_start(
    aws: Aws, isolation: str, emulator_port: int
) -> None:
    create(aws, "cut", processing("Slow", "import time; time.sleep(60)"))
    execution = start(aws, "cut")
    until(lambda: "Metadata" in steps_of(aws, execution).get("Slow", {}))
    aws.service.close()
    events: list[dict[str, Any]] = []
    folder = aws.service.settings.data_dir
    service = make_service(
        folder, emulator_port, isolation, lambda _kind, detail, _resources: events.append(detail)
    )
    try:
        found = service.call("DescribePipelineExecution", {"PipelineExecutionArn": execution})
        assert found["PipelineExecutionStatus"] == "Failed"
        assert "stopped while the" in found["FailureReason"]
        listed = service.call("ListPipelineExecutionSteps", {"PipelineExecutionArn": execution})
        step = listed["PipelineExecutionSteps"][0]
        assert step["StepStatus"] == "Failed"
        assert step["FailureReason"]
        assert "EndTime" in step
    finally:
        service.close()


def test_names_of_jobs_fit_however_long_the_step_is_named(aws: Aws) -> None:
    name = "A" * 40 + "_" * 24
    _ended, steps = run(aws, processing(name, "print(1)"))
    job = steps[name]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert len(job) <= 63
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", job)


def test_a_prefix_given_as_name_is_used(aws: Aws) -> None:
    step = processing("Any", "print(1)")
    step["Arguments"]["ProcessingJobName"] = "my-prefix"
    _ended, steps = run(aws, step)
    job = steps["Any"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    assert re.fullmatch(r"my-prefix-[A-Za-z0-9]{10}", job)


def test_shorten_keeps_the_end() -> None:
    text = shorten("x" * 2000 + "the end", 1024)
    assert len(text) == 1024
    assert text.endswith("the end")
    assert shorten("short", 1024) == "short"


KILLED = """
import sys
from pathlib import Path
import conftest, toy_pipelines as toy
folder, port, isolation = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
service = conftest.make_service(folder, port, isolation, lambda *event: None)
slow = toy.processing("Slow", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
body = toy.definition(slow, toy.processing("Later", "print(1)", DependsOn=["Slow"]))
request = {"PipelineName": "p", "ClientRequestToken": "x" * 32}
create = {**request, "RoleArn": conftest.ROLE, "PipelineDefinition": body}
service.call("CreatePipeline", create)
print(service.call("StartPipelineExecution", request)["PipelineExecutionArn"], flush=True)
sys.stdin.read()
"""


def test_an_execution_whose_process_is_killed_is_failed_at_the_next_start(
    tmp_path: Path, emulator_port: int, isolation: str
) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path, str(emulator_port), isolation],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    try:
        execution = victim.stdout.readline().strip()
        until(lambda: any(log.read_text().strip() for log in tmp_path.glob("jobs/*/log.txt")))
        (log,) = tmp_path.glob("jobs/*/log.txt")
        job_process = int(log.read_text())
    finally:
        victim.kill()
        victim.communicate()
    assert start_time(job_process) is not None

    service = make_service(tmp_path, emulator_port, isolation, lambda *_: None)
    try:
        until(lambda: start_time(job_process) is None)
        found = service.call("DescribePipelineExecution", {"PipelineExecutionArn": execution})
        assert found["PipelineExecutionStatus"] == "Failed"
        assert "stopped while the" in found["FailureReason"]
        listed = service.call("ListPipelineExecutionSteps", {"PipelineExecutionArn": execution})
        (step,) = listed["PipelineExecutionSteps"]
        assert (step["StepName"], step["StepStatus"]) == ("Slow", "Failed")
        # It can be gone on with.
        retry = {"PipelineExecutionArn": execution, "ClientRequestToken": "y" * 32}
        service.call("RetryPipelineExecution", retry)

        def runs_again() -> bool:
            listed = service.call("ListPipelineExecutionSteps", {"PipelineExecutionArn": execution})
            (step,) = listed["PipelineExecutionSteps"]
            return step["AttemptCount"] == 2 and "Metadata" in step

        until(runs_again)
    finally:
        service.close()
