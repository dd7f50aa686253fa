"""Who works with which role: jobs, functions, pipelines, workflows, schedules; and their log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_process import Cli
from conftest import REGION, processing_request
from host_process import ACCOUNT, HostProcess, function, queue, receive, register_images
from iam_roles import Acting, allow, logged, role, wait_for_call, wait_for_end
from state_machines import machine, task

from local_aws.host.iam.calls import CallLog, Decision, read, table
from local_aws.sagemaker.core.roles import Session

BUCKET = "data"
OBJECTS = f"arn:aws:s3:::{BUCKET}/*"
PASS = allow("iam:PassRole")
ASK = """
import json, boto3
def handler(event, _):
    identity = boto3.client("sts").get_caller_identity()["Arn"]
    body = boto3.client("s3").get_object(Bucket="data", Key="in/a")["Body"].read().decode()
    return {"identity": identity, "body": body}
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_IAM", "enforce")
        host = HostProcess(tmp_path_factory.mktemp("host"))
        register_images(host.data_dir)
        with host:
            s3 = host.client("s3")
            where = {"LocationConstraint": REGION}
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
            s3.put_object(Bucket=BUCKET, Key="in/a", Body=b"1")
            yield host


def invoke(host: HostProcess, name: str) -> dict[str, Any]:
    answer = host.client("lambda").invoke(FunctionName=name)
    payload: dict[str, Any] = json.loads(answer["Payload"].read())
    return payload


def test_a_function_calls_with_its_role(host: HostProcess) -> None:
    given = role(host, allow("s3:GetObject", on=OBJECTS), trusts="lambda.amazonaws.com")
    function(host, "reads", ASK, given)
    name = given.rpartition("/")[2]
    assert invoke(host, "reads") == {
        "identity": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/reads",
        "body": "1",
    }
    (call,) = logged(host, given)
    assert (call["session"], call["action"]) == ("reads", "s3:GetObject")
    assert (call["resource"], call["allowed"]) == (f"arn:aws:s3:::{BUCKET}/in/a", True)
    assert "unknown" not in call
    moment = datetime.fromisoformat(call["time"])
    assert timedelta(0) <= datetime.now(UTC) - moment < timedelta(minutes=5)


def test_a_function_whose_role_may_not_is_refused(host: HostProcess) -> None:
    function(host, "may-not", ASK, role(host, trusts="lambda.amazonaws.com"))
    assert "not authorized to perform: s3:GetObject" in invoke(host, "may-not")["errorMessage"]


def test_a_function_needs_a_role_that_trusts_lambda(host: HostProcess) -> None:
    function(host, "untrusted", ASK, role(host, allow("s3:*"), trusts="sagemaker.amazonaws.com"))
    assert "Could not assume role" in json.dumps(invoke(host, "untrusted"))


WHO = """
import os, boto3
print("I am", boto3.client("sts").get_caller_identity()["Arn"], flush=True)
boto3.client("s3").put_object(Bucket="data", Key="by-program", Body=b"1")
"""


def job(host: HostProcess, name: str, given: str, code: str = WHO, **more: Any) -> dict[str, Any]:
    request = processing_request(host.data_dir, name, code, **more) | {"RoleArn": given}
    host.client("sagemaker").create_processing_job(**request)
    return wait_for_end(
        host.client("sagemaker").describe_processing_job,
        "ProcessingJobStatus",
        "InProgress",
        ProcessingJobName=name,
    )


