"""The versions of a pipeline: each change makes one, and executions keep theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import page, require

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service
    from local_aws.sagemaker.core.store import Store

VERSION = "PipelineVersion"
"""Kind of the store's rows: what a pipeline was at each of its versions."""

_NEWEST = "_Version"
"""Member of a pipeline's body: the number of its newest version."""
_KEPT = (
    "PipelineDefinition",
    "PipelineDescription",
    "PipelineDisplayName",
    "RoleArn",
    "ParallelismConfiguration",
)


def add_version(service: Service, arn: str) -> int:
    """Make a version of what a pipeline is now, in the transaction of its change.

    Returns:
        Its number; the first is 1.
    """
    pipeline = require(service, "Pipeline", arn)
    number: int = pipeline.get(_NEWEST, 0) + 1
    body = {member: pipeline[member] for member in _KEPT if member in pipeline}
    body |= {"PipelineArn": arn, "PipelineVersionId": number}
    key = version_key(arn, number)
    service.store.insert(VERSION, key, key, body)
    modified = pipeline["LastModifiedTime"]
    service.store.update("Pipeline", arn, **{_NEWEST: number, "LastModifiedTime": modified})
    return number


def add_first_versions(service: Service) -> None:
    """Give pipelines of a data folder from before there were versions their first one."""
    for pipeline in service.store.list("Pipeline", **{_NEWEST: None}):
        arn = pipeline["PipelineArn"]
        with service.store.transaction():
            number = add_version(service, arn)
            for execution in service.store.list("PipelineExecution", PipelineArn=arn):
                service.store.update(
                    "PipelineExecution",
                    execution["PipelineExecutionArn"],
                    PipelineVersionId=number,
                    LastModifiedTime=execution["LastModifiedTime"],
                )


def version_key(arn: str, number: int) -> str:
    """Return the name of a version's row."""
    return f"{arn}/{number}"


def require_version(
    service: Service, pipeline: Mapping[str, Any], number: int | None
) -> dict[str, Any]:
    """Return a version of a pipeline, by default the newest.

    Raises:
        ApiError: There is none of that number (ResourceNotFound).
    """
    arn = pipeline["PipelineArn"]
    found = service.store.get(VERSION, version_key(arn, number or pipeline[_NEWEST]))
    if found is None:
        raise ApiError("ResourceNotFound", f"Pipeline '{arn}' has no version {number}.")
    return found


def forget_versions(store: Store, arn: str) -> None:
    """Remove the versions of a pipeline that is deleted."""
    for version in store.list_under(VERSION, arn):
        store.delete(VERSION, version_key(arn, version["PipelineVersionId"]))


@operation("ListPipelineVersions")
def list_pipeline_versions(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the versions of a pipeline, newest first."""
    arn = require(service, "Pipeline", request["PipelineName"])["PipelineArn"]
    after, before = request.get("CreatedAfter", 0.0), request.get("CreatedBefore", float("inf"))
    versions = [
        version
        for version in service.store.list_under(VERSION, arn)
        if after < version["CreationTime"] < before
    ]
    return page(
        "ListPipelineVersions",
        versions,
        request,
        key=lambda version: (version["PipelineVersionId"], arn),
        descending=request.get("SortOrder") != "Ascending",
    )


@operation("UpdatePipelineVersion")
def update_pipeline_version(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Names and describes a version."""
    with service.store.transaction():
        pipeline = require(service, "Pipeline", request["PipelineArn"])
        version = require_version(service, pipeline, request["PipelineVersionId"])
        key = version_key(version["PipelineArn"], version["PipelineVersionId"])
        told = ("PipelineVersionDisplayName", "PipelineVersionDescription")
        fields = {member: request[member] for member in told if member in request}
        return service.store.update(VERSION, key, **fields)
