"""What runs for the endpoints of one service, beside what is stored of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from local_aws.sagemaker.hosting.capture import CaptureWriter
from local_aws.sagemaker.hosting.fleet import Fleet, Host
from local_aws.sagemaker.hosting.metrics import EndpointMetrics

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service
    from local_aws.sagemaker.hosting.async_queue import AsyncQueue


@dataclass
class Hosting:
    """What runs for the endpoints of one service.

    Attributes:
        capture: Writes captured data.
        metrics: Sends metrics.
        host: Which fleets answer.
        fleets: All fleets that have processes, also those that do not answer yet or any more.
        queues: The queues of the asynchronous endpoints, by endpoint.
        scaling: Whether Application Auto Scaling is at work.
        closing: Set once the service is being closed.
    """

    capture: CaptureWriter
    metrics: EndpointMetrics
    host: Host = field(default_factory=Host)
    fleets: set[Fleet] = field(default_factory=set)
    queues: dict[str, AsyncQueue] = field(default_factory=dict)
    scaling: bool = False
    closing: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        """Answers the requests under way, writes captured data and metrics, ends all servers."""
        self.closing.set()
        for queue in list(self.queues.values()):
            queue.close()
        for endpoint in self.host.endpoints():
            self.host.route(endpoint)
        for fleet in list(self.fleets):
            if not fleet.asynchronous:  # what is in a queue is taken up at the next start
                fleet.drain()
            fleet.stop()
        self.capture.close()
        self.metrics.close()


_hostings: WeakKeyDictionary[Service, Hosting] = WeakKeyDictionary()
_lock = threading.Lock()


def hosting(service: Service) -> Hosting:
    """Return the hosting of a service, made at its first use."""
    with _lock:
        if service not in _hostings:
            _hostings[service] = Hosting(
                CaptureWriter(
                    partial(service.client, "s3"), delay=60 * service.settings.capture_minutes
                ),
                EndpointMetrics(service.client("cloudwatch")),
            )
        return _hostings[service]


def present_hosting(service: Service) -> Hosting | None:
    """Return the hosting of a service, if it was used."""
    with _lock:
        return _hostings.get(service)
