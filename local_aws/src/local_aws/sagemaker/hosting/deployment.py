"""Deployments of endpoints: the first one, updates with guardrails, and rollbacks.

Source: "Deployment guardrails for updating models in production" of the developer guide. The fleet
that answers is called blue there, the new one green. Waits are as long as the request says.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import events
from local_aws.sagemaker.core.kinds import KINDS
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import require, tags_of
from local_aws.sagemaker.core.storage import StorageError
from local_aws.sagemaker.core.texts import shorten
from local_aws.sagemaker.hosting.async_queue import AsyncQueue
from local_aws.sagemaker.hosting.endpoint_checks import alarm_names, alarms_raised, fraction
from local_aws.sagemaker.hosting.fleet import Fleet
from local_aws.sagemaker.hosting.running import hosting
from local_aws.sagemaker.hosting.serverless import ServerlessVariant
from local_aws.sagemaker.hosting.serving import ServingError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

ENDPOINT = "Endpoint"
DEPLOYED = "_Deployed"
"""Member of a stored endpoint: the config that answers, with its models, as it was deployed."""

MAX_REASON = 1024
"""Characters of an endpoint's FailureReason."""

_ALARM_SECONDS = 1.0
_log = logging.getLogger(__name__)

_event = events.described(
    "SageMaker Endpoint Deployment State Change",
    events.milliseconds,
    omit={"LastDeploymentConfig"},
    status=events.upper_snake,
)


class DeploymentFailed(Exception):  # noqa: N818 - an outcome that the endpoint records
    """A fleet did not come up, or was not to stay; the text is the FailureReason."""


class _Abandoned(Exception):  # noqa: N818 - nobody is to be told
    """The service is being closed; the next start finds the endpoint as it is."""


@dataclass(frozen=True)
class Step:
    """One step of moving traffic.

    Attributes:
        share: The green fleet's share of the traffic after the step.
        wait: Seconds of baking after it.
        capacity: What AWS calls the part that has traffic.
    """

    share: float
    wait: float
    capacity: str


def create(service: Service, name: str, fleet: Fleet) -> None:
    """Brings an endpoint's first fleet into service, or records why it could not."""
    present = hosting(service)
    present.fleets.add(fleet)
    try:
        _start(service, name, fleet)
        if fleet.asynchronous:
            with reasons(name):
                present.queues[name] = AsyncQueue(service, present, name)
    except DeploymentFailed as error:
        fleet.stop()
        present.fleets.discard(fleet)
        if not present.closing.is_set():
            service.set_status(
                ENDPOINT, name, "Failed", FailureReason=str(error), PendingDeploymentSummary=None
            )
        return
    present.host.route(name, (fleet, 1.0))
    service.set_status(
        ENDPOINT,
        name,
        "InService",
        ProductionVariants=fleet.summary(),
        PendingDeploymentSummary=None,
        **{DEPLOYED: fleet.config},
    )


def _start(service: Service, name: str, fleet: Fleet) -> None:
    """Start a fleet, which gets no requests yet."""
    metrics = hosting(service).metrics
    for variant in fleet.variants.values():
        if isinstance(variant, ServerlessVariant):
            variant.on_cold_start = metrics.setup_time(name, variant.name)
    with reasons(name):
        fleet.start()


@contextmanager
def reasons(name: str) -> Iterator[None]:
    """Turn all that may go wrong with an endpoint's servers into DeploymentFailed."""
    try:
        yield
    except (DeploymentFailed, _Abandoned):
        raise
    except (ServingError, StorageError) as error:
        raise DeploymentFailed(shorten(str(error), MAX_REASON)) from error
    except ApiError as error:
        raise DeploymentFailed(shorten(error.message, MAX_REASON)) from error
    except Exception as error:
        # A fault of this program: the endpoint must still leave its transient state.
        _log.exception("deployment of endpoint %s", name)
        raise DeploymentFailed(shorten(f"InternalServerError: {error!r}", MAX_REASON)) from error


