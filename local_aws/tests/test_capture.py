"""Data capture and metrics: what is written of an invocation, and when."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from conftest import REGION, aws_client, until

from local_aws.sagemaker.core.batching import Batcher
from local_aws.sagemaker.hosting.capture import CaptureRule, CaptureWriter, Invocation, Payload
from local_aws.sagemaker.hosting.metrics import EndpointMetrics, Observation, metric_data

CONFIG: dict[str, Any] = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/some/prefix/",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {
        "CsvContentTypes": ["text/csv"],
        "JsonContentTypes": ["application/json", "application/jsonlines"],
    },
}
# The record in the developer guide, "Capture data from real-time endpoint", without its event id.
DOCUMENTED = {
    "captureData": {
        "endpointInput": {
            "observedContentType": "text/csv",
            "mode": "INPUT",
            "data": "132,25,113.2,96,269.9,107,229.1,87,7.1,7,2,0\n",
            "encoding": "CSV",
        },
        "endpointOutput": {
            "observedContentType": "text/csv; charset=utf-8",
            "mode": "OUTPUT",
            "data": "0.01076381653547287",
            "encoding": "CSV",
        },
    },
    "eventMetadata": {"inferenceTime": "2022-02-14T17:25:49Z"},
    "eventVersion": "0",
}
TIME = datetime(2022, 2, 14, 17, 25, 49, 123_000, tzinfo=UTC)


def rule(**fields: Any) -> CaptureRule:
    read = CaptureRule.read({**CONFIG, **fields})
    assert read is not None
    return read


def invocation(
    kind: str = "text/csv", data: bytes = b"1,2\n", time: datetime = TIME, **fields: Any
) -> Invocation:
    return Invocation(Payload(kind, data), Payload("application/json", b"{}"), time, **fields)


def test_a_record_is_as_documented() -> None:
    sides = [DOCUMENTED["captureData"][side] for side in ("endpointInput", "endpointOutput")]  # type: ignore[index]
    request, response = (Payload(s["observedContentType"], s["data"].encode()) for s in sides)
    record = rule().record(Invocation(request, response, TIME))
    uuid.UUID(record["eventMetadata"].pop("eventId"))
    assert record == DOCUMENTED


def test_ids_and_attributes_of_the_caller_are_kept() -> None:
    record = rule().record(invocation(inference_id="id-1", custom_attributes="trace=1"))
    assert record["eventMetadata"]["inferenceId"] == "id-1"
    assert record["eventMetadata"]["customAttributes"] == ["trace=1"]
    assert "inferenceId" not in rule().record(invocation())["eventMetadata"]


@pytest.mark.parametrize(
    ("kind", "data", "encoding"),
    [
        ("text/csv", b"1,2", "CSV"),
        ("Text/CSV; charset=utf-8", b"1,2", "CSV"),
        ("application/json", b"{}", "JSON"),
        ("application/jsonlines", b"{}", "JSON"),
        ("application/x-npy", b"1,2", "BASE64"),
        ("text/csv2", b"1,2", "BASE64"),
        ("text/csv", b"\xff\xfe", "BASE64"),
    ],
)
def test_content_types_decide_the_encoding(kind: str, data: bytes, encoding: str) -> None:
    side = rule().record(invocation(kind, data))["captureData"]["endpointInput"]
    assert (side["encoding"], side["observedContentType"]) == (encoding, kind)
    decoded = base64.b64decode(side["data"]) if encoding == "BASE64" else side["data"].encode()
    assert decoded == data


def test_without_listed_content_types_everything_is_base64() -> None:
    captured = rule(CaptureContentTypeHeader=None).record(invocation())["captureData"]
    assert {side["encoding"] for side in captured.values()} == {"BASE64"}


@pytest.mark.parametrize("mode", ["Input", "Output"])
def test_one_side_can_be_captured_alone(mode: str) -> None:
    captured = rule(CaptureOptions=[{"CaptureMode": mode}]).record(invocation())["captureData"]
    assert list(captured) == [f"endpoint{mode}"]


def test_capture_can_be_off() -> None:
    assert CaptureRule.read(None) is None
    assert CaptureRule.read({**CONFIG, "EnableCapture": False}) is None


def test_the_percentage_is_kept() -> None:
    for percentage, low, high in ((0, 0, 0), (30, 400, 800), (100, 2000, 2000)):
        sampling = rule(InitialSamplingPercentage=percentage)
        assert low <= sum(sampling.samples() for _ in range(2000)) <= high


@pytest.fixture
def bucket(emulator_port: int) -> tuple[Any, str]:
    s3 = aws_client("s3", emulator_port)
    name = f"capture-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3, name


def read(s3: Any, bucket: str) -> dict[str, list[dict[str, Any]]]:
    """Every captured file's records, by key."""
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    bodies = {o["Key"]: s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read() for o in listed}
    return {
        key: [json.loads(line) for line in body.decode().splitlines()]
        for key, body in bodies.items()
    }


