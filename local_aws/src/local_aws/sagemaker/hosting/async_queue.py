"""The queues of asynchronous endpoints, kept in the store.

A request stays stored until its outcome is in S3 and its notification sent, so the end of this
process at any instant loses none; one that ran then runs again, as with AWS, whose queue delivers
at least once.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.loops import attempt
from local_aws.sagemaker.hosting.async_invocation import EXPIRED, Invocation, Requeue

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service
    from local_aws.sagemaker.hosting.running import Hosting

METRICS_SECONDS = 10.0
"""How often the metrics of the backlog are sent; AWS's come every minute."""

_KIND = "AsyncInvocation"
RETRY_SECONDS = 5.0
"""How long a queue pauses after a request whose outcome could not be stored."""

_DEFAULT_CONCURRENCY = 4
_POLL_SECONDS = 0.25
_EXPIRY_SECONDS = 1.0
_log = logging.getLogger(__name__)


class AsyncQueue:
    """The queue of one endpoint, and the thread that sends its requests to the instances."""

    def __init__(self, service: Service, present: Hosting, endpoint: str) -> None:
        """Take up what is stored, and start.

        Args:
            service: The service.
            present: Where the endpoint's fleets and metrics are.
            endpoint: The endpoint's name.
        """
        self._service, self._present, self._endpoint = service, present, endpoint
        self._changed = threading.Condition()
        self._closed = False
        self._paused_until = 0.0  # by `time.monotonic`
        self._next_metrics = self._next_expiry = 0.0
        # Time received and time of expiry of each request that runs.
        self._running: dict[str, tuple[float, float]] = {}
        stored = reversed(service.store.list(_KIND, EndpointName=endpoint))
        # Key, time received and time of expiry of each; the oldest first.
        self._waiting: deque[tuple[str, float, float]] = deque(
            (body["Key"], body["ReceivedTime"], _expiry(body)) for body in stored
        )
        service.submit(self._run)

    def put(self, body: dict[str, Any]) -> None:
        """Store a request, and return once it cannot be lost.

        Args:
            body: Its members, see `async_inference`; those without value are None.
        """
        key = uuid.uuid4().hex
        given = {name: value for name, value in body.items() if value is not None}
        self._service.store.insert(_KIND, key, key, {"Key": key, **given})
        with self._changed:
            self._waiting.append((key, body["ReceivedTime"], _expiry(body)))
            self._changed.notify_all()

    def wake(self) -> None:
        """Look at the number of instances anew."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Start no further request; what is stored stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # The thread

    def _run(self) -> None:
        while not self._closed:
            if not attempt(f"the queue of endpoint {self._endpoint}", self._turn):
                time.sleep(_POLL_SECONDS)

    def _turn(self) -> None:
        with self._changed:
            now = time.monotonic()
            if not self._closed and now < self._next_metrics and not self._ready():
                wait = _POLL_SECONDS if self._waiting else self._next_metrics - now
                self._changed.wait(min(wait, self._next_metrics - now))
            if self._closed:
                return
            taken = [self._take() for _ in range(self._ready())]
            if now >= self._next_expiry:  # all are looked at: not with each change
                taken += self._take_expired()
                self._next_expiry = now + _EXPIRY_SECONDS
        for key in taken:
            if not attempt(f"request {key}", self._service.submit, self._process, key):
                self._wait_again(key)
        if time.monotonic() >= self._next_metrics:
            self._next_metrics = time.monotonic() + METRICS_SECONDS
            self._send_metrics()

    def _ready(self) -> int:
        """How many requests can be sent now."""
        fleet = self._present.host.fleet(self._endpoint)
        if fleet is None or time.monotonic() < self._paused_until:
            return 0
        client = fleet.config["AsyncInferenceConfig"].get("ClientConfig", {})
        each: int = client.get("MaxConcurrentInvocationsPerInstance", _DEFAULT_CONCURRENCY)
        return max(0, min(len(self._waiting), each * fleet.instances - len(self._running)))

    def _take(self) -> str:
        key, received, expires = self._waiting.popleft()
        self._running[key] = received, expires
        return key

    def _take_expired(self) -> list[str]:
        if time.monotonic() < self._paused_until:
            return []
        expired = [entry for entry in self._waiting if entry[2] < time.time()]
        for entry in expired:
            self._waiting.remove(entry)
            self._running[entry[0]] = entry[1:]
        return [key for key, _received, _expires in expired]

    def _process(self, key: str) -> None:
        again = done = False
        try:
            body = self._service.store.get(_KIND, key)
            if body is not None:  # else the endpoint is being deleted
                self._invoke(body)
            self._service.store.delete(_KIND, key)
            done = True
        except Requeue:
            again = True
        except Exception:
            # It has no outcome: the disk may be full. It stays stored until it has one.
            _log.exception(
                "asynchronous request %s of endpoint %s will be tried again", key, self._endpoint
            )
        finally:
            if not (again or done):
                self._wait_again(key)
            else:
                with self._changed:
                    received, expires = self._running.pop(key)
                    if again:
                        self._waiting.appendleft((key, received, expires))
                    self._changed.notify_all()

    def _wait_again(self, key: str) -> None:
        """Let a request that could not be processed wait, and the queue pause."""
        with self._changed:
            self._waiting.append((key, *self._running.pop(key)))
            self._paused_until = time.monotonic() + RETRY_SECONDS
            self._changed.notify_all()

    def _invoke(self, body: dict[str, Any]) -> None:
        with self._present.host.request(self._endpoint) as fleet:
            variant = None if fleet is None else fleet.choose(None)
            if fleet is None or variant is None:
                raise Requeue
            invocation = Invocation(self._service, self._present.metrics, fleet, variant, body)
            if _expiry(body) < time.time():
                invocation.fail(EXPIRED)
            else:
                invocation.run()

    def _send_metrics(self) -> None:
        fleet = self._present.host.fleet(self._endpoint)
        if fleet is None:
            return
        instances = fleet.instances
        with self._changed:
            size = len(self._waiting) + len(self._running)
            ages = [entry[1] for entry in self._waiting]
            ages += [received for received, _expires in self._running.values()]
        now = time.time()
        for name, value, unit in (
            ("ApproximateBacklogSize", size, "Count"),
            ("ApproximateBacklogSizePerInstance", size / max(1, instances), "Count"),
            ("ApproximateAgeOfOldestRequest", now - min(ages, default=now), "Seconds"),
            ("HasBacklogWithoutCapacity", float(size > 0 and instances == 0), "Count"),
        ):
            self._present.metrics.put(name, value, unit, EndpointName=self._endpoint)


def clear(service: Service, endpoint: str) -> None:
    """Forgets the requests of an endpoint."""
    for body in service.store.list(_KIND, EndpointName=endpoint):
        service.store.delete(_KIND, body["Key"])


def _expiry(body: dict[str, Any]) -> float:
    received: float = body["ReceivedTime"]
    return received + float(body["RequestTTLSeconds"])
