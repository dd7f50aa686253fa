"""Pipelines and their executions: the operations of the API."""

from __future__ import annotations

import logging
import secrets
import string
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker import pipeline_execution
from local_aws.sagemaker.events import pipeline_execution_change
from local_aws.sagemaker.kinds import Kind
from local_aws.sagemaker.operations import on_close, on_resume, operation
from local_aws.sagemaker.pipeline_definition import MAX_LENGTH, Definition, parse
from local_aws.sagemaker.pipeline_execution import DEFINITION, EXECUTION, RUNNING, STEP, Execution
from local_aws.sagemaker.pipeline_expressions import DefinitionError, text
from local_aws.sagemaker.protocol import ApiError
from local_aws.sagemaker.resources import create, declare, delete, list_resources, page, require
from local_aws.sagemaker.store import Store

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

PIPELINE = "Pipeline"
TOKEN = "PipelineRequestToken"  # noqa: S105 - a kind of the store's rows, not a secret

_ID_LENGTH = 12
_ALL_STEPS = 100
_log = logging.getLogger(__name__)

on_resume(pipeline_execution.fail_interrupted)
on_close(pipeline_execution.close)

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
declare(
    Kind(
        EXECUTION,
        "pipeline",
        "PipelineExecutionStatus",
        not_found=("ResourceNotFound", "Pipeline execution '{arn}' does not exist."),
        event=pipeline_execution_change,
    )
)