def test_records_are_written_by_endpoint_variant_and_hour(bucket: tuple[Any, str]) -> None:
    s3, name = bucket
    writer = CaptureWriter(lambda _role: s3, interval=60.0)
    to = rule(DestinationS3Uri=f"s3://{name}/some/prefix/")
    for number in range(100):
        writer.capture(to, "e1", "V1", invocation(inference_id=str(number)))
    writer.capture(to, "e1", "V1", invocation(time=TIME + timedelta(hours=1)))
    writer.capture(to, "e1", "V2", invocation(data="3,\u3042\u2028\n".encode()))
    writer.close()  # what was taken is written at a clean stop, however long the interval
    files = read(s3, name)
    counts = {key.rpartition("/")[0]: len(records) for key, records in files.items()}
    assert counts == {
        "some/prefix/e1/V1/2022/02/14/17": 100,
        "some/prefix/e1/V1/2022/02/14/18": 1,
        "some/prefix/e1/V2/2022/02/14/17": 1,
    }
    assert all(re.search(r"/25-49-123-[0-9a-f-]{36}\.jsonl$", key) for key in files)
    hundred = next(records for records in files.values() if len(records) == 100)
    order = [record["eventMetadata"]["inferenceId"] for record in hundred]
    assert order == [str(number) for number in range(100)]


def test_records_are_written_soon(bucket: tuple[Any, str]) -> None:
    s3, name = bucket
    writer = CaptureWriter(lambda _role: s3, interval=0.1)
    writer.capture(rule(DestinationS3Uri=f"s3://{name}"), "e1", "V1", invocation())
    until(lambda: bool(read(s3, name)), seconds=5)
    assert next(iter(read(s3, name))).startswith("e1/V1/2022/")
    writer.close()


def test_records_can_come_late(bucket: tuple[Any, str]) -> None:
    s3, name = bucket
    writer = CaptureWriter(lambda _role: s3, interval=0.01, delay=1.0)
    to = rule(DestinationS3Uri=f"s3://{name}")
    captured = time.monotonic()
    writer.capture(to, "e1", "V1", invocation(inference_id="first"))
    until(lambda: bool(read(s3, name)))
    assert time.monotonic() >= captured + 1.0
    (key,) = read(s3, name)
    assert key.startswith("e1/V1/2022/02/14/17/25-49-123-"), "the time is the invocation's"

    writer.capture(to, "e1", "V1", invocation(inference_id="second"))
    writer.close()  # which waits for nothing
    assert len(read(s3, name)) == 2
    assert time.monotonic() < captured + 60