def test_a_job_s_program_and_its_data_have_its_role(host: HostProcess) -> None:
    source = {
        "InputName": "in",
        "S3Input": {
            "S3Uri": f"s3://{BUCKET}/in",
            "LocalPath": "/opt/ml/processing/in",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }
    lists = allow("s3:ListBucket", on=f"arn:aws:s3:::{BUCKET}", StringLike={"s3:prefix": ["in*"]})
    logs = allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
    may = role(host, allow("s3:GetObject", "s3:PutObject", on=OBJECTS), lists, logs)
    ended = job(host, "may", may, ProcessingInputs=[source])
    assert ended["ProcessingJobStatus"] == "Completed", ended
    log = (host.data_dir / "jobs/processing-may/log.txt").read_text()
    assert f"assumed-role/{may.rpartition('/')[2]}/SageMaker" in log
    actions = {call["action"]: call["allowed"] for call in logged(host, may)}
    assert actions.keys() >= {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "logs:PutLogEvents"}
    assert set(actions.values()) == {True}

    may_not = role(host, lists)
    ended = job(host, "may-not", may_not, ProcessingInputs=[source])
    assert ended["ProcessingJobStatus"] == "Failed"
    assert "not authorized to perform: s3:GetObject" in ended["FailureReason"]


def pipeline(host: HostProcess, name: str, given: str, *steps: dict[str, Any]) -> dict[str, Any]:
    sagemaker = host.client("sagemaker")
    definition = {"Version": "2020-12-01", "Steps": list(steps)}
    sagemaker.create_pipeline(
        PipelineName=name, RoleArn=given, PipelineDefinition=json.dumps(definition)
    )
    execution = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    return wait_for_end(
        sagemaker.describe_pipeline_execution,
        "PipelineExecutionStatus",
        "Executing",
        PipelineExecutionArn=execution,
    )


def test_a_pipeline_starts_jobs_and_functions_with_its_role(host: HostProcess) -> None:
    calls = function(
        host, "by-pipeline", ASK, role(host, allow("s3:GetObject"), trusts="lambda.amazonaws.com")
    )
    arguments = processing_request(host.data_dir, "unused", "print(1)") | {"RoleArn": role(host)}
    del arguments["ProcessingJobName"]
    work = {"Name": "Work", "Type": "Processing", "Arguments": arguments}
    call = {"Name": "Call", "Type": "Lambda", "FunctionArn": calls, "Arguments": {}}
    jobs = allow(
        "sagemaker:CreateProcessingJob",
        "sagemaker:DescribeProcessingJob",
        on=f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job/pipelines-*",
    )
    may = role(host, jobs, PASS, allow("lambda:InvokeFunction", on=calls))
    assert pipeline(host, "may", may, work, call)["PipelineExecutionStatus"] == "Succeeded"
    assert {entry["action"] for entry in logged(host, may)} == {
        "sagemaker:CreateProcessingJob",
        "sagemaker:DescribeProcessingJob",
        "iam:PassRole",
        "lambda:InvokeFunction",
    }
    for name, given, told in (
        ("no-function", role(host, jobs, PASS), "lambda:InvokeFunction"),
        ("no-job", role(host, allow("lambda:*"), PASS), "sagemaker:CreateProcessingJob"),
        ("no-pass", role(host, jobs, allow("lambda:*")), "iam:PassRole"),
    ):
        ended = pipeline(host, name, given, work, call)
        assert ended["PipelineExecutionStatus"] == "Failed"
        assert f"not authorized to perform: {told}" in ended["FailureReason"]


def execute(host: HostProcess, name: str, given: str, state: dict[str, Any]) -> dict[str, Any]:
    states = host.client("stepfunctions")
    arn = states.create_state_machine(
        name=name, roleArn=given, definition=json.dumps(machine({"Do": state}))
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn)["executionArn"]
    return wait_for_end(states.describe_execution, "status", "RUNNING", executionArn=execution)


def test_a_state_machine_works_with_its_role(host: HostProcess) -> None:
    url, queue_arn = queue(host, "told")
    calls = function(
        host, "by-machine", ASK, role(host, allow("s3:GetObject"), trusts="lambda.amazonaws.com")
    )
    integrations: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
        "function": (
            task("arn:aws:states:::lambda:invoke", {"FunctionName": calls}),
            allow("lambda:InvokeFunction", on=calls),
            "Lambda.AccessDeniedException",
        ),
        "queue": (
            task("arn:aws:states:::sqs:sendMessage", {"QueueUrl": url, "MessageBody": "m"}),
            allow("sqs:SendMessage", on=queue_arn),
            "SQS.AccessDeniedException",
        ),
        "object": (
            task("arn:aws:states:::aws-sdk:s3:getObject", {"Bucket": BUCKET, "Key": "in/a"}),
            allow("s3:GetObject", on=OBJECTS),
            "S3.AccessDeniedException",
        ),
        "sagemaker": (
            task("arn:aws:states:::aws-sdk:sagemaker:listModels", {}),
            allow("sagemaker:ListModels"),
            "SageMaker.SageMakerException",
        ),
    }
    for name, (state, statement, error) in integrations.items():
        may = role(host, statement, trusts="states.amazonaws.com")
        ended = execute(host, f"may-{name}", may, state)
        assert ended["status"] == "SUCCEEDED", ended
        (action,) = statement["Action"]
        assert [call["action"] for call in logged(host, may)] == [action]
        may_not = role(host, trusts="states.amazonaws.com")
        ended = execute(host, f"may-not-{name}", may_not, state)
        assert (ended["status"], ended["error"]) == ("FAILED", error)
        assert "AccessDenied" in ended["error"] or action in ended["cause"]
    untrusted = role(host, allow("*"))
    ended = execute(host, "untrusted", untrusted, integrations["sagemaker"][0])
    assert "Could not assume role" in ended["cause"]


