"""Endpoints: the operations of the API, and the deployments behind them."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from local_aws import containers
from local_aws.sagemaker import events, kinds
from local_aws.sagemaker.capture import CaptureWriter
from local_aws.sagemaker.fleet import Fleet, Host, endpoint_folder
from local_aws.sagemaker.metrics import EndpointMetrics
from local_aws.sagemaker.operations import on_close, on_resume, operation
from local_aws.sagemaker.pipeline_execution import shorten
from local_aws.sagemaker.protocol import ApiError
from local_aws.sagemaker.resources import create, declare, delete, require
from local_aws.sagemaker.serving import PROCESS, ServingError
from local_aws.sagemaker.storage import StorageError

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

ENDPOINT = "Endpoint"
CONFIG = "EndpointConfig"

_MAX_REASON = 1024
_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_log = logging.getLogger(__name__)

declare(
    kinds.hosting(
        ENDPOINT,
        "endpoint",
        "endpoint",
        "EndpointStatus",
        events.described(
            "SageMaker Endpoint State Change",
            events.milliseconds,
            omit={"PendingDeploymentSummary", "LastDeploymentConfig"},
            status=events.upper_snake,
        ),
    ),
    "List",
)


@dataclass
class Hosting:
    """What runs for the endpoints of one service, beside what is stored of them."""

    capture: CaptureWriter
    metrics: EndpointMetrics
    host: Host = field(default_factory=Host)
    closed: bool = False


_hostings: WeakKeyDictionary[Service, Hosting] = WeakKeyDictionary()
_lock = threading.Lock()


def hosting(service: Service) -> Hosting:
    """The hosting of a service, made at its first use."""
    with _lock:
        if service not in _hostings:
            _hostings[service] = Hosting(
                CaptureWriter(service.client("s3")), EndpointMetrics(service.client("cloudwatch"))
            )
        return _hostings[service]


@operation("CreateEndpoint")
def create_endpoint(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Stores the endpoint as Creating, and deploys its config in the background."""
    name = request["EndpointName"]
    with service.store.transaction():
        config = _servable(service, request["EndpointConfigName"])
        fleet = Fleet(service, name, config, config.get("DataCaptureConfig"))
        endpoint = create(
            service,
            ENDPOINT,
            {key: value for key, value in request.items() if key != "DeploymentConfig"},
            EndpointStatus="Creating",
            LastDeploymentConfig=request.get("DeploymentConfig"),
            CaptureConfig=config.get("DataCaptureConfig"),
        )
    service.submit(_create, service, name, fleet)
    return endpoint


