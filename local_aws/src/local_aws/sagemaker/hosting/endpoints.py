"""Endpoints: the operations of the API; what they start is in `deployment` and `capacity`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.images import containers
from local_aws.sagemaker.core import events, kinds
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import create, declare, delete, require
from local_aws.sagemaker.hosting import async_queue, autoscaling, capacity, deployment
from local_aws.sagemaker.hosting.endpoint_checks import (
    check_deployment,
    check_scaled,
    check_switch,
    servable,
)
from local_aws.sagemaker.hosting.fleet import Fleet, endpoint_folder
from local_aws.sagemaker.hosting.running import hosting, present_hosting
from local_aws.sagemaker.hosting.serving import PROCESS

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

ENDPOINT = deployment.ENDPOINT
CONFIG = "EndpointConfig"

_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_INTERRUPTED = "The local AWS stopped during the update; the endpoint keeps its former config."

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


@operation(
    "CreateEndpoint",
    differs="models of one container; no shadow variants, inference components and explainers; "
    "an instance is a process",
)
def create_endpoint(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Stores the endpoint as Creating, and deploys its config in the background."""
    name = request["EndpointName"]
    config = servable(service, request["EndpointConfigName"])
    if "DeploymentConfig" in request:
        check_deployment(service, request["DeploymentConfig"], config)
    with service.store.transaction():
        fleet = Fleet(service, name, config, config.get("DataCaptureConfig"))
        endpoint = create(
            service,
            ENDPOINT,
            {key: value for key, value in request.items() if key != "DeploymentConfig"},
            EndpointStatus="Creating",
            LastDeploymentConfig=request.get("DeploymentConfig"),
            CaptureConfig=config.get("DataCaptureConfig"),
            AsyncInferenceConfig=config.get("AsyncInferenceConfig"),
            PendingDeploymentSummary=_pending(fleet),
        )
    service.submit(deployment.create, service, name, fleet)
    return endpoint


