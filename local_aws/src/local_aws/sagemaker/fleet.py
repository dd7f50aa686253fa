"""The servers that answer for an endpoint, and the switch from one deployment to the next."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.capture import CaptureRule
from local_aws.sagemaker.serving import Hosted, Server

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

_DRAIN_SECONDS = 70.0
_HEALTH_CHECK_SECONDS = 240


class Variant(Server):
    """The server of one production variant."""

    def __init__(
        self,
        service: Service,
        endpoint: str,
        config: Mapping[str, Any],
        fleet_id: str,
        folder: Path,
    ) -> None:
        """Prepares a server; nothing is started.

        Args:
            service: the service.
            endpoint: the endpoint's name, for its log group.
            config: the production variant, as in the endpoint config.
            fleet_id: stands for the instance in the log stream's name.
            folder: the server's own folder, made when it starts.

        Raises:
            ApiError: the model, or the model package it names, is not there.
        """
        self.name: str = config["VariantName"]
        self.weight: float = config.get("InitialVariantWeight", 1.0)
        self.serverless = "ServerlessConfig" in config
        self._config = config
        startup = config.get("ContainerStartupHealthCheckTimeoutInSeconds", _HEALTH_CHECK_SECONDS)
        hosted = Hosted(
            config["ModelName"],
            f"production variant {self.name}",
            log_group=f"/aws/sagemaker/Endpoints/{endpoint}",
            log_stream=f"{self.name}/i-{fleet_id}",
            startup_seconds=startup,
        )
        super().__init__(service, hosted, folder)

    @property
    def summary(self) -> dict[str, Any]:
        """The variant's ProductionVariantSummary."""
        deployed = {"SpecifiedImage": self.image, "ResolvedImage": self.image}
        summary: dict[str, Any] = {
            "VariantName": self.name,
            "DeployedImages": [{**deployed, "ResolutionTime": time.time()}],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
        }
        if self.serverless:
            config = self._config["ServerlessConfig"]
            return {**summary, "CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
        count = self._config.get("InitialInstanceCount", 1)
        return {**summary, "CurrentInstanceCount": count, "DesiredInstanceCount": count}


class Fleet:
    """All servers of one deployment of an endpoint."""

    def __init__(
        self,
        service: Service,
        endpoint: str,
        config: Mapping[str, Any],
        capture: Mapping[str, Any] | None,
    ) -> None:
        """Prepares the servers of an endpoint config.

        Args:
            service: the service.
            endpoint: the endpoint's name.
            config: the endpoint config.
            capture: the DataCaptureConfig in force, which may be another deployment's.

        Raises:
            ApiError: a model of the config is not there.
        """
        fleet_id = uuid.uuid4().hex[:17]
        self.folder = endpoint_folder(service, endpoint) / fleet_id
        self.capture = CaptureRule.read(capture)
        self.servers = {
            variant["VariantName"]: Variant(
                service, endpoint, variant, fleet_id, self.folder / variant["VariantName"]
            )
            for variant in config["ProductionVariants"]
        }
        self._changed = threading.Condition()
        self._requests = 0

    def summary(self) -> list[dict[str, Any]]:
        """The ProductionVariantSummary of each variant, as DescribeEndpoint shows it."""
        return [server.summary for server in self.servers.values()]

    def start(self) -> None:
        """Starts all servers and waits until each answers; stops all if one does not.

        Raises:
            ServingError: with the reason.
            StorageError: a model is not in S3.
        """
        try:
            for server in self.servers.values():
                server.start()
            for server in self.servers.values():
                server.wait_healthy()
        except BaseException:
            self.stop()
            raise

    def enter(self) -> None:
        """Counts a request in, so that `drain` waits for it."""
        with self._changed:
            self._requests += 1

    def leave(self) -> None:
        """Counts a request out."""
        with self._changed:
            self._requests -= 1
            self._changed.notify_all()

    def choose(self, target: str | None) -> Variant | None:
        """The target variant's server, or one drawn by the variants' weights."""
        if target is not None:
            return self.servers.get(target)
        servers = list(self.servers.values())
        weights = [server.weight for server in servers]
        if len(servers) == 1 or not any(weights):
            return servers[0]
        return random.choices(servers, weights)[0]  # noqa: S311 - spreads load, keeps no secret

    def drain(self) -> None:
        """Waits for the requests under way; none lasts longer than the invocation time limit."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests == 0, timeout=_DRAIN_SECONDS)

    def stop(self) -> None:
        """Ends all processes."""
        for server in self.servers.values():
            server.stop()


class Host:
    """Which fleet answers for each endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fleets: dict[str, Fleet] = {}

    @contextmanager
    def request(self, endpoint: str) -> Iterator[Fleet | None]:
        """The fleet that answers for an endpoint, which will not be stopped during the block."""
        with self._lock:
            fleet = self._fleets.get(endpoint)
            if fleet is not None:
                fleet.enter()
        try:
            yield fleet
        finally:
            if fleet is not None:
                fleet.leave()

    def switch(self, endpoint: str, fleet: Fleet | None) -> Fleet | None:
        """Sends all new requests to `fleet`; returns the fleet that had them before."""
        with self._lock:
            before = self._fleets.pop(endpoint, None)
            if fleet is not None:
                self._fleets[endpoint] = fleet
            return before

    def endpoints(self) -> list[str]:
        """The endpoints that answer."""
        with self._lock:
            return list(self._fleets)


def endpoint_folder(service: Service, endpoint: str) -> Path:
    """The folder of an endpoint's servers: <fleet>/<variant>/log.txt below it."""
    return service.settings.data_dir / "endpoints" / endpoint