@operation("UpdateEndpoint")
def update_endpoint(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Deploys another config beside the present one, which answers until the new one does."""
    name = request["EndpointName"]
    with service.store.transaction():
        endpoint = _idle(service, name)
        if endpoint["EndpointStatus"] != "InService":
            raise ApiError(
                "ValidationException",
                f'Cannot update endpoint "{endpoint["EndpointArn"]}" in status '
                f"{endpoint['EndpointStatus']}; delete it and create it anew.",
            )
        config = _servable(service, request["EndpointConfigName"])
        capture = config.get("DataCaptureConfig")
        if _retains_capture(request):
            capture = endpoint.get("CaptureConfig")
        fleet = Fleet(service, name, config, capture)
        deployment = request.get("DeploymentConfig")
        if deployment is None and request.get("RetainDeploymentConfig"):
            deployment = endpoint.get("LastDeploymentConfig")
        service.set_status(
            ENDPOINT,
            name,
            "Updating",
            FailureReason=None,
            LastDeploymentConfig=deployment,
            PendingDeploymentSummary={
                "EndpointConfigName": config["EndpointConfigName"],
                "ProductionVariants": fleet.summary(),
                "StartTime": time.time(),
            },
        )
    fields = {"EndpointConfigName": config["EndpointConfigName"], "CaptureConfig": capture}
    service.submit(_update, service, name, fleet, fields)
    return endpoint


@operation("DeleteEndpoint")
def delete_endpoint(service: Service, request: dict[str, Any]) -> None:
    """Takes the endpoint out of service at once, and ends its processes in the background."""
    name = request["EndpointName"]
    with service.store.transaction():
        _idle(service, name)
        service.set_status(ENDPOINT, name, "Deleting")
    service.submit(_delete, service, name)


@operation("DescribeEndpoint")
def describe_endpoint(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Describes an endpoint; EndpointConfigName is the config that answers now."""
    endpoint = require(service, ENDPOINT, request["EndpointName"])
    capture = endpoint.get("CaptureConfig")
    if capture:
        enabled = bool(capture.get("EnableCapture"))
        endpoint["DataCaptureConfig"] = {
            "EnableCapture": enabled,
            "CaptureStatus": "Started" if enabled else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    return endpoint


@on_resume
def resume(service: Service) -> None:
    """Ends the servers that a killed process left, and starts those of all endpoints anew."""
    for process in service.store.list(PROCESS):
        containers.kill_orphan(process["Pid"], process["Started"])
        service.store.delete(PROCESS, f"{process['Pid']}")
    for endpoint in service.store.list(ENDPOINT):
        name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
        if status == "Deleting":
            delete(service, ENDPOINT, name)
        if status == "Failed":
            continue
        shutil.rmtree(endpoint_folder(service, name), ignore_errors=True)
        if status == "Creating":
            service.submit(_restart, service, name)
        elif status != "Deleting":
            interrupted = status in ("Updating", "RollingBack")
            service.set_status(
                ENDPOINT,
                name,
                "SystemUpdating",
                PendingDeploymentSummary=None,
                FailureReason=_INTERRUPTED if interrupted else endpoint.get("FailureReason"),
            )
            service.submit(_restart, service, name)


_INTERRUPTED = "The local AWS stopped during the update; the endpoint keeps its former config."


@on_close
def close(service: Service) -> None:
    """Answers the requests under way, writes captured data and metrics, and ends all servers."""
    with _lock:
        present = _hostings.get(service)
    if present is None:
        return
    present.closed = True
    fleets = [present.host.switch(name, None) for name in present.host.endpoints()]
    for fleet in fleets:
        if fleet is not None:
            fleet.drain()
            fleet.stop()
    present.capture.close()
    present.metrics.close()


def _create(service: Service, name: str, fleet: Fleet) -> None:
    """Brings an endpoint's first fleet into service."""
    try:
        _start(name, fleet)
    except _DeploymentFailed as error:
        service.set_status(ENDPOINT, name, "Failed", FailureReason=str(error))
        return
    hosting(service).host.switch(name, fleet)
    service.set_status(ENDPOINT, name, "InService", ProductionVariants=fleet.summary())


def _restart(service: Service, name: str) -> None:
    """Brings an endpoint into service that a former process had."""
    endpoint = require(service, ENDPOINT, name)
    try:
        config = _servable(service, endpoint["EndpointConfigName"])
        fleet = Fleet(service, name, config, endpoint.get("CaptureConfig"))
    except ApiError as error:
        service.set_status(ENDPOINT, name, "Failed", FailureReason=error.message)
        return
    _create(service, name, fleet)


def _update(service: Service, name: str, fleet: Fleet, fields: Mapping[str, Any]) -> None:
    """Starts the new fleet, sends the traffic to it, and ends the old one; or rolls back."""
    try:
        _start(name, fleet)
    except _DeploymentFailed as error:
        service.set_status(ENDPOINT, name, "RollingBack", FailureReason=str(error))
        service.set_status(ENDPOINT, name, "InService", PendingDeploymentSummary=None)
        return
    old = hosting(service).host.switch(name, fleet)
    service.set_status(
        ENDPOINT,
        name,
        "InService",
        ProductionVariants=fleet.summary(),
        PendingDeploymentSummary=None,
        **fields,
    )
    if old is not None:
        old.drain()
        old.stop()
        shutil.rmtree(old.folder, ignore_errors=True)


def _delete(service: Service, name: str) -> None:
    fleet = hosting(service).host.switch(name, None)
    if fleet is not None:
        fleet.drain()
        fleet.stop()
    shutil.rmtree(endpoint_folder(service, name), ignore_errors=True)
    delete(service, ENDPOINT, name)


class _DeploymentFailed(Exception):  # noqa: N818 - an outcome that the endpoint records
    """A fleet did not come up; the text is the FailureReason."""


def _start(name: str, fleet: Fleet) -> None:
    try:
        fleet.start()
    except (ServingError, StorageError) as error:
        raise _DeploymentFailed(shorten(str(error), _MAX_REASON)) from error
    except ApiError as error:
        raise _DeploymentFailed(shorten(error.message, _MAX_REASON)) from error
    except Exception as error:
        # A fault of this program: the endpoint must still leave its transient state.
        _log.exception("deployment of endpoint %s", name)
        raise _DeploymentFailed(shorten(f"InternalServerError: {error!r}", _MAX_REASON)) from error


def _idle(service: Service, name: str) -> dict[str, Any]:
    """The endpoint, which must not be in a transient state."""
    endpoint = require(service, ENDPOINT, name)
    if endpoint["EndpointStatus"] in _IN_PROGRESS:
        raise ApiError(
            "ValidationException",
            f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".',
        )
    return endpoint


def _servable(service: Service, name: str) -> dict[str, Any]:
    """An endpoint config that can be served here.

    Raises:
        ApiError: it is not there, or has what is not served; the message names it.
    """
    config = require(service, CONFIG, name)
    for member in ("AsyncInferenceConfig", "ShadowProductionVariants", "ExplainerConfig"):
        if config.get(member):
            raise ApiError(
                "ValidationException",
                f"Endpoint config '{name}' has {member}, which the local AWS does not run",
            )
    for variant in config["ProductionVariants"]:
        if "ModelName" not in variant:
            raise ApiError(
                "ValidationException",
                f"Variant '{variant['VariantName']}' of endpoint config '{name}' names no model; "
                "the local AWS does not run inference components",
            )
    return config


def _retains_capture(request: Mapping[str, Any]) -> bool:
    """Whether an update keeps the capture config in force instead of the new endpoint config's.

    RetainAllVariantProperties counts data capture among the variants' properties.
    """
    excluded = request.get("ExcludeRetainedVariantProperties", [])
    kinds = {entry["VariantPropertyType"] for entry in excluded}
    return bool(request.get("RetainAllVariantProperties")) and "DataCaptureConfig" not in kinds
