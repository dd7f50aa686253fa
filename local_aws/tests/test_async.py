"""Asynchronous inference with boto3, real model servers, and S3, SNS and SQS of an emulator."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, Aws, aws_client, until
from model_server import Hosted, host, next_service

from local_aws.sagemaker.hosting import async_queue
from local_aws.sagemaker.hosting.running import hosting


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path) -> Iterator[Hosted]:
    with host(aws, tmp_path) as served:
        yield served


class Topic:
    """An SNS topic, and what was published to it."""

    def __init__(self, name: str, port: int) -> None:
        sns, self._sqs = aws_client("sns", port), aws_client("sqs", port)
        self.arn: str = sns.create_topic(Name=name)["TopicArn"]
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        queue = f"arn:aws:sqs:{REGION}:000000000000:{name}"
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue)

    def message(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def received() -> bool:
            answer = self._sqs.receive_message(QueueUrl=self._url, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(json.loads(message["Body"])["Message"]))
            return bool(found)

        until(received)
        (message,) = found
        return message


def endpoint(hosted: Hosted, name: str, each: int = 2, **output: Any) -> None:
    """An asynchronous endpoint in service; its outputs are below out/ and failed/."""
    bucket = hosted.aws.bucket
    hosted.endpoint(
        name,
        AsyncInferenceConfig={
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": each},
            "OutputConfig": {
                "S3OutputPath": f"s3://{bucket}/out/",
                "S3FailurePath": f"s3://{bucket}/failed",
                **output,
            },
        },
    )


def send(hosted: Hosted, name: str, text: str, **fields: Any) -> dict[str, Any]:
    location = hosted.aws.put(f"in/{time.monotonic_ns()}", text)
    answer: dict[str, Any] = hosted.runtime.invoke_endpoint_async(
        EndpointName=name, InputLocation=location, **fields
    )
    return answer


def result(hosted: Hosted, location: str) -> Any:
    """The content of an S3 URI, once it is there."""
    key = location.removeprefix(f"s3://{hosted.aws.bucket}/")
    until(lambda: key in hosted.aws.keys(key))
    text = hosted.aws.get(key)
    return json.loads(text) if text.startswith("{") else text


def test_a_request_is_answered_in_s3_and_told_of(hosted: Hosted, emulator_port: int) -> None:
    topic = Topic("success", emulator_port)
    notifications = {"SuccessTopic": topic.arn, "ErrorTopic": topic.arn}
    endpoint(hosted, "e1", NotificationConfig=notifications)
    described = hosted.wait("e1")
    assert described["AsyncInferenceConfig"]["ClientConfig"] == {
        "MaxConcurrentInvocationsPerInstance": 2
    }
    answer = send(
        hosted, "e1", "1,2", ContentType="text/csv", InferenceId="id-1", CustomAttributes="a=b"
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "id-1"
    assert answer["OutputLocation"] == f"s3://{hosted.aws.bucket}/out/id-1.out"
    assert answer["FailureLocation"] == f"s3://{hosted.aws.bucket}/failed/id-1-error.out"
    answered = result(hosted, answer["OutputLocation"])
    assert (answered["model"], answered["bytes"]) == ("e1", 3)
    assert answered["headers"]["content-type"] == "text/csv"
    assert answered["headers"]["x-amzn-sagemaker-custom-attributes"] == "a=b"
    message = topic.message()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message.pop("eventTime"))
    assert message.pop("receivedTime")
    location = message["requestParameters"].pop("inputLocation")
    assert location.startswith(f"s3://{hosted.aws.bucket}/in/")
    assert message == {
        "awsRegion": REGION,
        "invocationStatus": "Completed",
        "requestParameters": {"contentType": "text/csv", "endpointName": "e1"},
        "responseParameters": {
            "contentType": "application/json",
            "outputLocation": answer["OutputLocation"],
        },
        "inferenceId": "id-1",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    until(lambda: not hosted.aws.service.store.list("AsyncInvocation"))


def test_a_failure_is_kept_and_told_of(hosted: Hosted, emulator_port: int) -> None:
    topic = Topic("failure", emulator_port)
    notifications = {
        "ErrorTopic": topic.arn,
        "IncludeInferenceResponseIn": ["ERROR_NOTIFICATION_TOPIC"],
    }
    endpoint(hosted, "e1", NotificationConfig=notifications)
    answer = send(hosted, "e1", "status 500")
    assert result(hosted, answer["FailureLocation"]) == "no such thing"
    message = topic.message()
    assert message["invocationStatus"] == "Failed"
    assert message["failureReason"].startswith(
        "ClientError: Received server error (500) from model. See the SageMaker Endpoint logs"
    )
    assert message["responseBody"]["content"] == "no such thing"
    assert message["inferenceId"] == answer["InferenceId"]
    # What is not there to be read fails too, and so does what takes too long.
    absent = f"s3://{hosted.aws.bucket}/absent"
    answer = hosted.runtime.invoke_endpoint_async(EndpointName="e1", InputLocation=absent)
    assert "Could not download" in topic.message()["failureReason"]
    assert "Could not download" in result(hosted, answer["FailureLocation"])
    answer = send(hosted, "e1", "sleep 3", InvocationTimeoutSeconds=1)
    assert "within InvocationTimeoutSeconds, 1" in topic.message()["failureReason"]
    assert hosted.aws.keys("out/") == []


def test_an_inline_body_and_a_name_for_the_output(hosted: Hosted) -> None:
    endpoint(hosted, "e1")
    answer = hosted.runtime.invoke_endpoint_async(
        EndpointName="e1",
        Body=b"x" * 128_000,
        S3OutputPathExtension="a/b",
        Filename="answer.json",
    )
    assert answer["OutputLocation"] == f"s3://{hosted.aws.bucket}/out/a/b/answer.json"
    assert result(hosted, answer["OutputLocation"])["bytes"] == 128_000


BAD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({}, "provide exactly one of them"),
    ({"Body": b"x", "InputLocation": "s3://b/k"}, "provide exactly one of them"),
    ({"Body": b"x" * 128_001}, "128000 bytes"),
    ({"InputLocation": "https://b/k"}, "s3:// as InputLocation only"),
    ({"InputLocation": "b/k"}, "'inputLocation'.*satisfy regular expression pattern"),
    ({"Body": b"x", "RequestTTLSeconds": 21_601}, "'requestTTLSeconds'.*less than or equal"),
    ({"Body": b"x", "InvocationTimeoutSeconds": 3601}, "less than or equal to 3600"),
    ({"Body": b"x", "Filename": "x" * 33}, "'filename'.*less than or equal to 32"),
    ({"Body": b"x", "EndpointName": "other"}, "Endpoint other of account"),
    ({"Body": b"x", "EndpointName": "real-time"}, "use InvokeEndpoint"),
]


def test_bad_requests(hosted: Hosted) -> None:
    hosted.endpoint("real-time")
    endpoint(hosted, "e1")
    for fields, text in BAD_REQUESTS:
        with pytest.raises(ClientError, match=text) as caught:
            hosted.runtime.invoke_endpoint_async(**{"EndpointName": "e1", **fields})
        assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert hosted.aws.service.store.list("AsyncInvocation") == []


def test_what_was_too_long_in_the_queue_fails(hosted: Hosted) -> None:
    endpoint(hosted, "e1")
    queue = hosting(hosted.aws.service).queues["e1"]
    location = f"s3://{hosted.aws.bucket}/failed/late"
    queue.put(
        {
            "EndpointName": "e1",
            "InferenceId": "late",
            "ReceivedTime": time.time() - 61,
            "ContentType": "text/csv",
            "Body": "",
            "OutputLocation": f"s3://{hosted.aws.bucket}/out/late",
            "FailureLocation": location,
            "RequestTTLSeconds": 60,
            "InvocationTimeoutSeconds": 60,
        }
    )
    assert "longer than its RequestTTLSeconds" in result(hosted, location)
    assert hosted.aws.keys("out/") == []


def test_the_two_ways_do_not_mix(hosted: Hosted) -> None:
    endpoint(hosted, "e1")
    with pytest.raises(ClientError, match="use InvokeEndpointAsync"):
        hosted.invoke("e1")
    hosted.config("real-time", {"ModelName": "e1"})
    with pytest.raises(ClientError, match="from real-time to asynchronous inference or back"):
        hosted.aws.sagemaker.update_endpoint(EndpointName="e1", EndpointConfigName="real-time")
    output = {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}
    variants = [{"ModelName": "e1"}, {"ModelName": "e1", "VariantName": "Other"}]
    with pytest.raises(ClientError, match="one production variant only"):
        hosted.config("two", *variants, AsyncInferenceConfig=output)
    with pytest.raises(ClientError, match="S3OutputPath must be s3://"):
        hosted.config("none", variants[0], AsyncInferenceConfig={"OutputConfig": {}})


def test_concurrency_is_limited_and_the_backlog_measured(
    hosted: Hosted, emulator_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_queue, "METRICS_SECONDS", 0.2)
    name = f"e-{time.monotonic_ns()}"
    endpoint(hosted, name, each=2)
    start = time.monotonic()
    answers = [send(hosted, name, "sleep 0.5") for _ in range(6)]
    for answer in answers:
        assert result(hosted, answer["OutputLocation"])["model"] == name
    assert time.monotonic() - start > 1.5  # three rounds of two
    cloudwatch = aws_client("cloudwatch", emulator_port)
    now = datetime.now(UTC)

    def largest(metric: str) -> float:
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": name}],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=10),
            Period=3600,
            Statistics=["Maximum"],
        )
        return max((point["Maximum"] for point in found["Datapoints"]), default=-1.0)

    until(lambda: largest("ApproximateBacklogSize") >= 4)
    assert largest("ApproximateBacklogSizePerInstance") >= 4
    assert largest("HasBacklogWithoutCapacity") == 0


def test_requests_of_a_killed_process_are_answered_after_the_next_start(hosted: Hosted) -> None:
    endpoint(hosted, "e1")
    old = hosted.aws.service
    hosting(old).queues["e1"].close()  # as if it were killed before it takes a request
    answers = [send(hosted, "e1", "x") for _ in range(3)]
    with next_service(hosted) as service:
        for answer in answers:
            assert result(hosted, answer["OutputLocation"])["model"] == "e1"
        until(lambda: not service.store.list("AsyncInvocation"))


def test_requests_wait_while_a_container_that_was_killed_is_started_again(hosted: Hosted) -> None:
    """The one that was under way fails; those after it do not."""
    endpoint(hosted, "e1", each=1)
    killed, *others = [send(hosted, "e1", body) for body in ("die", "x", "x")]
    for answer in others:
        assert result(hosted, answer["OutputLocation"])["model"] == "e1"
    failed = result(hosted, killed["FailureLocation"])
    assert failed.startswith("ClientError: The model did not answer")


def test_a_clean_stop_keeps_requests(hosted: Hosted) -> None:
    endpoint(hosted, "e1", each=1)
    answers = [send(hosted, "e1", "sleep 1") for _ in range(2)]
    hosted.aws.service.close()
    with next_service(hosted) as service:
        assert len(service.store.list("AsyncInvocation")) == 2
        assert result(hosted, answers[1]["OutputLocation"])["model"] == "e1"
        until(lambda: not service.store.list("AsyncInvocation"))
