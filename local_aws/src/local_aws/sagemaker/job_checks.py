"""What is asked of a job beside AWS's model, because it runs on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_aws.sagemaker.protocol import ApiError


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


def check_single_instance(member: str, config: Mapping[str, Any]) -> None:
    """Refuse what asks for several hosts.

    Raises:
        ApiError: More than one instance, or instance groups (ValidationException).
    """
    if config.get("InstanceCount", 1) != 1 or "InstanceGroups" in config:
        raise ApiError(
            "ValidationException",
            f"{member}: the local AWS runs a job on one instance; set InstanceCount to 1",
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
