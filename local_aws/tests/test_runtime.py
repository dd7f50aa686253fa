"""InvokeEndpoint over HTTP with boto3, answered by real model servers."""

from __future__ import annotations

import http.client
import json
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Aws, aws_client, until
from model_server import Hosted, host

from local_aws.sagemaker.hosting import runtime


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path) -> Iterator[Hosted]:
    with host(aws, tmp_path) as served:
        yield served


def capture_to(hosted: Hosted, prefix: str) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{hosted.aws.bucket}/{prefix}",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {
            "CsvContentTypes": ["text/csv"],
            "JsonContentTypes": ["application/json"],
        },
    }


def test_headers_go_both_ways(hosted: Hosted) -> None:
    hosted.endpoint("e1")
    answer = hosted.invoke(
        "e1",
        "a,b",
        ContentType="text/csv",
        Accept="application/json",
        CustomAttributes="trace=1",
        InferenceId="id-1",
    )
    headers = answer["headers"]
    assert headers["content-type"] == "text/csv"
    assert headers["accept"] == "application/json"
    assert headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert headers["x-amzn-sagemaker-inference-id"] == "id-1"
    # All other headers of the request are taken off, the signature among them.
    assert "authorization" not in headers
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "from=e1"


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (500, "server"), (503, "server")])
def test_errors_of_the_model(hosted: Hosted, status: int, side: str) -> None:
    hosted.endpoint("e1")
    with pytest.raises(hosted.runtime.exceptions.ModelError) as caught:
        hosted.invoke("e1", f"status {status}")
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == "no such thing"
    assert response["LogStreamArn"].endswith(":log-group:/aws/sagemaker/Endpoints/e1")
    assert response["Error"]["Message"].startswith(
        f'Received {side} error ({status}) from primary with message "no such thing". See '
    )


def test_a_slow_model_is_a_model_error(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "ANSWER_SECONDS", 0.3)
    hosted.endpoint("e1")
    with pytest.raises(hosted.runtime.exceptions.ModelError, match="timed out") as caught:
        hosted.invoke("e1", "sleep 1")
    assert caught.value.response["OriginalStatusCode"] == 0
    assert hosted.invoke("e1")["model"] == "e1"


def test_the_size_of_a_request_is_limited(hosted: Hosted) -> None:
    hosted.endpoint("e1")
    assert hosted.invoke("e1", b"x" * runtime.MAX_BODY)["bytes"] == runtime.MAX_BODY
    with pytest.raises(ClientError) as caught:
        hosted.invoke("e1", b"x" * (runtime.MAX_BODY + 1))
    assert caught.value.response["Error"]["Code"] == "413"
    assert "exceeded 6291456 bytes" in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"InferenceId": "x" * 65}, "'inferenceId'.*less than or equal to 64"),
        ({"TargetVariant": "Other"}, "Variant Other of endpoint e1 not found"),
    ],
)
def test_bad_requests(hosted: Hosted, fields: dict[str, str], message: str) -> None:
    hosted.endpoint("e1")
    with pytest.raises(ClientError, match=message) as caught:
        hosted.invoke("e1", **fields)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="Endpoint other of account") as caught:
        hosted.invoke("other")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_what_the_runtime_does_not_know_is_refused_by_name(hosted: Hosted) -> None:
    with pytest.raises(ClientError, match="does not know invocations-response-stream, only"):
        hosted.runtime.invoke_endpoint_with_response_stream(EndpointName="e1", Body=b"x")
    connection = http.client.HTTPConnection("127.0.0.1", hosted.port)
    connection.request("POST", "/other", body=b"")
    assert connection.getresponse().status == 404
    connection.close()


def test_traffic_is_shared_by_weight(hosted: Hosted) -> None:
    for name in ("m1", "m2", "m3"):
        hosted.model(name)
    hosted.config(
        "c1",
        {"VariantName": "V1", "ModelName": "m1", "InitialVariantWeight": 3.0},
        {"VariantName": "V2", "ModelName": "m2", "InitialVariantWeight": 1.0},
        {"VariantName": "V3", "ModelName": "m3", "InitialVariantWeight": 0.0},
    )
    hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    hosted.wait("e1")
    answers = [hosted.invoke("e1") for _ in range(200)]
    counts = {name: sum(a["model"] == name for a in answers) for name in ("m1", "m2", "m3")}
    assert counts["m3"] == 0
    assert 20 < counts["m2"] < 90  # 50 expected; beyond 6 standard deviations otherwise
    assert hosted.invoke("e1", TargetVariant="V3")["InvokedProductionVariant"] == "V3"


def test_a_server_that_dies_is_started_again(hosted: Hosted) -> None:
    hosted.endpoint("e1")
    before = hosted.invoke("e1")["pid"]
    with pytest.raises(hosted.runtime.exceptions.ModelError, match="could not get a response"):
        hosted.invoke("e1", "die")

    def answers() -> bool:
        try:
            return bool(hosted.invoke("e1")["pid"] != before)
        except ClientError:
            return False

    until(answers)


def test_a_request_to_a_connection_that_the_server_closes_is_sent_again(hosted: Hosted) -> None:
    hosted.endpoint("e1")
    used = hosted.invoke("e1")["connection"]
    assert hosted.invoke("e1")["connection"] == used  # requests share connections
    assert hosted.invoke("e1", "first")["connection"] != used


