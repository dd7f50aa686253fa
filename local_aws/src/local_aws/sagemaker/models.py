"""Models and endpoint configs: what endpoints and transform jobs are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_aws.sagemaker import kinds
from local_aws.sagemaker.endpoint_checks import check_config
from local_aws.sagemaker.operations import operation
from local_aws.sagemaker.protocol import ApiError
from local_aws.sagemaker.resources import create, declare, require

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

_MODEL = "Model"
_CONFIG = "EndpointConfig"

declare(kinds.hosting(_MODEL, "model", "model"), "Describe", "List", "Delete")
declare(
    kinds.hosting(_CONFIG, "endpoint-config", "endpoint configuration"),
    "Describe",
    "List",
    "Delete",
)


@operation("CreateModel")
def _create_model(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    if ("PrimaryContainer" in request) == ("Containers" in request):
        raise ApiError(
            "ValidationException", "Give one of PrimaryContainer and Containers, and only one"
        )
    for container in request.get("Containers", [request.get("PrimaryContainer")]):
        if ("Image" in container) == ("ModelPackageName" in container):
            raise ApiError(
                "ValidationException", "Give a container one of Image and ModelPackageName"
            )
        if "ModelPackageName" in container:
            require(service, "ModelPackage", container["ModelPackageName"])
    return create(service, _MODEL, request)


@operation("CreateEndpointConfig")
def _create_endpoint_config(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    for variant in request["ProductionVariants"]:
        if "ModelName" in variant:
            require(service, _MODEL, variant["ModelName"])
    check_config(service, request)
    return create(service, _CONFIG, request)