class Update:
    """One update of an endpoint to another config."""

    def __init__(
        self,
        service: Service,
        name: str,
        green: Fleet,
        policy: Mapping[str, Any],
        fields: Mapping[str, Any],
    ) -> None:
        """Prepare an update; nothing is started.

        Args:
            service: The service.
            name: The endpoint's name.
            green: The new fleet.
            policy: The DeploymentConfig.
            fields: Members of the endpoint that change when it succeeds.
        """
        self._service, self._name, self._fields = service, name, fields
        self._present = hosting(service)
        blue = self._present.host.fleet(name)
        if blue is None:
            raise AssertionError("an endpoint in service has a fleet")
        self._blue, self._green = blue, green
        self._alarms = alarm_names(policy)
        self._rolling: Mapping[str, Any] = policy.get("RollingUpdatePolicy", {})
        self._blue_green: Mapping[str, Any] = policy.get("BlueGreenUpdatePolicy", {})
        given = {**self._blue_green, **self._rolling}
        self._limit: float = given.get("MaximumExecutionTimeoutInSeconds", math.inf)
        self._deadline = time.monotonic() + self._limit

    def run(self) -> None:
        """Start the new fleet, move the traffic to it, end the old one; or roll back."""
        self._present.fleets.add(self._green)
        try:
            with reasons(self._name):
                self._deploy()
        except DeploymentFailed as error:
            if not self._present.closing.is_set():
                self._roll_back(str(error))
        except _Abandoned:
            pass
        else:
            self._service.set_status(
                ENDPOINT,
                self._name,
                "InService",
                ProductionVariants=self._green.summary(),
                PendingDeploymentSummary=None,
                **self._fields,
                **{DEPLOYED: self._green.config},
            )
            self._end(self._blue)

    def _deploy(self) -> None:
        self._check_alarms("terminated before it began")
        if not self._rolling:
            self._report("Creating", f"Launching {self._green.count} instance(s).")
            _start(self._service, self._name, self._green)
        for step in steps(self._blue_green, self._rolling, self._green.count):
            part = f"{step.capacity} capacity of {self._instances(step.share)} instance(s)."
            if self._rolling:
                self._report("Creating", f"Launching {self._instances(step.share)} instance(s).")
                _scale(self._green, step.share)
            self._report("ActivatingTraffic", f"Activating traffic on {part}")
            self._route(step.share)
            self._bake(step.wait, "WaitIntervalInSeconds", part)
            if self._rolling:
                _scale(self._blue, 1 - step.share)
        full = f"full capacity of {self._green.count} instance(s)."
        wait = self._blue_green.get("TerminationWaitInSeconds", 0)
        self._bake(wait, "TerminationWaitInSeconds", full)

    def _instances(self, share: float) -> int:
        return math.ceil(round(share * self._green.count, 6))

    def _route(self, share: float) -> None:
        """Give the green fleet its share of the traffic; a fleet without traffic has no route."""
        shares = ((self._blue, 1 - share), (self._green, share))
        self._present.host.route(self._name, *(entry for entry in shares if entry[1] > 0))

    def _bake(self, seconds: float, source: str, part: str) -> None:
        """Wait, and watch the alarms meanwhile; they are looked at once at least."""
        if seconds:
            traffic = f"with traffic enabled on {part}"
            self._report("Baking", f"Baking for {seconds} seconds ({source}) {traffic}")
        end = time.monotonic() + min(seconds, self._service.settings.longest_bake_seconds)
        while True:
            self._check_alarms()
            rest = end - time.monotonic()
            if rest <= 0:
                return
            if self._present.closing.wait(min(rest, _ALARM_SECONDS)):
                raise _Abandoned

    def _check_alarms(self, outcome: str = "rolled back") -> None:
        if raised := alarms_raised(self._service, self._alarms, self._green.role):
            names = ", ".join(sorted(raised))
            raise DeploymentFailed(
                f"The deployment was {outcome} since alarms of its AutoRollbackConfiguration "
                f"are in the state ALARM, or were deleted: {names}."
            )
        if time.monotonic() > self._deadline:
            raise DeploymentFailed(
                f"The deployment was rolled back since it took longer than {self._limit} seconds "
                "(MaximumExecutionTimeoutInSeconds)."
            )

    def _report(self, status: str, message: str) -> None:
        """Tells of a stage, in the endpoint's PendingDeploymentSummary and by an event."""
        stage = {"Status": status, "StatusMessage": message, "StartTime": time.time()}
        store = self._service.store
        with store.transaction():
            pending = require(self._service, ENDPOINT, self._name)["PendingDeploymentSummary"]
            pending["ProductionVariants"] = [
                {**summary, "VariantStatus": [stage]} for summary in self._green.summary()
            ]
            body = store.update(ENDPOINT, self._name, PendingDeploymentSummary=pending)
            tags = tags_of(self._service, body["EndpointArn"])
            self._service.send(_event(KINDS[ENDPOINT], body, None, tags))

    def _roll_back(self, reason: str) -> None:
        """Brings all traffic back to the old fleet, and ends the new one."""
        self._service.set_status(ENDPOINT, self._name, "RollingBack", FailureReason=reason)
        if self._rolling:
            size = self._rolling.get("RollbackMaximumBatchSize")
            share = 1 - self._blue.instances / max(1, self._blue.count)
            batch = fraction(size, self._blue.count) if size else 1.0
            while share > 0:
                share = max(0.0, share - batch)
                try:
                    _scale(self._blue, 1 - share)
                except Exception:
                    # Whatever it is, the endpoint must leave its transient state.
                    _log.exception("rollback of endpoint %s", self._name)
                    break
                self._route(share)
        self._route(0.0)
        self._service.set_status(
            ENDPOINT,
            self._name,
            "InService",
            ProductionVariants=self._blue.summary(),
            PendingDeploymentSummary=None,
        )
        self._end(self._green)

    def _end(self, fleet: Fleet) -> None:
        fleet.drain()
        fleet.stop()
        self._present.fleets.discard(fleet)
        shutil.rmtree(fleet.folder, ignore_errors=True)


def steps(blue_green: Mapping[str, Any], rolling: Mapping[str, Any], count: int) -> Iterator[Step]:
    """Yield the steps in which traffic moves.

    Args:
        blue_green: The BlueGreenUpdatePolicy, or nothing.
        rolling: The RollingUpdatePolicy, or nothing.
        count: Instances of the new fleet.
    """
    traffic = blue_green.get("TrafficRoutingConfiguration", {})
    wait = {**traffic, **rolling}.get("WaitIntervalInSeconds", 0)
    if "CanarySize" in traffic:
        yield Step(fraction(traffic["CanarySize"], count), wait, "canary")
    elif size := traffic.get("LinearStepSize") or rolling.get("MaximumBatchSize"):
        share = fraction(size, count)
        for number in range(1, math.ceil(round(1 / share, 6))):
            yield Step(number * share, wait, "partial")
    yield Step(1.0, wait, "full")


def _scale(fleet: Fleet, share: float) -> None:
    """Lets each variant of a fleet have a share of its instances."""
    for variant in fleet.variants.values():
        variant.scale(math.ceil(round(share * variant.count, 6)))
