"""The log of requests and answers, which a serverless endpoint has to write itself.

SageMaker captures nothing of such endpoints. So each process of the server writes what SageMaker
would: the same events, to the same place,
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html

A request only puts its event into a queue. A thread writes what is there to S3: when it is much,
when it has waited for long, and when no further request comes, as SageMaker may then stop the
container, or let it sleep. When S3 does not answer, events wait; what does not fit into the queue
is dropped, and counted in a metric.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from usecase.errors import UseCaseError

if TYPE_CHECKING:
    from botocore.config import Config
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_s3 import S3Client

LOG = logging.getLogger("uvicorn.error")

PLACE = "INFERENCE_LOG"
"""The environment variable with where to write to, `s3://bucket/prefix`; unset: nowhere."""
NAMESPACE = "METRIC_NAMESPACE"
"""The environment variable with the namespace of the metric."""
METRIC = "NotLogged"
"""The metric that counts the predictions that are not in the log."""
ID_HEADER = "x-amzn-sagemaker-inference-id"
ATTRIBUTES_HEADER = "x-amzn-sagemaker-custom-attributes"
ID_ATTRIBUTE = "inference_id"
"""`inference_id=…` in the custom attributes, for where no header brings the inference id."""
HOUR = "%Y/%m/%d/%H"
"""The folder of an hour, as SageMaker names it."""
ENCODE = json.JSONEncoder(check_circular=False).encode
"""`json.dumps` in half its time: an event refers to nothing twice."""


class Exchange(NamedTuple):
    """A request and its answer.

    Attributes:
        body: What was sent, UTF-8.
        content_type: Its media type.
        answer: What was answered, UTF-8.
        accept: Its media type.
    """

    body: bytes
    content_type: str
    answer: bytes
    accept: str


class Event(NamedTuple):
    """What is logged.

    Attributes:
        exchange: The request and its answer.
        inference_id: The caller's name for it, empty without one.
        time: When it was answered, in seconds since 1970.
    """

    exchange: Exchange
    inference_id: str
    time: float

    @property
    def size(self) -> int:
        """Bytes of the payloads."""
        return len(self.exchange.body) + len(self.exchange.answer)


@dataclass(frozen=True)
class Batch:
    """Events of an hour, which become an object.

    Its name stays the same however often it is written, so that each event is there once.

    Attributes:
        events: The events.
        id: Names the object; its events are numbered under it.
    """

    events: list[Event]
    id: uuid.UUID

    @property
    def key(self) -> str:
        """Where the object is, below the log's prefix."""
        first = moment(self.events[0])
        return f"{first:{HOUR}}/{first:%M-%S}-{self.id}.jsonl"

    @property
    def size(self) -> int:
        """Bytes of the payloads."""
        return sum(event.size for event in self.events)


@dataclass(frozen=True)
class Limits:
    """When what is in the queue is written, and how much the queue holds.

    Attributes:
        chunk: Bytes of payloads from which on they are written at once.
        longest: Seconds that an event waits at most, while further ones come.
        idle: Seconds without a further event after which they are written.
        queue: Bytes that wait at most; what is more is dropped.
        retry: Seconds until S3 is tried again.
    """

    chunk: int = 1024**2
    longest: float = 2.0
    idle: float = 0.5
    queue: int = 32 * 1024**2
    retry: float = 5.0


