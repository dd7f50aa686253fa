"""The log that a serverless endpoint writes of itself: against moto's S3 and CloudWatch."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from support.image import Server, fail
from support.inference_endpoint import NAMES

from usecase import inference_log
from usecase.config import UseCase
from usecase.inference_log import Exchange, InferenceLog, Limits
from usecase.predictions import capture
from workflows import names

if TYPE_CHECKING:
    from support.s3_inference_log import Written

pytest_plugins = ["support.s3_inference_log"]

BUCKET = "log"
PREFIX = f"capture/version=1/{NAMES.endpoint}/{names.VARIANT}"
CSV, JSON = "text/csv", "application/json"
EXCHANGE = Exchange(b"1,2\n", CSV, b"0.5\n", CSV)
#: Long enough for a busy machine, and never waited for when all is well.
PATIENCE = 30.0


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account in memory with the bucket."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clients = inference_log.storage, inference_log.cloudwatch
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client
    for each in clients:
        each.cache_clear()


def logged(s3: Any) -> dict[str, list[dict[str, Any]]]:
    """The events in the bucket, by key."""
    found = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    bodies = {each["Key"]: s3.get_object(Bucket=BUCKET, Key=each["Key"]) for each in found}
    return {
        key: [json.loads(line) for line in body["Body"].read().splitlines()]
        for key, body in bodies.items()
    }


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it does not happen"
        threading.Event().wait(0.02)


def not_logged() -> float:
    """The sum of the metric."""
    now = datetime.now(UTC)
    points = boto3.client("cloudwatch").get_metric_statistics(
        Namespace="space",
        MetricName=inference_log.METRIC,
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points)


def test_events_are_what_sagemaker_would_capture(
    s3: Any, tmp_path: Path, use_case: UseCase
) -> None:
    """The reader of captures takes them, and finds version, time and inference id."""
    log = InferenceLog(BUCKET, PREFIX, "space")
    before = datetime.now(UTC) - timedelta(seconds=1)
    names_ = use_case.features.names
    row = ["1" if name in use_case.features.numeric else "a" for name in names_]
    answer = ",".join("1" for _ in use_case.target.answer)
    sent = {"instances": [dict(zip(names_, row, strict=True))]}
    told = {"predictions": [dict.fromkeys(use_case.target.answer, 1)]}
    as_csv = Exchange(f"{','.join(row)}\n".encode(), CSV, f"{answer}\n".encode(), CSV)
    as_json = Exchange(json.dumps(sent).encode(), JSON, json.dumps(told).encode(), JSON)
    log.add({"x-amzn-sagemaker-inference-id": "a"}, as_csv)
    log.add({"x-amzn-sagemaker-custom-attributes": "k=v; inference_id=b"}, as_json)
    log.close()
    for key, events in logged(s3).items():
        path = tmp_path / key.removeprefix("capture/")
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    found = capture.read(tmp_path, use_case, "1", {})
    assert found.rejected.is_empty()
    assert found.rows["inference_id"].to_list() == ["a", "b"]
    assert found.rows["model_version"].to_list() == [1, 1]
    assert all(before <= time <= datetime.now(UTC) for time in found.rows["time"])


def test_event_without_an_id_gets_one_of_its_own(s3: Any) -> None:
    log = InferenceLog(BUCKET, PREFIX, "space")
    for _ in range(2):
        log.add({}, EXCHANGE)
    log.close()
    (events,) = logged(s3).values()
    metadata = [event["eventMetadata"] for event in events]
    assert not [each for each in metadata if "inferenceId" in each]
    assert len({each["eventId"] for each in metadata}) == 2


def test_file_is_in_the_folder_of_its_hour(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [datetime(2026, 1, 31, 22, 59, 59, tzinfo=UTC), datetime(2026, 1, 31, 23, tzinfo=UTC)]
    log = InferenceLog(BUCKET, PREFIX, "space", Limits(idle=PATIENCE, longest=PATIENCE))
    for moment in times:
        monkeypatch.setattr("usecase.inference_log.time.time", moment.timestamp)
        log.add({}, EXCHANGE)
    log.close()
    folders = [key.removeprefix(f"{PREFIX}/").rpartition("/")[0] for key in logged(s3)]
    assert folders == ["2026/01/31/22", "2026/01/31/23"]


@pytest.mark.parametrize(
    ("limits", "events"),
    [
        (Limits(idle=0.01, longest=PATIENCE), 1),
        (Limits(idle=PATIENCE, longest=0.01), 1),
        (Limits(idle=PATIENCE, longest=PATIENCE, chunk=20), 3),
    ],
)
def test_events_are_written_when_none_follows_or_they_are_many_or_old(
    s3: Any, limits: Limits, events: int
) -> None:
    log = InferenceLog(BUCKET, PREFIX, "space", limits)
    for _ in range(events):
        log.add({}, EXCHANGE)
    until(lambda: logged(s3))
    assert sum(map(len, logged(s3).values())) == events
    log.close()


class Faulty:
    """An S3 whose answers get lost, or which refuses.

    Attributes:
        keys: What it was asked to write, each time.
        lost: So many first answers get lost, though all is written.
        refuses: Whether it writes nothing.
    """

    def __init__(self, s3: Any, lost: int = 0, *, refuses: bool = False) -> None:
        self.keys: list[str] = []
        self.lost, self.refuses = lost, refuses
        self._s3 = s3

    def put_object(self, **request: Any) -> object:
        self.keys.append(request["Key"])
        if not self.refuses:
            self._s3.put_object(**request)
        if self.refuses or len(self.keys) <= self.lost:
            raise TimeoutError("no answer")
        return {}


def test_nothing_is_lost_or_doubled_when_an_answer_of_s3_is(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Faulty(s3, lost=1)
    monkeypatch.setattr(inference_log, "storage", lambda: faulty)
    log = InferenceLog(BUCKET, PREFIX, "space", Limits(idle=0.01, retry=0.01))
    log.add({"x-amzn-sagemaker-inference-id": "a"}, EXCHANGE)
    until(lambda: len(faulty.keys) == 2)
    log.add({"x-amzn-sagemaker-inference-id": "b"}, EXCHANGE)
    log.close()
    assert faulty.keys[0] == faulty.keys[1] != faulty.keys[2]
    found = [event for events in logged(s3).values() for event in events]
    assert sorted(event["eventMetadata"]["inferenceId"] for event in found) == ["a", "b"]
    assert not_logged() == 0


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits to be written once more takes room as well; none of it keeps a request waiting."""
    faulty = Faulty(s3, refuses=True)
    monkeypatch.setattr(inference_log, "storage", lambda: faulty)
    room = 3 * (len(EXCHANGE.body) + len(EXCHANGE.answer))
    log = InferenceLog(BUCKET, PREFIX, "space", Limits(idle=0.01, retry=PATIENCE, queue=room))
    log.add({}, EXCHANGE)
    until(lambda: faulty.keys)
    for _ in range(5):
        log.add({}, EXCHANGE)
    faulty.refuses = False
    log.close()
    assert sum(map(len, logged(s3).values())) == 3
    assert not_logged() == 3


