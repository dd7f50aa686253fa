"""Models and endpoint configs: what endpoints and transform jobs are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.images.images import DOCKER_MANIFEST, UnknownImage
from local_aws.sagemaker.core import kinds
from local_aws.sagemaker.core.images import stand_in
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
    """Stores a model of containers, each of an image that is there, with Docker's manifest."""
    if ("PrimaryContainer" in request) == ("Containers" in request):
        raise ApiError(
            "ValidationException", "Give one of PrimaryContainer and Containers, and only one"
        )
    for container in request.get("Containers", [request.get("PrimaryContainer")]):
        if ("Image" in container) == ("ModelPackageName" in container):
            raise ApiError(
                "ValidationException", "Give a container one of Image and ModelPackageName"
            )
        for image in _images(service, container):
            _check_manifest(service, image)
    return create(service, _MODEL, request)


def _images(service: Service, container: Mapping[str, Any]) -> list[str]:
    """Return the URIs of what a container runs: its image, or those of its model package."""
    if "Image" in container:
        return [container["Image"]]
    package = require(service, "ModelPackage", container["ModelPackageName"])
    specification = package.get("InferenceSpecification", {})
    return [each["Image"] for each in specification.get("Containers", []) if "Image" in each]


def _check_manifest(service: Service, uri: str) -> None:
    """Refuse an image that hosting does not read; training and processing jobs do read it.

    The text is in https://github.com/aws/amazon-sagemaker-feedback/issues/180, that of an image
    which is not in ECR in https://github.com/aws-samples/easy-amazon-sagemaker-deployments/issues/4.

    Raises:
        ApiError: Its manifest is not Docker's, or it is not there.
    """
    try:
        image = service.images.resolve(uri)
    except UnknownImage:
        if stand_in(uri) or ".dkr.ecr." not in uri:
            return
        raise ApiError("ValidationException", f"Requested image {uri} not found.") from None
    if image.media_type != DOCKER_MANIFEST:
        raise ApiError(
            "ValidationException",
            f"Unsupported manifest media type {image.media_type} for image {uri}. Ensure that "
            "valid manifest media type is used for specified image.",
        )


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