def test_an_invocation_waits_for_neither_its_capture_nor_its_metrics(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted.endpoint("e1", DataCaptureConfig=capture_to(hosted, "capture"))
    waiting: set[str] = set()
    go_on = threading.Event()

    def held(client: str, method: str) -> None:
        """Let a call wait until the test goes on."""
        plain = getattr(hosted.aws.service.client(client), method)

        def call(**request: Any) -> Any:
            waiting.add(method)
            assert go_on.wait(30)
            return plain(**request)

        monkeypatch.setattr(hosted.aws.service.client(client), method, call)

    held("s3", "put_object")
    held("cloudwatch", "put_metric_data")
    try:
        assert hosted.invoke("e1")["model"] == "e1"
        until(lambda: waiting == {"put_object", "put_metric_data"})
        assert hosted.invoke("e1")["model"] == "e1"
        assert hosted.aws.keys("capture/") == []
    finally:
        go_on.set()
    until(lambda: bool(hosted.aws.keys("capture/")))


def test_what_was_answered_is_captured(hosted: Hosted) -> None:
    hosted.endpoint("e1", DataCaptureConfig=capture_to(hosted, "first"))
    described = hosted.wait("e1")["DataCaptureConfig"]
    assert described["CaptureStatus"] == "Started"
    assert described["CurrentSamplingPercentage"] == 100
    sent = [f"{number},x\n" for number in range(20)]
    for number, line in enumerate(sent):
        hosted.invoke("e1", line, ContentType="text/csv", InferenceId=f"id-{number}")
    with pytest.raises(ClientError):
        hosted.invoke("e1", "status 500")  # what failed is not captured

    def records() -> list[dict[str, Any]]:
        texts = [hosted.aws.get(key) for key in hosted.aws.keys("first/e1/AllTraffic/")]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    until(lambda: len(records()) >= 20)
    found = {record["eventMetadata"]["inferenceId"]: record for record in records()}
    assert len(found) == len(records()) == 20
    for number, line in enumerate(sent):
        captured = found[f"id-{number}"]["captureData"]
        assert captured["endpointInput"]["data"] == line
        assert captured["endpointInput"]["encoding"] == "CSV"
        assert captured["endpointOutput"]["encoding"] == "JSON"
        assert json.loads(captured["endpointOutput"]["data"])["model"] == "e1"


@pytest.mark.parametrize(
    ("request_fields", "prefix"),
    [
        ({}, "second"),
        ({"RetainAllVariantProperties": True}, "first"),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DataCaptureConfig"}],
            },
            "second",
        ),
    ],
)
def test_an_update_can_retain_the_capture_config(
    hosted: Hosted, request_fields: dict[str, Any], prefix: str
) -> None:
    hosted.endpoint("e1", DataCaptureConfig=capture_to(hosted, "first"))
    hosted.config("c2", {"ModelName": "e1"}, DataCaptureConfig=capture_to(hosted, "second"))
    hosted.aws.sagemaker.update_endpoint(
        EndpointName="e1", EndpointConfigName="c2", **request_fields
    )
    described = hosted.wait("e1")
    assert described["EndpointConfigName"] == "c2"
    uri = f"s3://{hosted.aws.bucket}/{prefix}"
    assert described["DataCaptureConfig"]["DestinationS3Uri"] == uri
    hosted.invoke("e1")
    until(lambda: bool(hosted.aws.keys(f"{prefix}/e1/")))


def test_a_serverless_variant_takes_4_mb_and_captures_nothing(hosted: Hosted) -> None:
    hosted.model("m1")
    hosted.aws.sagemaker.create_endpoint_config(
        EndpointConfigName="c1",
        ProductionVariants=[
            {
                "VariantName": "V",
                "ModelName": "m1",
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
            }
        ],
    )
    hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    variant = hosted.wait("e1")["ProductionVariants"][0]
    assert variant["CurrentServerlessConfig"]["MemorySizeInMB"] == 2048
    assert hosted.invoke("e1", b"x" * 4 * 1024**2)["model"] == "m1"
    with pytest.raises(ClientError, match="has oversize body") as caught:
        hosted.invoke("e1", b"x" * (4 * 1024**2 + 1))
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_logs_and_metrics_of_an_endpoint(hosted: Hosted, emulator_port: int) -> None:
    name = f"e-{uuid.uuid4().hex[:8]}"
    hosted.endpoint(name)
    for _ in range(3):
        hosted.invoke(name)
    logs = aws_client("logs", emulator_port)
    group = f"/aws/sagemaker/Endpoints/{name}"

    def messages() -> list[str]:
        try:
            events = logs.filter_log_events(logGroupName=group)["events"]
        except ClientError:  # the group is made with the first line
            return []
        return [event["message"] for event in events]

    until(lambda: f"serving {name}" in messages())
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert re.fullmatch(r"AllTraffic/i-[0-9a-f]{17}", streams[0]["logStreamName"])
    cloudwatch = aws_client("cloudwatch", emulator_port)
    now = datetime.now(UTC)

    def invocations() -> float:
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[
                {"Name": "EndpointName", "Value": name},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=10),
            Period=3600,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in found["Datapoints"]))

    until(lambda: invocations() == 3)