@operation("CreatePipeline")
def create_pipeline(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Stores a checked definition; the same ClientRequestToken gives the same pipeline."""
    name, token = request["PipelineName"], request["ClientRequestToken"]
    fields = _with_definition(service, request, required=True)
    with service.store.transaction():
        existing = service.store.get(PIPELINE, name)
        if existing is not None and existing.get("ClientRequestToken") == token:
            return existing
        return create(service, PIPELINE, fields, PipelineStatus="Active")


@operation("UpdatePipeline")
def update_pipeline(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Replaces the members that are given; executions under way keep their definition."""
    pipeline = require(service, PIPELINE, request["PipelineName"])
    fields = _with_definition(service, request, required=False)
    fields.pop("PipelineName")
    return service.store.update(PIPELINE, pipeline["PipelineArn"], **fields)


@operation("DescribePipeline")
def describe_pipeline(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Describes a pipeline by name or ARN."""
    _refuse_version(request)
    return require(service, PIPELINE, request["PipelineName"])


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
            _forget(service.store, execution["PipelineExecutionArn"])
        for token in service.store.list(TOKEN, PipelineArn=arn):
            service.store.delete(TOKEN, token["Key"])
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


@operation("StartPipelineExecution")
def start_pipeline_execution(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Starts an execution; the same ClientRequestToken never starts a second one."""
    _refuse_version(request)
    if "SelectiveExecutionConfig" in request:
        raise ApiError(
            "ValidationException",
            "SelectiveExecutionConfig: the local AWS runs whole pipelines; leave it out",
        )
    given = request.get("PipelineParameters", [])
    with service.store.transaction():
        pipeline = require(service, PIPELINE, request["PipelineName"])
        arn: str = pipeline["PipelineArn"]
        key = f"{arn} {request['ClientRequestToken']}"
        known = service.store.get(TOKEN, key)
        if known is not None:
            return known
        try:
            parameters = parse(pipeline["PipelineDefinition"]).bind(given)
        except DefinitionError as error:
            raise ApiError("ValidationException", str(error)) from error
        name = f"{arn.rpartition('/')[2]}/execution/{_new_id()}"
        parallelism = request.get(
            "ParallelismConfiguration", pipeline.get("ParallelismConfiguration")
        )
        body = {
            "PipelineArn": arn,
            "PipelineName": pipeline["PipelineName"],
            "PipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName"),
            "PipelineExecutionDescription": request.get("PipelineExecutionDescription"),
            "ParallelismConfiguration": parallelism,
            "Parameters": parameters,
        }
        body = {member: value for member, value in body.items() if value is not None}
        execution = create(service, EXECUTION, body, name, PipelineExecutionStatus="Executing")
        started: str = execution["PipelineExecutionArn"]
        copy = {"PipelineDefinition": pipeline["PipelineDefinition"]}
        service.store.insert(DEFINITION, started, started, copy)
        entry = {"Key": key, "PipelineArn": arn, "PipelineExecutionArn": started}
        service.store.insert(TOKEN, key, key, entry)
        modified = pipeline["LastModifiedTime"]
        service.store.update(
            PIPELINE, arn, LastRunTime=execution["CreationTime"], LastModifiedTime=modified
        )
    service.submit(_run, service, started)
    return {"PipelineExecutionArn": started}


@operation("DescribePipelineExecution")
def describe_pipeline_execution(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Describes an execution."""
    return require(service, EXECUTION, request["PipelineExecutionArn"])


@operation("ListPipelineExecutions")
def list_pipeline_executions(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the executions of a pipeline, newest first."""
    arn = require(service, PIPELINE, request["PipelineName"])["PipelineArn"]
    answer = list_resources(service, EXECUTION, request, PipelineArn=arn)
    answer["PipelineExecutionSummaries"] = [
        {
            **body,
            "StartTime": body["CreationTime"],
            "PipelineExecutionFailureReason": body.get("FailureReason"),
        }
        for body in answer["PipelineExecutionSummaries"]
    ]
    return answer


@operation("ListPipelineExecutionSteps")
def list_pipeline_execution_steps(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the steps that started, newest first; skipped ones never appear."""
    if "PipelineExecutionArn" not in request:
        raise ApiError("ValidationException", "PipelineExecutionArn is required")
    arn = require(service, EXECUTION, request["PipelineExecutionArn"])["PipelineExecutionArn"]
    steps = service.store.list(STEP, PipelineExecutionArn=arn)
    return page(
        "ListPipelineExecutionSteps",
        steps,
        {"MaxResults": _ALL_STEPS, **request},
        key=lambda step: (step["StartTime"], step["StepName"]),
        descending=request.get("SortOrder") != "Ascending",
    )


@operation("ListPipelineParametersForExecution")
def list_pipeline_parameters(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the value of every parameter of an execution, as text."""
    execution = require(service, EXECUTION, request["PipelineExecutionArn"])
    parameters = [
        {"Name": name, "Value": text(value)} for name, value in execution["Parameters"].items()
    ]
    return page(
        "ListPipelineParametersForExecution",
        parameters,
        {"MaxResults": _ALL_STEPS, **request},
        key=lambda parameter: (parameter["Name"], parameter["Name"]),
        descending=False,
    )


@operation("DescribePipelineDefinitionForExecution")
def describe_definition(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Returns the definition as it was when the execution started."""
    execution = require(service, EXECUTION, request["PipelineExecutionArn"])
    copy = service.store.get(DEFINITION, execution["PipelineExecutionArn"])
    return {**(copy or {}), "CreationTime": execution["CreationTime"]}


@operation("StopPipelineExecution")
def stop_pipeline_execution(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Asks an execution to stop: its jobs are stopped, and no further step starts."""
    with service.store.transaction():
        execution = require(service, EXECUTION, request["PipelineExecutionArn"])
        arn, status = execution["PipelineExecutionArn"], execution["PipelineExecutionStatus"]
        if status not in (*RUNNING, "Stopped"):
            raise ApiError(
                "ConflictException",
                f"Pipeline execution '{arn}' is {status}; only an executing one can be stopped.",
            )
        if status == "Executing":
            service.set_status(EXECUTION, arn, "Stopping")
    return {"PipelineExecutionArn": arn}


def _run(service: Service, arn: str) -> None:
    try:
        Execution(service, arn).run()
    except Exception as error:
        # A fault of this program: the execution must still end, and say so.
        _log.exception("execution %s", arn)
        service.set_status(
            EXECUTION, arn, "Failed", FailureReason=f"InternalServerError: {error!r}"
        )


def _with_definition(
    service: Service, request: dict[str, Any], *, required: bool
) -> dict[str, Any]:
    """The request with its definition, from S3 if it is there, checked, in PipelineDefinition."""
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


def _refuse_version(request: dict[str, Any]) -> None:
    if "PipelineVersionId" in request:
        raise ApiError(
            "ValidationException",
            "PipelineVersionId: the local AWS keeps only the latest version; leave it out",
        )


def _forget(store: Store, execution: str) -> None:
    for step in store.list(STEP, PipelineExecutionArn=execution):
        store.delete(STEP, f"{execution}/{step['StepName']}")
    store.delete(DEFINITION, execution)
    store.delete(EXECUTION, execution)


def _new_id() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(_ID_LENGTH))