@operation("UpdateEndpoint", differs="traffic moves by share of requests, not by instances")
def update_endpoint(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Deploys another config beside the present one, and moves the traffic to it."""
    name = request["EndpointName"]
    endpoint = _updatable(service, name)
    config = servable(service, request["EndpointConfigName"])
    policy = request.get("DeploymentConfig")
    if policy is None and request.get("RetainDeploymentConfig"):
        policy = endpoint.get("LastDeploymentConfig")
    if policy is not None:
        check_deployment(service, policy, config)
    with service.store.transaction():
        endpoint = _updatable(service, name)
        check_switch(_present_config(service, name), config)
        check_scaled(service, name, _present_config(service, name), config)
        retained = _retained(request)
        capture = config.get("DataCaptureConfig")
        if "DataCaptureConfig" in retained:
            capture = endpoint.get("CaptureConfig")
        properties = capacity.in_force(endpoint, retained)
        fleet = Fleet(service, name, config, capture, properties)
        service.set_status(
            ENDPOINT,
            name,
            "Updating",
            FailureReason=None,
            LastDeploymentConfig=policy,
            PendingDeploymentSummary=_pending(fleet),
        )
    fields = {
        "EndpointConfigName": config["EndpointConfigName"],
        "CaptureConfig": capture,
        "AsyncInferenceConfig": config.get("AsyncInferenceConfig"),
    }
    update = deployment.Update(service, name, fleet, policy or {}, fields)
    service.submit(update.run)
    return endpoint


@operation("UpdateEndpointWeightsAndCapacities")
def update_weights_and_capacities(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Changes variants' weights, numbers of instances, and serverless concurrency."""
    name = request["EndpointName"]
    changes = request["DesiredWeightsAndCapacities"]
    with service.store.transaction():
        endpoint = _updatable(service, name)
        fleet = hosting(service).host.fleet(name)
        if fleet is None:
            raise AssertionError("an endpoint in service has a fleet")
        capacity.check(endpoint, fleet, changes)
        variants = capacity.desired(fleet, changes)
        service.set_status(
            ENDPOINT, name, "Updating", FailureReason=None, ProductionVariants=variants
        )
    service.submit(capacity.change, service, name, fleet, changes)
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


def resume(service: Service) -> None:
    """End the servers that a killed process left, and start those of all endpoints anew."""
    for process in service.store.list(PROCESS):
        containers.kill_orphan(process["Pid"], process["Started"])
        service.store.delete(PROCESS, f"{process['Pid']}")
    for endpoint in service.store.list(ENDPOINT):
        name, status = endpoint["EndpointName"], endpoint["EndpointStatus"]
        if status == "Deleting":
            _forget(service, name)
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


def close(service: Service) -> None:
    """End what runs for endpoints."""
    if present := present_hosting(service):
        present.close()


def _pending(fleet: Fleet) -> dict[str, Any]:
    """Return the PendingDeploymentSummary of a fleet that nothing is started of yet."""
    return {
        "EndpointConfigName": fleet.config["EndpointConfigName"],
        "ProductionVariants": fleet.summary(),
        "StartTime": time.time(),
    }


def _restart(service: Service, name: str) -> None:
    """Brings an endpoint into service that a former process had."""
    endpoint = require(service, ENDPOINT, name)
    try:
        config = endpoint.get(deployment.DEPLOYED)
        if config is None:  # it never was in service, or is of an older folder
            config = servable(service, endpoint["EndpointConfigName"])
        properties = capacity.in_force(endpoint)
        fleet = Fleet(service, name, config, endpoint.get("CaptureConfig"), properties)
    except ApiError as error:
        reason = error.message
        service.set_status(
            ENDPOINT, name, "Failed", FailureReason=reason, PendingDeploymentSummary=None
        )
        return
    deployment.create(service, name, fleet)


def _delete(service: Service, name: str) -> None:
    autoscaling.forget(service, name)
    present = hosting(service)
    if queue := present.queues.pop(name, None):
        queue.close()
    for fleet in present.host.route(name):
        if not fleet.asynchronous:
            fleet.drain()
        fleet.stop()
        present.fleets.discard(fleet)
    shutil.rmtree(endpoint_folder(service, name), ignore_errors=True)
    _forget(service, name)


def _forget(service: Service, name: str) -> None:
    """Remove what is stored of an endpoint, the requests in its queue too."""
    with service.store.transaction():
        async_queue.clear(service, name)
        delete(service, ENDPOINT, name)


def _idle(service: Service, name: str) -> dict[str, Any]:
    """Return the endpoint, which must not be in a transient state."""
    endpoint = require(service, ENDPOINT, name)
    if endpoint["EndpointStatus"] in _IN_PROGRESS:
        raise ApiError(
            "ValidationException",
            f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".',
        )
    return endpoint


def _updatable(service: Service, name: str) -> dict[str, Any]:
    """Return the endpoint, which must be in service."""
    endpoint = _idle(service, name)
    if endpoint["EndpointStatus"] != "InService":
        raise ApiError(
            "ValidationException",
            f'Cannot update endpoint "{endpoint["EndpointArn"]}" in status '
            f"{endpoint['EndpointStatus']}; delete it and create it anew.",
        )
    return endpoint


def _present_config(service: Service, name: str) -> Mapping[str, Any]:
    """Return the config that answers, which may have been deleted."""
    fleet = hosting(service).host.fleet(name)
    if fleet is None:
        raise AssertionError("an endpoint in service has a fleet")
    return fleet.config


def _retained(request: Mapping[str, Any]) -> set[str]:
    """Return what an update keeps as it is instead of taking it from the new endpoint config.

    RetainAllVariantProperties counts data capture among the variants' properties.
    """
    if not request.get("RetainAllVariantProperties"):
        return set()
    excluded = request.get("ExcludeRetainedVariantProperties", [])
    properties = {"DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig"}
    return properties - {entry["VariantPropertyType"] for entry in excluded}
