"""The variants of one deployment of an endpoint, and which deployment answers."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.hosting.capture import CaptureRule
from local_aws.sagemaker.hosting.serverless import ServerlessVariant
from local_aws.sagemaker.hosting.variant import DRAIN_SECONDS, MODEL, Variant

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service


class Fleet:
    """All variants of one deployment of an endpoint.

    Attributes:
        config: The endpoint config.
        folder: Where its instances' folders are.
        role: ARN of the role of its first model; empty for a model without one.
        capture: What is captured of its requests.
        variants: Its variants by name.
    """

    def __init__(
        self,
        service: Service,
        endpoint: str,
        config: Mapping[str, Any],
        capture: Mapping[str, Any] | None,
        variants: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Prepare the variants of an endpoint config.

        Args:
            service: The service.
            endpoint: The endpoint's name.
            config: The endpoint config, as `servable` returns it: with its models.
            capture: The DataCaptureConfig in force, which may be another deployment's.
            variants: Weights and counts in force that are not the config's: by variant,
                members of ProductionVariant.
        """
        self.config = config
        self.folder = endpoint_folder(service, endpoint) / uuid.uuid4().hex[:17]
        # Not the store's model, which may have been deleted since the endpoint was deployed.
        self.role: str = config["ProductionVariants"][0][MODEL].get("ExecutionRoleArn", "")
        self.capture = CaptureRule.read(capture, self.role)
        self.variants: dict[str, Variant] = {}
        for variant in config["ProductionVariants"]:
            name = variant["VariantName"]
            kind = ServerlessVariant if "ServerlessConfig" in variant else Variant
            in_force = {**variant, **(variants or {}).get(name, {})}
            self.variants[name] = kind(service, endpoint, in_force, self.folder)
        self._changed = threading.Condition()
        self._requests = 0

    @property
    def asynchronous(self) -> bool:
        """Whether it answers requests from a queue."""
        return "AsyncInferenceConfig" in self.config

    @property
    def count(self) -> int:
        """How many instances it should have."""
        return sum(variant.count for variant in self.variants.values())

    @property
    def instances(self) -> int:
        """How many instances answer."""
        return sum(variant.instances for variant in self.variants.values())

    def summary(self) -> list[dict[str, Any]]:
        """Return the ProductionVariantSummary of each variant, as DescribeEndpoint shows it."""
        return [variant.summary() for variant in self.variants.values()]

    def start(self) -> None:
        """Start all variants and wait until each answers; stop all if one does not.

        Raises:
            ServingError: With the reason.
            StorageError: A model is not in S3.
        """
        try:
            launched = [
                (variant, variant.launch(variant.count)) for variant in self.variants.values()
            ]
            for variant, servers in launched:
                variant.admit(servers)
        except BaseException:
            self.stop()
            raise

    def enter(self) -> None:
        """Count a request in, so that `drain` waits for it."""
        with self._changed:
            self._requests += 1

    def leave(self) -> None:
        """Count a request out."""
        with self._changed:
            self._requests -= 1
            self._changed.notify_all()

    def choose(self, target: str | None) -> Variant | None:
        """Return the target variant, or one drawn by the variants' weights."""
        if target is not None:
            return self.variants.get(target)
        variants = list(self.variants.values())
        weights = [variant.weight for variant in variants]
        if len(variants) == 1 or not any(weights):
            return variants[0]
        return random.choices(variants, weights)[0]  # noqa: S311 - spreads load, keeps no secret

    def drain(self) -> None:
        """Wait for the requests under way; none lasts longer than the invocation time limit."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests == 0, timeout=DRAIN_SECONDS)

    def stop(self) -> None:
        """End all processes."""
        for variant in self.variants.values():
            variant.stop()


class Host:
    """Which fleets answer for each endpoint: one, or two while traffic moves between them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, list[tuple[Fleet, float]]] = {}

    @contextmanager
    def request(self, endpoint: str) -> Iterator[Fleet | None]:
        """Yield the fleet that answers a request, which will not be stopped during the block."""
        with self._lock:
            fleet = self._drawn(endpoint)
            if fleet is not None:
                fleet.enter()
        try:
            yield fleet
        finally:
            if fleet is not None:
                fleet.leave()

    def route(self, endpoint: str, *shares: tuple[Fleet, float]) -> list[Fleet]:
        """Spreads new requests over fleets by their shares.

        Returns:
            The fleets that had requests before.
        """
        with self._lock:
            before = [fleet for fleet, _share in self._routes.pop(endpoint, [])]
            if shares:
                self._routes[endpoint] = list(shares)
            return before

    def fleet(self, endpoint: str) -> Fleet | None:
        """Return the fleet that has an endpoint's traffic, or the older one's while it moves."""
        with self._lock:
            routes = self._routes.get(endpoint)
            return routes[0][0] if routes else None

    def endpoints(self) -> list[str]:
        """Return the endpoints that answer."""
        with self._lock:
            return list(self._routes)

    def _drawn(self, endpoint: str) -> Fleet | None:
        routes = self._routes.get(endpoint, [])
        if len(routes) < 2:
            return routes[0][0] if routes else None
        fleets = [fleet for fleet, _share in routes]
        return random.choices(fleets, [share for _fleet, share in routes])[0]  # noqa: S311 - as above


def endpoint_folder(service: Service, endpoint: str) -> Path:
    """Return the folder of an endpoint's instances, as <fleet>/<variant>-<instance id>/log.txt."""
    return service.settings.data_dir / "endpoints" / endpoint
