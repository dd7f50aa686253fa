"""What ministack's ECR lacks."""

from __future__ import annotations

import json
from typing import Any

from local_aws.host.internals import module


def apply() -> None:
    """Add what is missing."""
    _miss_images_that_are_not_there()


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
