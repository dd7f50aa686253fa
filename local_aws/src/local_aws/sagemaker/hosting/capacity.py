"""Weights and numbers of instances of an endpoint in service."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.texts import shorten
from local_aws.sagemaker.hosting.deployment import (
    ENDPOINT,
    MAX_REASON,
    DeploymentFailed,
    reasons,
)
from local_aws.sagemaker.hosting.endpoint_checks import check_concurrency
from local_aws.sagemaker.hosting.fleet import Fleet
from local_aws.sagemaker.hosting.running import hosting
from local_aws.sagemaker.hosting.serverless import ServerlessVariant
from local_aws.sagemaker.hosting.variant import Variant

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

Changes = Iterable[Mapping[str, Any]]
"""A list of DesiredWeightAndCapacity."""


def in_force(
    endpoint: Mapping[str, Any],
    kinds: Iterable[str] = ("DesiredInstanceCount", "DesiredWeight"),
) -> dict[str, dict[str, Any]]:
    """Return what an endpoint's variants have that may not be in its config.

    Args:
        endpoint: The endpoint's stored body.
        kinds: Which variant properties.

    Returns:
        By variant, members of ProductionVariant.
    """
    found: dict[str, dict[str, Any]] = {}
    for summary in endpoint.get("ProductionVariants", []):
        found[summary["VariantName"]] = properties = {}
        if "DesiredWeight" in kinds:
            properties["InitialVariantWeight"] = summary["CurrentWeight"]
        if "DesiredInstanceCount" not in kinds:
            continue
        if "CurrentInstanceCount" in summary:
            properties["InitialInstanceCount"] = summary["CurrentInstanceCount"]
        else:
            properties["ServerlessConfig"] = summary["CurrentServerlessConfig"]
    return found


def check(endpoint: Mapping[str, Any], fleet: Fleet, changes: Changes) -> None:
    """Check an UpdateEndpointWeightsAndCapacities request.

    Raises:
        ApiError: ValidationException, naming the variant.
    """
    for change_ in changes:
        name = change_["VariantName"]
        variant = fleet.variants.get(name)
        problem = ""
        if variant is None:
            problem = f'Variant "{name}" not found for endpoint "{endpoint["EndpointArn"]}".'
        elif isinstance(variant, ServerlessVariant):
            if "DesiredInstanceCount" in change_:
                problem = f"Variant {name} is serverless and has no DesiredInstanceCount"
            check_concurrency({**variant.serverless, **change_.get("ServerlessUpdateConfig", {})})
        elif "ServerlessUpdateConfig" in change_:
            problem = f"Variant {name} has instances, and no ServerlessUpdateConfig"
        elif change_.get("DesiredInstanceCount") == 0 and not fleet.asynchronous:
            problem = f"DesiredInstanceCount of variant {name} must be 1 or more; 0 is for async"
        if problem:
            raise ApiError("ValidationException", problem)


def desired(fleet: Fleet, changes: Changes) -> list[dict[str, Any]]:
    """Return the ProductionVariantSummary of each variant while a change is under way."""
    by_name = {change_["VariantName"]: change_ for change_ in changes}
    summaries = fleet.summary()
    for summary in summaries:
        change_ = by_name.get(summary["VariantName"], {})
        summary["DesiredWeight"] = change_.get("DesiredWeight", summary["DesiredWeight"])
        count = change_.get("DesiredInstanceCount")
        if count is not None:
            verb = "in" if count < summary["CurrentInstanceCount"] else "out"
            message = f"Scaling {verb} desired instance count to {count}."
            summary["DesiredInstanceCount"] = count
            summary["VariantStatus"] = [
                {"Status": "Updating", "StatusMessage": message, "StartTime": time.time()}
            ]
    return summaries


def change(service: Service, name: str, fleet: Fleet, changes: Changes) -> None:
    """Carry a change out; if instances do not come up, all variants get back what they had.

    What cannot be given back is told of in the FailureReason.
    """
    present = hosting(service)
    undo: list[dict[str, Any]] = []
    try:
        with reasons(name):
            for change_ in changes:
                undo.append(_present(fleet.variants[change_["VariantName"]]))
                _scale(fleet, change_)
    except DeploymentFailed as error:
        if present.closing.is_set():
            return
        service.set_status(ENDPOINT, name, "RollingBack", FailureReason=str(error))
        left = [text for change_ in reversed(undo) if (text := _undone(name, fleet, change_))]
        if present.closing.is_set():
            return
        reason = shorten(" ".join([str(error), *left]), MAX_REASON)
        service.set_status(ENDPOINT, name, None, FailureReason=reason)
    else:
        for change_ in changes:
            variant = fleet.variants[change_["VariantName"]]
            variant.weight = change_.get("DesiredWeight", variant.weight)
    service.set_status(ENDPOINT, name, "InService", ProductionVariants=fleet.summary())
    if queue := present.queues.get(name):
        queue.wake()


def _present(variant: Variant) -> dict[str, Any]:
    """Return the DesiredWeightAndCapacity of what a variant has now, but for its weight."""
    if isinstance(variant, ServerlessVariant):
        return {"VariantName": variant.name, "ServerlessUpdateConfig": dict(variant.serverless)}
    return {"VariantName": variant.name, "DesiredInstanceCount": variant.count}


def _undone(endpoint: str, fleet: Fleet, before: Mapping[str, Any]) -> str:
    """Give a variant back what it had; return why it could not be done, if it could not."""
    variant = fleet.variants[before["VariantName"]]
    try:
        with reasons(endpoint):
            if isinstance(variant, ServerlessVariant):
                variant.replace(before["ServerlessUpdateConfig"])
            else:
                _scale(fleet, before)
    except DeploymentFailed as error:
        return f"Variant {variant.name} did not get its former capacity back: {error}"
    return ""


def _scale(fleet: Fleet, change_: Mapping[str, Any]) -> None:
    variant = fleet.variants[change_["VariantName"]]
    if isinstance(variant, ServerlessVariant):
        variant.update(change_.get("ServerlessUpdateConfig", {}))
        return
    count = change_.get("DesiredInstanceCount", variant.count)
    variant.scale(count)
    variant.count = count
