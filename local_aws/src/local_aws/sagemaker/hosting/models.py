"""Models and endpoint configs: what endpoints and transform jobs are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import kinds
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import create, declare, require
from local_aws.sagemaker.hosting.endpoint_checks import check_config

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_MODEL = "Model"
_CONFIG = "EndpointConfig"

declare(kinds.hosting(_MODEL, "model", "model"), "Describe", "List", "Delete")
declare(
    kinds.hosting(_CONFIG, "endpoint-config", "endpoint configuration"),
    "Describe",
    "List",
    "Delete",
)


@operation(
    "CreateModel",
    differs=(
        "models of several containers and multi-model ones are stored, but no endpoint runs them"
    ),
)
def _create_model(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Stores a model of containers that each have an image or a model package."""
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


@operation(
    "CreateEndpointConfig",
    differs="instance types, KMS keys and networks are stored only",
)
def _create_endpoint_config(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Stores variants, and what serverless, asynchronous and captured endpoints need."""
    for variant in request["ProductionVariants"]:
        if "ModelName" in variant:
            require(service, _MODEL, variant["ModelName"])
    check_config(service, request)
    return create(service, _CONFIG, request)