class FailingS3:
    """S3 that cannot be reached for the first calls."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.bodies: list[bytes] = []

    def put_object(self, *, Body: bytes, **_: object) -> None:  # noqa: N803 - boto3's name
        if self.failures:
            self.failures -= 1
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1")
        self.bodies.append(Body)


def test_records_wait_while_s3_is_away() -> None:
    s3 = FailingS3(failures=2)
    writer = CaptureWriter(lambda _role: s3, interval=0.01)
    writer.capture(rule(), "e1", "V1", invocation())
    until(lambda: bool(s3.bodies))
    writer.close()
    assert len(b"".join(s3.bodies).splitlines()) == 1


def test_a_file_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    s3 = FailingS3(failures=1)

    def client(role: str) -> FailingS3:
        if role == "faulty":
            raise ValueError(role)
        return s3

    writer = CaptureWriter(client, interval=0.2)
    for role in ("away", "faulty", "well"):
        read = CaptureRule.read(CONFIG, role)
        assert read is not None
        writer.capture(read, role, "V1", invocation(inference_id=role))
    until(lambda: len(s3.bodies) == 2, seconds=10)
    writer.close()
    records = [json.loads(body)["eventMetadata"]["inferenceId"] for body in s3.bodies]
    assert sorted(records) == ["away", "well"]
    assert "data capture to s3://bucket/some/prefix/faulty/" in caplog.text


def test_batches_keep_order_and_lose_nothing() -> None:
    passed: list[int] = []

    def send(items: list[int]) -> list[int]:
        passed.extend(items)
        return []

    def write() -> None:
        for number in range(1000):
            batcher.put(number)

    batcher = Batcher[int]("test", send, interval=0.001)
    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    batcher.close()
    assert sorted(passed) == sorted(list(range(1000)) * 4)


def test_a_batch_that_fails_for_good_does_not_stop_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    passed: list[int] = []

    def send(items: list[int]) -> list[int]:
        if 0 in items:
            raise ValueError("cannot be sent")
        passed.extend(items)
        return []

    batcher = Batcher[int]("test", send, interval=0.01)
    batcher.put(0)
    until(lambda: "1 items were given up" in caplog.text)
    batcher.put(1)
    batcher.close()
    assert passed == [1]


def test_what_waits_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    batcher = Batcher[bytes]("test", lambda items: items, interval=60.0, size=len, limit=10)
    batcher.put(b"x" * 8)
    batcher.put(b"y" * 8)
    assert "more than 10 waiting" in caplog.text
    batcher.close()
    assert "1 items could not be passed on" in caplog.text


OBSERVATIONS = [
    Observation("e1", "V1", 200, 1000),
    Observation("e1", "V1", 200, 1000),
    Observation("e1", "V1", 400, 3000),
    Observation("e1", "V1", 500, 2000),
    Observation("e1", "V1", 0, None),
]


def test_metrics_of_a_batch() -> None:
    data = {d["MetricName"]: d for d in metric_data(OBSERVATIONS, TIME)}
    counts = {
        name: (d["StatisticValues"]["SampleCount"], d["StatisticValues"]["Sum"])
        for name, d in data.items()
        if "StatisticValues" in d
    }
    assert counts == {
        "Invocations": (5, 5),
        "InvocationsPerInstance": (5, 5),
        "Invocation4XXErrors": (5, 1),
        "Invocation5XXErrors": (5, 2),
    }
    latency = data["ModelLatency"]
    assert latency["Unit"] == "Microseconds"
    assert dict(zip(latency["Values"], latency["Counts"], strict=True)) == {
        1000.0: 2.0,
        3000.0: 1.0,
        2000.0: 1.0,
    }


def test_a_datum_has_at_most_150_values() -> None:
    observations = [Observation("e1", "V1", 200, number) for number in range(400)]
    latencies = [d for d in metric_data(observations, TIME) if d["MetricName"] == "ModelLatency"]
    assert [len(d["Values"]) for d in latencies] == [150, 150, 100]


def test_metrics_reach_cloudwatch(emulator_port: int) -> None:
    cloudwatch = aws_client("cloudwatch", emulator_port)
    endpoint = f"e-{uuid.uuid4().hex}"
    metrics = EndpointMetrics(cloudwatch, interval=60.0)
    for item in OBSERVATIONS:
        metrics.observe(Observation(endpoint, item.variant, item.status, item.latency))
    metrics.close()
    now = datetime.now(UTC)

    def statistic(name: str, kind: str) -> float:
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": "V1"},
            ],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=10),
            Period=3600,
            Statistics=[kind],
        )
        return float(sum(point[kind] for point in found["Datapoints"]))

    assert statistic("Invocations", "Sum") == 5
    assert statistic("Invocation4XXErrors", "Sum") == 1
    assert statistic("Invocation5XXErrors", "Sum") == 2
    assert statistic("ModelLatency", "Maximum") == 3000
    assert statistic("ModelLatency", "Minimum") == 1000