def test_a_schedule_delivers_with_its_role(host: HostProcess) -> None:
    url, target = queue(host, "scheduled")
    lost_url, lost = queue(host, "lost")
    scheduler = host.client("scheduler")

    def schedule(name: str, given: str) -> None:
        moment = datetime.now(UTC) + timedelta(seconds=1)
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": target,
                "RoleArn": given,
                "Input": name,
                "DeadLetterConfig": {"Arn": lost},
            },
        )

    may = role(host, allow("sqs:SendMessage", on=target), trusts="scheduler.amazonaws.com")
    schedule("may", may)
    assert receive(host, url) == "may"
    assert wait_for_call(host, may, "sqs:SendMessage")["session"] == "scheduler"
    schedule("may-not", role(host, trusts="scheduler.amazonaws.com"))
    assert receive(host, lost_url) == "may-not"
    schedule("untrusted", role(host, allow("sqs:*"), trusts="events.amazonaws.com"))
    assert receive(host, lost_url) == "untrusted"


def test_without_enforcement_all_is_logged_and_nothing_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_AWS_IAM", "log")
    with HostProcess(tmp_path / "host") as host:
        acting = Acting(host, role(host))
        acting.client("s3").list_buckets()
        acting.client("sagemaker").list_models()
        nobody = f"arn:aws:iam::{ACCOUNT}:role/nobody"
        host.client("sagemaker").create_model(
            ModelName="m", ExecutionRoleArn=nobody, PrimaryContainer={"Image": "i:1"}
        )
        assert acting.calls() == [
            ("s3:ListAllMyBuckets", "*", False),
            ("sagemaker:ListModels", "*", False),
        ]


def test_a_log_that_cannot_be_written_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "not-there"
    log, session = CallLog(folder), Session(f"arn:aws:iam::{ACCOUNT}:role/jobs")
    for _ in range(2):
        log.write(session, "s3:GetObject", Decision(True, "*"))
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text
    folder.mkdir()
    log.write(session, "s3:GetObject", Decision(True, "*"))
    assert len(list(read(folder))) == 1


def test_the_log_is_shown_by_the_command(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.data_dir.mkdir()
    log = CallLog(cli.data_dir)
    session = Session(f"arn:aws:iam::{ACCOUNT}:role/path/jobs")
    for _ in range(2):
        log.write(session, "s3:GetObject", Decision(True, "arn:aws:s3:::b/k"))
    log.write(session, "sns:Publish", Decision(False, "arn:aws:sns:r:a:t", explicit=True))
    log.write(session, "x:Y", Decision(None, "*", unknown=("aws:SourceVpc",)))
    rows = [
        ("path/jobs", "s3:GetObject", "arn:aws:s3:::b/k", "yes", 2),
        ("path/jobs", "sns:Publish", "arn:aws:sns:r:a:t", "no", 1),
        ("path/jobs", "x:Y", "*", "?", 1),
    ]
    assert table(cli.data_dir) == rows
    shown = [tuple(line.split()) for line in cli.run("calls").stdout.splitlines()]
    assert shown[0] == ("role", "action", "resource", "allowed", "calls")
    assert shown[1:] == [(*row[:4], str(row[4])) for row in rows]
    denied = cli.run("calls", "--denied").stdout.splitlines()
    assert [line.split()[1] for line in denied[1:]] == ["sns:Publish", "x:Y"]
    lines = [json.loads(line) for line in cli.run("calls", "--json").stdout.splitlines()]
    assert lines == list(read(cli.data_dir))
    assert lines[-1]["unknown"] == ["aws:SourceVpc"]

    with (cli.data_dir / "calls.jsonl").open("a") as file:
        file.write('{"half a li')
    assert len(table(cli.data_dir)) == 3
    log.write(session, "sns:Publish", Decision(True, "*"))
    assert [call["action"] for call in read(cli.data_dir)][-2:] == ["x:Y", "sns:Publish"]
