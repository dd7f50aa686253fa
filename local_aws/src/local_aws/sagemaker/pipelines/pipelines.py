"""Pipelines and their executions: the operations of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.kinds import Kind
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import create, declare, delete, page, require
from local_aws.sagemaker.pipelines import cache
from local_aws.sagemaker.pipelines.definition import MAX_LENGTH, Definition, parse
from local_aws.sagemaker.pipelines.execution import EXECUTION, RUNNING
from local_aws.sagemaker.pipelines.expressions import DefinitionError
from local_aws.sagemaker.pipelines.runs import forget_execution, forget_tokens
from local_aws.sagemaker.pipelines.versions import add_version, forget_versions, require_version

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

PIPELINE = "Pipeline"

declare(
    Kind(
        PIPELINE,
        "pipeline",
        "PipelineStatus",
        not_found=("ResourceNotFound", "Pipeline '{arn}' does not exist."),
        exists=(
            "ValidationException",
            (
                "Pipeline names must be unique within an AWS account and region. Pipeline with "
                "name ({name}) already exists."
            ),
        ),
    )
)


@operation(
    "CreatePipeline",
    differs="steps of types AutoML, ClarifyCheck, EMR, ForEach, QualityCheck and others that do "
    "not run here are refused",
)
def create_pipeline(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Stores a checked definition; the same ClientRequestToken gives the same pipeline."""
    name, token = request["PipelineName"], request["ClientRequestToken"]
    fields = _with_definition(service, request, required=True)
    with service.store.transaction():
        existing = service.store.get(PIPELINE, name)
        if existing is not None and existing.get("ClientRequestToken") == token:
            return existing
        pipeline = create(service, PIPELINE, fields, PipelineStatus="Active")
        add_version(service, pipeline["PipelineArn"])
    return pipeline


@operation("UpdatePipeline")
def update_pipeline(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Replaces the members that are given; executions under way keep their version."""
    fields = _with_definition(service, request, required=False)
    name = fields.pop("PipelineName")
    with service.store.transaction():
        arn = require(service, PIPELINE, name)["PipelineArn"]
        service.store.update(PIPELINE, arn, **fields)
        return {"PipelineArn": arn, "PipelineVersionId": add_version(service, arn)}


@operation("DescribePipeline")
def describe_pipeline(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Describes a pipeline by name or ARN, as it is or as it was at a version."""
    pipeline = require(service, PIPELINE, request["PipelineName"])
    version = require_version(service, pipeline, request.get("PipelineVersionId"))
    times = {member: pipeline[member] for member in ("CreationTime", "LastModifiedTime")}
    return {**pipeline, **version, **times}


@operation("DeletePipeline")
def delete_pipeline(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Deletes a pipeline that does not run, with its executions."""
    with service.store.transaction():
        pipeline = require(service, PIPELINE, request["PipelineName"])
        arn = pipeline["PipelineArn"]
        executions = service.store.list(EXECUTION, PipelineArn=arn)
        for execution in executions:
            if execution["PipelineExecutionStatus"] in RUNNING:
                raise ApiError(
                    "ConflictException",
                    f"Pipeline '{arn}' has a running execution "
                    f"'{execution['PipelineExecutionArn']}'; stop it first.",
                )
        for execution in executions:
            forget_execution(service.store, execution["PipelineExecutionArn"])
        forget_tokens(service.store, arn)
        forget_versions(service.store, arn)
        cache.forget(service.store, arn)
        delete(service, PIPELINE, arn)
    return {"PipelineArn": arn}


@operation("ListPipelines")
def list_pipelines(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists pipelines, newest first."""
    prefix = request.get("PipelineNamePrefix", "")
    after, before = request.get("CreatedAfter", 0.0), request.get("CreatedBefore", float("inf"))
    pipelines = [
        {**body, "LastExecutionTime": body.get("LastRunTime")}
        for body in service.store.list(PIPELINE)
        if body["PipelineName"].startswith(prefix) and after < body["CreationTime"] < before
    ]
    member = "PipelineName" if request.get("SortBy") == "Name" else "CreationTime"
    return page(
        "ListPipelines",
        pipelines,
        request,
        key=lambda body: (body[member], body["PipelineArn"]),
        descending=request.get("SortOrder") != "Ascending",
    )


def _with_definition(
    service: Service, request: dict[str, Any], *, required: bool
) -> dict[str, Any]:
    """Return the request with its checked definition, also one of S3's, in PipelineDefinition."""
    fields = dict(request)
    location = fields.pop("PipelineDefinitionS3Location", None)
    if "PipelineDefinition" in fields and location is not None:
        raise ApiError(
            "ValidationException",
            "Give one of PipelineDefinition and PipelineDefinitionS3Location, not both",
        )
    if location is not None:
        fields["PipelineDefinition"] = _read(service, location)
    if "PipelineDefinition" in fields:
        _check(fields["PipelineDefinition"])
    elif required:
        raise ApiError(
            "ValidationException", "Give PipelineDefinition or PipelineDefinitionS3Location"
        )
    return fields


def _read(service: Service, location: dict[str, str]) -> str:
    place = f"s3://{location['Bucket']}/{location['ObjectKey']}"
    version = {"VersionId": location["VersionId"]} if "VersionId" in location else {}
    try:
        response = service.client("s3").get_object(
            Bucket=location["Bucket"], Key=location["ObjectKey"], **version
        )
        # No more than could be accepted: the object may be anything.
        content: bytes = response["Body"].read(4 * MAX_LENGTH + 1)
        return content.decode()
    except (ClientError, BotoCoreError) as error:
        raise ApiError("ValidationException", f"{place} could not be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ApiError("ValidationException", f"{place} is not UTF-8 text") from error


def _check(definition: str) -> Definition:
    try:
        return parse(definition)
    except DefinitionError as error:
        raise ApiError(
            "ValidationException", f"Unable to parse pipeline definition. {error}"
        ) from error
