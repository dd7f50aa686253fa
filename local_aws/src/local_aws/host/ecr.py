"""What ministack's ECR lacks."""

from __future__ import annotations

import json
from typing import Any

from local_aws.host.internals import module
from local_aws.images.images import Images


def apply(images: Images) -> None:
    """Add what is missing.

    Args:
        images: What runs for the images that the registry has.
    """
    _miss_images_that_are_not_there()
    _forget_deleted_images(images)


def _forget_deleted_images(images: Images) -> None:
    """Run nothing for an image any more that BatchDeleteImage has deleted.

    AWS: Amazon ECR API Reference, BatchDeleteImage.
    """
    ecr = module("services.ecr")
    original = ecr._batch_delete_image

    def delete(data: dict[str, Any]) -> object:
        answer = original(data)
        name = data.get("repositoryName", "")
        for uri in images.uris():
            repository, _, tag = uri.partition("/")[2].rpartition(":")
            if repository == name and not ecr._find_image(name, {"imageTag": tag}):
                images.remove(uri)
        return answer

    ecr._batch_delete_image = delete


def _miss_images_that_are_not_there() -> None:
    """Answer DescribeImages with an error for an image that is not there; CDK asks before a push.

    AWS: Amazon ECR API Reference, DescribeImages.
    """
    ecr = module("services.ecr")
    original = ecr._describe_images

    def describe(data: dict[str, Any]) -> object:
        name = data.get("repositoryName", "")
        answer = original(data)
        if answer[0] != 200:
            return answer
        for wanted in data.get("imageIds") or []:
            if not ecr._find_image(name, wanted):
                message = f"The image with imageId {wanted} does not exist in repository {name}"
                error = {"__type": "ImageNotFoundException", "message": message}
                return (
                    400,
                    {"Content-Type": "application/x-amz-json-1.1"},
                    json.dumps(error).encode(),
                )
        return answer

    ecr._describe_images = describe
