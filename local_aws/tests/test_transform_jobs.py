"""Batch transform jobs: how they fail, stop, are refused, listed and told of."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROLE, Aws, aws_client, make_service, until
from job_requests import refused
from toy_pipelines import run
from transform_requests import (
    bodies,
    create_model,
    csv_lines,
    data_log,
    model_request,
    transform,
    transform_request,
    wait,
)


def test_a_failed_file_fails_the_job_and_no_other_file(aws: Aws) -> None:
    create_model(aws)
    for key, text in {"a": "1\n", "b": "1\n2\nbad\n3\n", "c": "2\n"}.items():
        aws.put(f"in/{key}.csv", text)
    request = {**csv_lines(), "BatchStrategy": "SingleRecord"}
    done = transform(aws, **request)
    assert done["TransformJobStatus"] == "Failed"
    assert done["FailureReason"] == (
        "ClientError: See job logs for more information: "
        f"{aws.bucket}/in/b.csv: 400\n\nMessage:\na bad record"
    )
    # Neither a part of the failed file's output, nor a retry of what the container has refused.
    assert aws.keys("out/") == ["out/a.csv.out", "out/c.csv.out"]
    assert bodies(aws).count("bad") == 1
    log = data_log(aws, "job")
    assert f"[sagemaker logs]: {aws.bucket}/in/b.csv: ClientError: 400\n" in log
    assert f"[sagemaker logs]: {aws.bucket}/in/b.csv: a bad record\n" in log


def test_a_join_needs_as_many_predictions_as_records(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.csv", "short\nshort\n")
    done = transform(aws, **csv_lines(JoinSource="Input"))
    assert done["TransformJobStatus"] == "Failed"
    text = "Fail to join data: mismatched line count between the input and the output: 2 and 1"
    assert done["FailureReason"].endswith(f"{aws.bucket}/in/a.csv: {text}")
    assert aws.keys("out/") == []


@pytest.mark.parametrize(
    ("retries", "status", "requests"), [(2, "Completed", 3), (1, "Failed", 2), (0, "Failed", 1)]
)
def test_a_failed_request_is_sent_again(aws: Aws, retries: int, status: str, requests: int) -> None:
    create_model(aws, TOY_FAILURES="2")
    aws.put("in/a.csv", "1\n")
    client = {"InvocationsMaxRetries": retries}
    done = transform(aws, **csv_lines(), ModelClientConfig=client)
    assert done["TransformJobStatus"] == status, done
    assert len(bodies(aws)) == requests
    if status == "Failed":
        assert done["FailureReason"].startswith("AlgorithmError: See job logs for more information")
        assert "503\n\nMessage:\nnot yet" in done["FailureReason"]


def test_a_request_out_of_time_fails(aws: Aws) -> None:
    create_model(aws, TOY_SECONDS="5")
    aws.put("in/a.csv", "1\n")
    client = {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0}
    done = transform(aws, **csv_lines(), ModelClientConfig=client)
    assert done["FailureReason"].endswith(
        "Model server did not respond to /invocations request within 1 seconds"
    )


def test_a_container_that_ends_fails_the_job_with_its_last_words(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a", "die")
    aws.put("in/b", "1")
    done = transform(aws)
    assert done["TransformJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("AlgorithmError: The container ended before the job")
    assert done["FailureReason"].endswith("I give up, exit code: 7")


def test_a_container_that_does_not_start_fails_the_job(aws: Aws) -> None:
    create_model(aws, TOY_EXIT="no model in there")
    aws.put("in/a", "1")
    done = transform(aws)
    assert done["TransformJobStatus"] == "Failed"
    assert done["FailureReason"].startswith(
        "AlgorithmError: The primary container for transform job job did not pass the ping health"
    )
    assert done["FailureReason"].endswith("no model in there, exit code: 1")


def test_a_record_larger_than_the_payload_fails(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.csv", "1" * (1 << 20) + "1\n")
    done = transform(aws, **csv_lines(), MaxPayloadInMB=1)
    assert "Too much data for max payload size" in done["FailureReason"]


def test_no_input_fails_in_aws_words(aws: Aws) -> None:
    create_model(aws)
    done = transform(aws)
    assert done["TransformJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("ClientError: No S3 objects found under S3 URL")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"TransformInput": {"SplitType": "TFRecord"}}, "no TFRecord; use None or Line"),
        ({"TransformInput": {"SplitType": "RecordIO"}}, "no RecordIO; use None or Line"),
        ({"TransformOutput": {"S3OutputPath": "https://x/y"}}, "is not an S3 URI"),
        ({"MaxPayloadInMB": 0}, "MaxPayloadInMB"),
        ({"MaxPayloadInMB": 51, "MaxConcurrentTransforms": 2}, "must not exceed 100"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "TransformInput.ContentType"),
        (csv_lines(InputFilter="$.a"), "DataProcessing.InputFilter: only index based"),
        (csv_lines(OutputFilter="$[0:2,5:]"), "only single range filters"),
        (csv_lines(OutputFilter="[0]"), "DataProcessing.OutputFilter: Invalid JsonPath"),
        ({"ModelName": "other"}, 'Could not find model "arn:'),
    ],
)
def test_a_wrong_request_is_refused(aws: Aws, fields: dict[str, Any], message: str) -> None:
    create_model(aws)
    request = transform_request(aws.bucket, **fields)
    code, text = refused(aws.sagemaker.create_transform_job, request)
    assert code == "ValidationException"
    assert message in text
    assert aws.sagemaker.list_transform_jobs()["TransformJobSummaries"] == []


def test_names_tags_and_lists(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a", "1")
    for name in ("one", "two"):
        transform(aws, name, Tags=[{"Key": "team", "Value": name}])
    code, text = refused(aws.sagemaker.create_transform_job, transform_request(aws.bucket, "one"))
    assert code == "ResourceInUse"
    assert "Job name must be unique" in text
    listed = aws.sagemaker.list_transform_jobs(StatusEquals="Completed")["TransformJobSummaries"]
    assert [job["TransformJobName"] for job in listed] == ["two", "one"]  # newest first
    tags = aws.sagemaker.list_tags(ResourceArn=listed[0]["TransformJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "two"}]
    code, text = refused(aws.sagemaker.describe_transform_job, {"TransformJobName": "no"})
    assert (code, text) == (
        "ValidationException",
        "Could not find requested job with name: no",
    )


def test_events_and_logs(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a", "1")
    transform(aws, "logged", Tags=[{"Key": "team", "Value": "a"}])
    (kind, first, _), (_, last, resources) = aws.wait_events(2)
    assert kind == "SageMaker Transform Job State Change"
    assert [first["TransformJobStatus"], last["TransformJobStatus"]] == ["InProgress", "Completed"]
    assert resources == [last["TransformJobArn"]]
    assert last["Tags"] == {"team": "a"}
    logs = aws_client("logs", aws.service.settings.port)
    found = {"logGroupName": "/aws/sagemaker/TransformJobs", "logStreamNamePrefix": "logged/"}
    streams = logs.describe_log_streams(**found)["logStreams"]
    container, data = sorted(stream["logStreamName"] for stream in streams)
    assert re.fullmatch(r"logged/i-[0-9a-f]{17}-\d+", container)
    assert data == f"{container}/data-log"


def test_a_stopped_job_ends_its_server_and_stores_nothing_more(aws: Aws) -> None:
    create_model(aws, TOY_SECONDS="60")
    aws.put("in/a", "1")
    aws.sagemaker.create_transform_job(**transform_request(aws.bucket))
    log = aws.folder / "jobs" / "transform-job" / "log.txt"
    until(lambda: log.exists() and "body" in log.read_text())
    aws.sagemaker.stop_transform_job(TransformJobName="job")
    done = wait(aws)
    assert done["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in done
    assert aws.keys("out/") == []
    code, text = refused(aws.sagemaker.stop_transform_job, {"TransformJobName": "job"})
    assert code == "ValidationException"
    assert "transform job is in status Stopped" in text
    statuses = [detail["TransformJobStatus"] for _, detail, _ in aws.wait_events(3)]
    assert statuses == ["InProgress", "Stopping", "Stopped"]


def test_a_job_can_be_stopped_before_its_container_answers(aws: Aws) -> None:
    create_model(aws, TOY_PING="500")
    aws.put("in/a", "1")
    aws.sagemaker.create_transform_job(**transform_request(aws.bucket))
    log = aws.folder / "jobs" / "transform-job" / "log.txt"
    until(lambda: log.exists() and "environment" in log.read_text())
    aws.sagemaker.stop_transform_job(TransformJobName="job")
    assert wait(aws)["TransformJobStatus"] == "Stopped"
    assert bodies(aws) == []


def test_a_model_is_needed_with_an_image_that_was_pushed(aws: Aws) -> None:
    container = {"Image": "000000000000.dkr.ecr.eu-west-1.amazonaws.com/none:1"}
    request = {"ModelName": "model", "ExecutionRoleArn": ROLE, "PrimaryContainer": container}
    code, text = refused(aws.sagemaker.create_model, request)
    assert code == "ValidationException"
    assert container["Image"] in text


def test_a_pipeline_transforms_with_the_model_it_made(aws: Aws) -> None:
    create_model(aws)
    aws.put("in/a.csv", "1,2\n")
    model = model_request(aws.bucket)
    del model["ModelName"]
    request = transform_request(aws.bucket, **csv_lines())
    del request["TransformJobName"]
    request["ModelName"] = {"Get": "Steps.Model.ModelName"}
    source = {"Get": "Steps.Predict.TransformOutput.S3OutputPath"}
    again = transform_request(aws.bucket, **csv_lines())
    del again["TransformJobName"]
    again["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] = source
    again["TransformOutput"]["S3OutputPath"] = f"s3://{aws.bucket}/again"
    steps = [
        {"Name": "Model", "Type": "Model", "Arguments": model},
        {"Name": "Predict", "Type": "Transform", "Arguments": request},
        {"Name": "Again", "Type": "Transform", "Arguments": again},
    ]
    execution, ran = run(aws, *steps)
    assert execution["PipelineExecutionStatus"] == "Succeeded", execution
    assert aws.get("again/a.csv.out.out") == "3.0\n"
    arn = ran["Predict"]["Metadata"]["TransformJob"]["Arn"]
    name = arn.rpartition("/")[2]
    assert name.startswith("pipelines-")
    job = aws.sagemaker.describe_transform_job(TransformJobName=name)
    assert job["ModelName"] == ran["Model"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    aws.put("in/a.csv", "bad\n")
    execution, ran = run(aws, *steps)
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "in/a.csv: 400" in ran["Predict"]["FailureReason"]
    assert "Again" not in ran


KILLED = """
import sys, time
from pathlib import Path
import conftest, transform_requests