def test_what_cannot_be_written_at_the_end_is_counted(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_log, "storage", lambda: Faulty(s3, refuses=True))
    log = InferenceLog(BUCKET, PREFIX, "space")
    for _ in range(2):
        log.add({}, EXCHANGE)
    log.close()
    assert not_logged() == 2


def test_server_logs_what_it_has_answered_and_writes_it_when_it_ends(
    written: "Written",
    trained: Path,
    use_case: UseCase,
    start_server: Callable[..., Server],
) -> None:
    place = {"INFERENCE_LOG": f"s3://{BUCKET}/{PREFIX}", "METRIC_NAMESPACE": "space"}
    server = start_server(trained, WEB_CONCURRENCY="2", **place, **written.environment)
    row = ",".join("1" if n in use_case.features.numeric else "a" for n in use_case.features.names)
    identity = {"X-Amzn-SageMaker-Inference-Id": "flight-1"}
    status, _, answer = server.invoke(f"{row}\n", CSV, **identity)
    assert status == 200
    assert server.invoke("what?\n", CSV)[0] == 400
    server.process.send_signal(signal.SIGTERM)
    _, log = server.process.communicate(timeout=PATIENCE)
    assert "Traceback" not in log
    ((path, body),) = written.objects.items()
    assert path.startswith(f"/{BUCKET}/{PREFIX}/")
    event = json.loads(body)
    assert event["eventMetadata"]["inferenceId"] == "flight-1"
    sides = event["captureData"]
    assert sides["endpointInput"]["data"] == f"{row}\n"
    assert sides["endpointOutput"]["data"] == answer


def test_environment_that_does_not_say_where_to_is_refused(trained: Path) -> None:
    space = {"METRIC_NAMESPACE": "space"}
    assert "'bucket' is not a place like" in fail("serve", trained, INFERENCE_LOG="bucket", **space)
    assert "METRIC_NAMESPACE: is missing" in fail("serve", trained, INFERENCE_LOG="s3://b/p")
