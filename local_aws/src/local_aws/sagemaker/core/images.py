"""What runs for an image: what was pushed under its name, or what stands for one of AWS's own.

AWS's images for monitoring are in registries of AWS, one a region, from which only AWS can pull.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local_aws.images.images import Image, UnknownImage
from local_aws.sagemaker.core.protocol import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_ANALYZERS = ("sagemaker-model-monitor-analyzer", "sagemaker-model-monitor-groundtruth-merger")
CLARIFY = "sagemaker-clarify-processing"


def resolve(service: Service, uri: str) -> Image:
    """Return what runs for an image.

    Raises:
        ApiError: No such image was pushed (ValidationException).
    """
    try:
        return service.images.resolve(uri)
    except UnknownImage as error:
        if image := stand_in(uri):
            return image
        raise ApiError("ValidationException", str(error)) from None


def repository(uri: str) -> str:
    """Return the repository of an image's URI, without registry, tag and digest."""
    return uri.rpartition("/")[2].partition("@")[0].partition(":")[0]


def stand_in(uri: str) -> Image | None:
    """Return what runs for an image of Model Monitor: the program `local_aws.analyzer`."""
    if repository(uri) not in _ANALYZERS:
        return None
    # Isolated, so that neither the working directory nor variables add modules.
    return Image(Path("/"), entrypoint=[sys.executable, "-I", "-m", "local_aws.analyzer"])


def merger(analyzer: str) -> str:
    """Return the URI of the image that merges labels, of the same registry as an analyzer's."""
    return f"{analyzer.rpartition('/')[0]}/{_ANALYZERS[1]}".lstrip("/")