folder, port, isolation, bucket = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
service = conftest.make_service(folder, port, isolation, lambda *_: None)
transform_requests.register_image(service)
service.call("CreateModel", transform_requests.model_request(bucket, TOY_SECONDS="600"))
service.call("CreateTransformJob", transform_requests.transform_request(bucket))
time.sleep(600)
"""


def test_after_sigkill_the_job_is_failed_and_its_server_ended(
    aws: Aws, tmp_path: Path, isolation: str
) -> None:
    aws.put("model/weights")
    aws.put("in/a", "1")
    folder = tmp_path / "killed"
    folder.mkdir()
    port = aws.service.settings.port
    victim = subprocess.Popen(
        [sys.executable, "-c", KILLED, folder, str(port), isolation, aws.bucket],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    try:
        log = folder / "jobs" / "transform-job" / "log.txt"
        until(lambda: log.exists() and "body" in log.read_text())
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    service = make_service(folder, port, isolation, lambda *_: None)
    try:
        job = service.call("DescribeTransformJob", {"TransformJobName": "job"})
        assert job["TransformJobStatus"] == "Failed"
        assert job["FailureReason"].startswith("InternalServerError: The local AWS was killed")
        assert job["TransformEndTime"] >= job["TransformStartTime"]
        until(lambda: not _processes_with(f"HOME={folder}"), 5)
    finally:
        service.close()


def test_a_clean_stop_fails_the_job_and_leaves_no_process(aws: Aws) -> None:
    create_model(aws, TOY_SECONDS="600")
    aws.put("in/a", "1")
    aws.sagemaker.create_transform_job(**transform_request(aws.bucket))
    log = aws.folder / "jobs" / "transform-job" / "log.txt"
    until(lambda: log.exists() and "body" in log.read_text())
    assert _processes_with(f"HOME={aws.folder}")
    aws.service.close()
    assert not _processes_with(f"HOME={aws.folder}")
    again = make_service(
        aws.folder, aws.service.settings.port, aws.service.settings.isolation, lambda *_: None
    )
    job = again.call("DescribeTransformJob", {"TransformJobName": "job"})
    again.close()
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError: The local AWS was stopped")


def _processes_with(variable: str) -> list[str]:
    """Return the processes whose environment has a variable that begins so, zombies aside."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if variable.encode() in environment and state != "Z":
            found.append(folder.name)
    return found
