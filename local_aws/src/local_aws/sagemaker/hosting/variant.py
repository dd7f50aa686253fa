"""A production variant: the instances that answer for it, each a process of its own."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.hosting.serving import Hosted, Server, ServingError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

MODEL = "_Model"
"""Member of a deployed production variant: its model, which may be deleted while it serves."""

DRAIN_SECONDS = 70.0
"""How long requests under way are waited for: longer than a real-time request may take."""

HEALTH_CHECK_SECONDS = 240
"""How long a container may take until it answers, where its variant does not say."""


class Unavailable(Exception):  # noqa: N818 - an answer to the caller, not a fault
    """A request cannot be answered now.

    Attributes:
        status: HTTP status of the answer.
        code: AWS's name of the error.
        text: The message; AWS sends none when it throttles.
    """

    def __init__(self, status: int, code: str, text: str | None) -> None:
        super().__init__(text or code)
        self.status, self.code, self.text = status, code, text


class Variant:
    """A variant on instances.

    Attributes:
        name: Its name.
        config: The production variant, as in the endpoint config.
        weight: Its share of the traffic, in relation to the other variants' weights.
        count: How many instances it should have.
        image: The container image.
        captured: Whether its requests are captured where the endpoint has data capture.
        largest_body: Bytes of a request; None for the limit of all requests.
    """

    captured = True
    largest_body: int | None = None

    def __init__(
        self, service: Service, endpoint: str, config: Mapping[str, Any], folder: Path
    ) -> None:
        """Prepare a variant; nothing is started.

        Args:
            service: The service.
            endpoint: The endpoint's name, for its log group.
            config: The production variant, as `servable` returns it: with its model.
            folder: The fleet's folder; an instance's is <variant>-<instance id> in it.
        """
        self.name: str = config["VariantName"]
        self.weight: float = config.get("InitialVariantWeight", 1.0)
        self.count: int = config.get("InitialInstanceCount", 1)
        self.config = config
        self.image: str = config[MODEL]["PrimaryContainer"]["Image"]
        self._service, self._endpoint, self._folder = service, endpoint, folder
        self._resolved = time.time()
        routing = config.get("RoutingConfig", {}).get("RoutingStrategy")
        self._least_outstanding = routing == "LEAST_OUTSTANDING_REQUESTS"
        self._started: set[Server] = set()
        self._instances: list[Server] = []
        self._requests: Counter[Server] = Counter()
        self._changed = threading.Condition()
        self._stopped = False

    @property
    def instances(self) -> int:
        """How many instances answer."""
        return len(self._instances)

    def summary(self) -> dict[str, Any]:
        """Return the variant's ProductionVariantSummary."""
        return {
            **self._common_summary(),
            "CurrentInstanceCount": self.instances,
            "DesiredInstanceCount": self.count,
        }

    def _common_summary(self) -> dict[str, Any]:
        deployed = {"SpecifiedImage": self.image, "ResolvedImage": self.image}
        return {
            "VariantName": self.name,
            "DeployedImages": [{**deployed, "ResolutionTime": self._resolved}],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
        }

    # Instances

    def launch(self, count: int) -> list[Server]:
        """Start instances, which get no requests before `admit`.

        Raises:
            ServingError: One did not start, or the variant is stopped.
            StorageError: The model is not in S3.
        """
        launched = []
        for _ in range(count):
            server = self._server()
            with self._changed:
                if self._stopped:
                    raise ServingError("The endpoint is being stopped.")
                self._started.add(server)
            launched.append(server)
            server.start()
        return launched

    def admit(self, servers: list[Server]) -> None:
        """Lets instances take requests, once they answer.

        Raises:
            ServingError: One does not.
        """
        for server in servers:
            server.wait_healthy()
        with self._changed:
            self._instances += servers
            self._changed.notify_all()

    def scale(self, count: int) -> None:
        """Start or end instances until there are `count`; requests go on.

        Raises:
            ServingError: A new one did not come up; those before are left as they were.
            StorageError: The model is not in S3.
        """
        if count > self.instances:
            before = set(self._started)
            try:
                self.admit(self.launch(count - self.instances))
            except BaseException:
                for server in self._started - before:
                    self._end(server)
                raise
        with self._changed:
            leaving = self._instances[count:]
            del self._instances[count:]
        for server in leaving:
            self._drain(server)
            self._end(server)

    @contextmanager
    def instance(self) -> Iterator[Server]:
        """Yield an instance for one request, which is not ended during the block.

        Raises:
            Unavailable: There is none.
        """
        with self._changed:
            if not self._instances:
                text = f"Variant {self.name} of endpoint {self._endpoint} has no instances."
                raise Unavailable(503, "ServiceUnavailable", text)
            server = self._pick()
            self._requests[server] += 1
        try:
            yield server
        finally:
            with self._changed:
                self._requests[server] -= 1
                self._changed.notify_all()

    def stop(self) -> None:
        """End all instances, also those that are just being started."""
        with self._changed:
            self._stopped = True
            self._instances.clear()
            self._changed.notify_all()
            servers = list(self._started)
        for server in servers:
            self._end(server)

    def _pick(self) -> Server:
        if self._least_outstanding:
            return min(self._instances, key=lambda server: self._requests[server])
        return random.choice(self._instances)  # noqa: S311 - spreads load, keeps no secret

    def _drain(self, server: Server) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._requests[server], DRAIN_SECONDS)

    def _end(self, server: Server) -> None:
        server.stop()
        with self._changed:
            self._started.discard(server)
            del self._requests[server]

    def _server(self) -> Server:
        instance_id = f"i-{uuid.uuid4().hex[:17]}"
        hosted = Hosted(
            self.config[MODEL],
            f"production variant {self.name}",
            log_group=f"/aws/sagemaker/Endpoints/{self._endpoint}",
            log_stream=f"{self.name}/{instance_id}",
            startup_seconds=self._startup_seconds(),
        )
        return Server(self._service, hosted, self._folder / f"{self.name}-{instance_id}")

    def _startup_seconds(self) -> float:
        given: float | None = self.config.get("ContainerStartupHealthCheckTimeoutInSeconds")
        return given or HEALTH_CHECK_SECONDS
