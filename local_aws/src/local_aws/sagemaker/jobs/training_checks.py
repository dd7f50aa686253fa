"""What is asked of a training job beside AWS's model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import images
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.jobs import checkpoints, job_checks

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

DEFAULT_RUNTIME_SECONDS = 86400


def check(service: Service, request: Mapping[str, Any]) -> None:
    """Refuse a training job that cannot be run here or that AWS would refuse.

    Args:
        service: The service.
        request: A CreateTrainingJob request, or the same members of a tuning job's definition.

    Raises:
        ApiError: It names the member (ValidationException).
    """
    config = job_checks.required("resourceConfig", request, "ResourceConfig")
    job_checks.check_instances(service, "resourceConfig", config)
    algorithm = job_checks.required("algorithmSpecification", request, "AlgorithmSpecification")
    if "TrainingImage" not in algorithm:
        raise ApiError(
            "ValidationException",
            "algorithmSpecification: the local AWS has no AlgorithmName resources; "
            "give TrainingImage",
        )
    channels = request.get("InputDataConfig", [])
    job_checks.check_unique("ChannelName", [channel["ChannelName"] for channel in channels])
    for channel in channels:
        _check_channel(channel, channel.get("InputMode", algorithm["TrainingInputMode"]))
    for definition in algorithm.get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except (re.error, OverflowError, RecursionError) as error:
            raise ApiError(
                "ValidationException",
                f"Metric {definition['Name']!r}: Regex {definition['Regex']!r}: {error}",
            ) from None
    folder = request.get("CheckpointConfig", {}).get("LocalPath", checkpoints.LOCAL_PATH)
    job_checks.check_local_path("CheckpointConfig", folder, "/opt/ml")
    _check_times(request)
    images.resolve(service, algorithm["TrainingImage"])


def _check_times(request: Mapping[str, Any]) -> None:
    condition = request.get("StoppingCondition", {})
    wait = condition.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise ApiError(
                "ValidationException",
                "Invalid MaxWaitTimeInSeconds. It is only supported when "
                "EnableManagedSpotTraining is set to true",
            )
    elif wait is None or wait < condition.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS):
        raise ApiError(
            "ValidationException",
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds",
        )


def _check_channel(channel: Mapping[str, Any], mode: str) -> None:
    name = channel["ChannelName"]
    if "S3DataSource" not in channel["DataSource"]:
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: the local AWS reads channels from S3 only; give S3DataSource",
        )
    # FastFile differs from File only in when the bytes arrive.
    if mode not in ("File", "FastFile"):
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: the local AWS has no input mode {mode}; use File or FastFile",
        )
    kind = channel["DataSource"]["S3DataSource"]["S3DataType"]
    if kind not in ("S3Prefix", "ManifestFile"):
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: the local AWS has no S3DataType {kind}; "
            "use S3Prefix or ManifestFile",
        )
    if channel.get("CompressionType", "None") != "None":
        raise ApiError(
            "ValidationException",
            f"Channel {name!r}: CompressionType is for Pipe mode; leave it out",
        )