class InferenceLog:
    """The log of one process."""

    def __init__(
        self, bucket: str, prefix: str, namespace: str, limits: Limits | None = None
    ) -> None:
        """Start the thread that writes.

        Args:
            bucket: Where to write to.
            prefix: What the keys begin with.
            namespace: That of the metric.
            limits: When to write.
        """
        self._bucket, self._prefix, self._namespace = bucket, prefix, namespace
        self._limits = limits or Limits()
        self._changed = threading.Condition()
        self._queue: list[Event] = []
        self._bytes = 0  # in the queue, and in batches that could not be written yet
        self._first = self._last = 0.0
        self._dropped = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self._thread.start()

    def add(self, headers: Mapping[str, str], exchange: Exchange) -> None:
        """Log a request and its answer, in the background.

        Args:
            headers: Those of the request, found by names in lower case.
            exchange: The request and its answer.
        """
        event = Event(exchange, inference_id(headers), time.time())
        with self._changed:
            if self._bytes + event.size > self._limits.queue:
                self._dropped += 1
                return
            self._last = time.monotonic()
            if not self._queue:
                self._first = self._last
            self._queue.append(event)
            self._bytes += event.size
            # As long as there is something the thread looks again by itself.
            if len(self._queue) == 1 or self._bytes >= self._limits.chunk:
                self._changed.notify()

    def close(self) -> None:
        """Write what is there, and end. What cannot be written now is counted as dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        """Write until the log is closed."""
        batches: list[Batch] = []
        closing = False
        while not closing:
            events, closing = self._take(after_failure=bool(batches))
            batches += by_hour(events)
            while batches and self._written(batches[0]):
                with self._changed:
                    self._bytes -= batches[0].size
                del batches[0]
            if closing:
                with self._changed:
                    self._dropped += sum(len(batch.events) for batch in batches)
            self._tell_dropped()

    def _take(self, *, after_failure: bool) -> tuple[list[Event], bool]:
        """Wait until there is something to write; the events, and whether the log is closed."""
        limits = self._limits
        with self._changed:
            if after_failure:
                self._changed.wait_for(lambda: self._closing, limits.retry)
            else:
                self._changed.wait_for(lambda: self._queue or self._closing)
            while not self._closing and not after_failure and self._bytes < limits.chunk:
                due = min(self._first + limits.longest, self._last + limits.idle)
                if (rest := due - time.monotonic()) <= 0:
                    break
                self._changed.wait(rest)
            events, self._queue = self._queue, []
            return events, self._closing

    def _written(self, batch: Batch) -> bool:
        """Write a batch; whether that has worked."""
        try:
            storage().put_object(
                Bucket=self._bucket, Key=f"{self._prefix}/{batch.key}", Body=lines(batch)
            )
        except Exception as error:  # whatever it is, answers are not to suffer
            LOG.error("%d predictions are not logged yet: %s", len(batch.events), error)
            return False
        return True

    def _tell_dropped(self) -> None:
        """Count what was dropped in the metric; if that fails, once more the next time."""
        with self._changed:
            dropped = self._dropped
        if not dropped:
            return
        LOG.error("%d predictions are not logged", dropped)
        try:
            cloudwatch().put_metric_data(
                Namespace=self._namespace,
                MetricData=[{"MetricName": METRIC, "Value": dropped, "Unit": "Count"}],
            )
        except Exception as error:  # as above
            LOG.error("the metric %s cannot be written: %s", METRIC, error)
            return
        with self._changed:
            self._dropped -= dropped


@cache
def storage() -> "S3Client":
    """The S3 client. Only the thread asks for it: boto3 takes a good part of a cold start."""
    import boto3  # noqa: PLC0415 - see above

    return boto3.client("s3", config=patience())


@cache
def cloudwatch() -> "CloudWatchClient":
    """The CloudWatch client, which is seldom needed."""
    import boto3  # noqa: PLC0415 - as above

    return boto3.client("cloudwatch", config=patience())


def patience() -> "Config":
    """How long AWS is waited for: SageMaker kills a container 30 s after it was told to end."""
    from botocore.config import Config  # noqa: PLC0415 - as above

    return Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})


def open_log() -> InferenceLog | None:
    """The log that the environment asks for, `None` where it asks for none.

    Raises:
        UseCaseError: When it does not say where to.
    """
    place = os.environ.get(PLACE)
    if not place:
        return None
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    if not place.startswith("s3://") or not bucket or not prefix:
        raise UseCaseError(f"{PLACE}: {place!r} is not a place like s3://bucket/prefix")
    if not (namespace := os.environ.get(NAMESPACE)):
        raise UseCaseError(f"{NAMESPACE}: is missing; it is that of the metric {METRIC}")
    return InferenceLog(bucket, prefix.rstrip("/"), namespace)


def inference_id(headers: Mapping[str, str]) -> str:
    """The inference id that a request brings, empty if none."""
    if found := headers.get(ID_HEADER):
        return found
    for attribute in headers.get(ATTRIBUTES_HEADER, "").split(";"):
        name, _, value = attribute.partition("=")
        if name.strip() == ID_ATTRIBUTE:
            return value.strip()
    return ""


def by_hour(events: Iterable[Event]) -> Iterator[Batch]:
    """The events in batches, each of one hour."""
    for _, found in groupby(events, lambda event: event.time // 3600):
        yield Batch([*found], uuid.uuid4())


def moment(event: Event) -> datetime:
    """When an event was, UTC."""
    return datetime.fromtimestamp(event.time, UTC)


def lines(batch: Batch) -> bytes:
    """Events as SageMaker captures them, one on each line."""
    # Random in all but the last twelve digits: an id for each event by itself takes longer.
    unique = str(batch.id)[:-12]
    events = enumerate(batch.events)
    return "".join(
        f"{ENCODE(captured(event, f'{unique}{number:012x}'))}\n" for number, event in events
    ).encode()


def captured(event: Event, event_id: str) -> dict[str, object]:
    """An event as SageMaker captures it."""
    exchange = event.exchange
    metadata = {
        "eventId": event_id,
        "inferenceTime": moment(event).isoformat(timespec="milliseconds"),
    }
    if event.inference_id:
        metadata["inferenceId"] = event.inference_id
    return {
        "captureData": {
            "endpointInput": payload("INPUT", exchange.content_type, exchange.body),
            "endpointOutput": payload("OUTPUT", exchange.accept, exchange.answer),
        },
        "eventMetadata": metadata,
        "eventVersion": "0",
    }


def payload(mode: str, content_type: str, data: bytes) -> dict[str, str]:
    """One side of an event."""
    return {
        "observedContentType": content_type,
        "mode": mode,
        "data": data.decode(),  # the server has read it as UTF-8
        "encoding": "CSV" if content_type == "text/csv" else "JSON",
    }
