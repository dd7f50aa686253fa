"""Serverless variants: no instance until the first request, and none after a while without one.

Source: "Deploy models with Amazon SageMaker Serverless Inference" of the developer guide. AWS
starts a container for each request that runs at the same time; here one process takes them all, and
MaxConcurrency limits how many.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.storage import StorageError
from local_aws.sagemaker.hosting.serving import Server, ServingError
from local_aws.sagemaker.hosting.variant import Unavailable, Variant

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

IDLE_SECONDS = 300.0
"""How long the process outlives its last request; AWS does not say how long its own do."""

_STARTUP_SECONDS = 180.0
COLD_START_SECONDS = 60.0
"""How long a request waits for a container to start."""
_MAX_BODY = 4 * 1024**2
_log = logging.getLogger(__name__)


class ServerlessVariant(Variant):
    """A variant without instances.

    Attributes:
        serverless: Its ServerlessConfig, as updates have changed it.
        on_cold_start: Called with the microseconds that a cold start took.
    """

    captured = False
    largest_body = _MAX_BODY

    def __init__(
        self, service: Service, endpoint: str, config: Mapping[str, Any], folder: Path
    ) -> None:
        """Prepare a variant, see `Variant`."""
        super().__init__(service, endpoint, config, folder)
        self.count = 1
        self.serverless: dict[str, Any] = dict(config["ServerlessConfig"])
        self.on_cold_start: Callable[[int], None] = lambda _microseconds: None
        self._under_way = 0
        self._starting = False
        self._failure = ""
        self._used = time.monotonic()

    def summary(self) -> dict[str, Any]:
        """Return the variant's ProductionVariantSummary."""
        return {
            **self._common_summary(),
            "CurrentServerlessConfig": self.serverless,
            "DesiredServerlessConfig": self.serverless,
        }

    def update(self, config: Mapping[str, Any]) -> None:
        """Change the concurrency (ServerlessUpdateConfig).

        Raises:
            ServingError: It is provisioned now, and the container does not answer.
        """
        self.replace({**self.serverless, **config})

    def replace(self, config: Mapping[str, Any]) -> None:
        """Change to another ServerlessConfig.

        Raises:
            ServingError: its concurrency is provisioned, and the container does not answer.
        """
        self.serverless = dict(config)
        if self._provisioned:
            self._warm(_STARTUP_SECONDS)

    def admit(self, servers: list[Server]) -> None:
        """Sees that the container answers, and ends it: the first request will start it.

        Provisioned concurrency keeps it.

        Raises:
            ServingError: It does not answer.
        """
        super().admit(servers)
        if not self._provisioned:
            self.scale(0)

    @contextmanager
    def instance(self) -> Iterator[Server]:
        """Yield the process for one request, started if there is none.

        Raises:
            Unavailable: MaxConcurrency requests are under way (ThrottlingException), or the
                container does not answer yet (ModelNotReadyException).
            ServingError: The container did not start.
        """
        with self._changed:
            if self._under_way >= self.serverless["MaxConcurrency"]:
                raise Unavailable(400, "ThrottlingException", None)
            self._under_way += 1
        try:
            self._warm(COLD_START_SECONDS)
            with super().instance() as server:
                yield server
        finally:
            with self._changed:
                self._under_way -= 1
                self._used = time.monotonic()
                self._changed.notify_all()

    @property
    def _provisioned(self) -> bool:
        return "ProvisionedConcurrency" in self.serverless

    def _startup_seconds(self) -> float:
        return _STARTUP_SECONDS

    def _warm(self, seconds: float) -> None:
        """Wait for the process, and start it if nobody does."""
        with self._changed:
            if self._instances:
                return
            if not self._starting:
                self._service.submit(self._cold_start)  # it ends when this lock is free
                self._starting = True
            if not self._changed.wait_for(lambda: not self._starting, seconds):
                text = f"The container of variant {self.name} is still being started; try again."
                raise Unavailable(429, "ModelNotReadyException", text)
            if not self._instances:
                raise ServingError(self._failure)

    def _cold_start(self) -> None:
        start = time.perf_counter()
        try:
            launched = self.launch(1)
            super().admit(launched)
        except Exception as error:
            if not isinstance(error, ServingError | StorageError | ApiError):
                _log.exception("cold start of variant %s", self.name)
            self._failure = error.message if isinstance(error, ApiError) else str(error)
            for server in list(self._started):
                self._end(server)
        finally:
            with self._changed:
                self._starting = False
                self._used = time.monotonic()
                self._changed.notify_all()
        if self._instances:
            self.on_cold_start(round((time.perf_counter() - start) * 1_000_000))
            self._service.submit(self._end_when_idle)

    def _end_when_idle(self) -> None:
        with self._changed:
            while self._instances:
                rest = self._used + IDLE_SECONDS - time.monotonic()
                busy = self._under_way or self._provisioned
                if not busy and rest <= 0:
                    break
                self._changed.wait(None if busy else rest)
            leaving = list(self._instances)
            self._instances.clear()
        for server in leaving:
            self._end(server)
