"""What is asked of a job beside AWS's model, because it runs on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.jobs.hosts import MAX_HOSTS

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service


def required(path: str, given: Mapping[str, Any], member: str) -> Any:  # noqa: ANN401 - JSON
    """Return a member that the model has as optional, but a job on this machine needs.

    Raises:
        ApiError: It is not given (ValidationException).
    """
    if member not in given:
        raise ApiError(
            "ValidationException",
            f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: "
            "Member must not be null",
        )
    return given[member]


def check_instances(service: Service, member: str, config: Mapping[str, Any]) -> None:
    """Refuse hosts that a job cannot have here.

    Raises:
        ApiError: Instance groups, no instance, or more than this isolation or the addresses of one
            local AWS allow (ValidationException).
    """
    if "InstanceGroups" in config:
        raise ApiError(
            "ValidationException",
            f"{member}: the local AWS has no InstanceGroups; give InstanceType and InstanceCount",
        )
    count = config.get("InstanceCount", 1)
    if not 1 <= count <= MAX_HOSTS:
        raise ApiError("ValidationException", f"{member}: InstanceCount must be 1 to {MAX_HOSTS}")
    if count > 1 and service.settings.isolation == "environment":
        raise ApiError(
            "ValidationException",
            f"{member}: without mount namespaces the hosts of a job have no names to find each "
            "other by; set InstanceCount to 1, or start the local AWS with --isolation namespace "
            "or bubblewrap",
        )


def check_unique(member: str, names: list[str]) -> None:
    """Refuse names that are given twice.

    Raises:
        ApiError: A name is there twice (ValidationException).
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ApiError("ValidationException", f"{member} must be unique, but is not: {twice}")


def check_local_path(member: str, path: str, below: str) -> None:
    """Refuse a path of a container that does not lie where its contract says.

    Raises:
        ApiError: It does not begin with the folder, or contains ".." (ValidationException).
    """
    parts = Path(path)
    if not parts.is_relative_to(below) or ".." in parts.parts:
        raise ApiError("ValidationException", f"{member} must begin with {below}/, not {path!r}")
