"""Executions of pipelines: the operations of the API."""

from __future__ import annotations

import logging
import secrets
import string
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.events import pipeline_execution_change
from local_aws.sagemaker.core.kinds import Kind
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import create, declare, list_resources, page, require
from local_aws.sagemaker.core.store import Store
from local_aws.sagemaker.core.texts import text
from local_aws.sagemaker.pipelines import callback
from local_aws.sagemaker.pipelines.definition import Definition, parse
from local_aws.sagemaker.pipelines.execution import EXECUTION, RUNNING, STEP, Execution, steps_of
from local_aws.sagemaker.pipelines.expressions import DefinitionError
from local_aws.sagemaker.pipelines.selection import check_branches, reused_steps, selected_steps
from local_aws.sagemaker.pipelines.versions import VERSION, require_version, version_key

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

TOKEN = "PipelineRequestToken"  # noqa: S105 - a kind of the store's rows, not a secret

_PIPELINE = "Pipeline"
_ID_LENGTH = 12
_ALL_STEPS = 100
_log = logging.getLogger(__name__)

declare(
    Kind(
        EXECUTION,
        "pipeline",
        "PipelineExecutionStatus",
        not_found=("ResourceNotFound", "Pipeline execution '{arn}' does not exist."),
        event=pipeline_execution_change,
    )
)


@operation(
    "StartPipelineExecution",
    differs="without a retry policy nothing is tried again; after a failed step no further one "
    "starts; there are no experiments and no MLflow",
)
def start_pipeline_execution(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Starts an execution; the same ClientRequestToken never starts a second one."""
    with service.store.transaction():
        pipeline = require(service, _PIPELINE, request["PipelineName"])
        arn: str = pipeline["PipelineArn"]
        key = f"{arn} {request['ClientRequestToken']}"
        known = service.store.get(TOKEN, key)
        if known is not None:
            return known
        version = require_version(service, pipeline, request.get("PipelineVersionId"))
        try:
            definition = parse(version["PipelineDefinition"])
            parameters = definition.bind(request.get("PipelineParameters", []))
            reused = _reused(service, arn, definition, request.get("SelectiveExecutionConfig"))
        except DefinitionError as error:
            raise ApiError("ValidationException", str(error)) from error
        told = (
            "PipelineExecutionDisplayName",
            "PipelineExecutionDescription",
            "SelectiveExecutionConfig",
        )
        body = {
            **{member: request[member] for member in told if member in request},
            "PipelineArn": arn,
            "PipelineName": pipeline["PipelineName"],
            "PipelineVersionId": version["PipelineVersionId"],
            "Parameters": parameters,
        }
        for source in (request, version):
            if "ParallelismConfiguration" in source:
                body.setdefault("ParallelismConfiguration", source["ParallelismConfiguration"])
        name = f"{arn.rpartition('/')[2]}/execution/{_new_id()}"
        execution = create(service, EXECUTION, body, name, PipelineExecutionStatus="Executing")
        started: str = execution["PipelineExecutionArn"]
        for step in reused.values():
            row = f"{started}/{step['StepName']}"
            service.store.insert(STEP, row, row, {**step, "PipelineExecutionArn": started})
        entry = {"Key": key, "PipelineArn": arn, "PipelineExecutionArn": started}
        service.store.insert(TOKEN, key, key, entry)
        modified = pipeline["LastModifiedTime"]
        service.store.update(
            _PIPELINE, arn, LastRunTime=execution["CreationTime"], LastModifiedTime=modified
        )
        service.store.update(
            VERSION,
            version_key(arn, version["PipelineVersionId"]),
            LastExecutionPipelineExecutionArn=started,
        )
    service.submit(_run, service, started)
    return {"PipelineExecutionArn": started}


@operation("RetryPipelineExecution", differs="`AttemptCount` goes on counting")
def retry_pipeline_execution(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Goes on with an execution that failed or was stopped; what succeeded is kept.

    It keeps its parameters and its version of the definition.
    """
    with service.store.transaction():
        execution = require(service, EXECUTION, request["PipelineExecutionArn"])
        arn: str = execution["PipelineExecutionArn"]
        key = f"{arn} {request['ClientRequestToken']}"
        if service.store.get(TOKEN, key) is not None:
            return {"PipelineExecutionArn": arn}
        status = execution["PipelineExecutionStatus"]
        if status not in ("Failed", "Stopped"):
            raise ApiError(
                "ConflictException",
                f"Pipeline execution '{arn}' is {status}; only one that is Failed or Stopped can "
                "be retried.",
            )
        fields: dict[str, Any] = {"FailureReason": None}
        if "ParallelismConfiguration" in request:
            fields["ParallelismConfiguration"] = request["ParallelismConfiguration"]
        entry = {
            "Key": key,
            "PipelineArn": execution["PipelineArn"],
            "PipelineExecutionArn": arn,
        }
        service.store.insert(TOKEN, key, key, entry)
        service.set_status(EXECUTION, arn, "Executing", **fields)
    service.submit(_run, service, arn)
    return {"PipelineExecutionArn": arn}


@operation("UpdatePipelineExecution")
def update_pipeline_execution(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Renames and describes an execution; its parallelism changes when the next step ends."""
    arn = require(service, EXECUTION, request.pop("PipelineExecutionArn"))["PipelineExecutionArn"]
    return service.store.update(EXECUTION, arn, **request)


@operation("DescribePipelineExecution")
def describe_pipeline_execution(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Describes an execution."""
    return require(service, EXECUTION, request["PipelineExecutionArn"])


@operation("ListPipelineExecutions")
def list_pipeline_executions(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the executions of a pipeline, newest first."""
    arn = require(service, _PIPELINE, request["PipelineName"])["PipelineArn"]
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
    steps = steps_of(service, arn)
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
    version = require_version(service, execution, execution["PipelineVersionId"])
    return {**version, "CreationTime": execution["CreationTime"]}


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


def forget_execution(store: Store, execution: str) -> None:
    """Remove an execution of a pipeline that is deleted."""
    for step in store.list_under(STEP, execution):
        store.delete(STEP, f"{execution}/{step['StepName']}")
    callback.forget(store, execution)
    store.delete(EXECUTION, execution)


def forget_tokens(store: Store, pipeline: str) -> None:
    """Forgets which requests were made of a pipeline that is deleted."""
    for token in store.list(TOKEN, PipelineArn=pipeline):
        store.delete(TOKEN, token["Key"])


def _reused(
    service: Service,
    pipeline: str,
    definition: Definition,
    config: Mapping[str, Any] | None,
) -> dict[str, dict[str, Any]]:
    """Return the steps of the source execution on which the selected ones build."""
    if config is None:
        return {}
    selected = selected_steps(definition, config)
    names = sorted(reused_steps(definition, selected))
    arn = config.get("SourcePipelineExecutionArn")
    if arn is None:
        if names:
            raise DefinitionError(
                f"SelectiveExecutionConfig: the selected steps need the results of {names}; give "
                "SourcePipelineExecutionArn."
            )
        return {}
    source = require(service, EXECUTION, arn)
    if source["PipelineArn"] != pipeline:
        raise DefinitionError(f"SourcePipelineExecutionArn: '{arn}' is of another pipeline.")
    if source["PipelineExecutionStatus"] in RUNNING:
        raise DefinitionError(f"SourcePipelineExecutionArn: '{arn}' has not ended.")
    stored = {step["StepName"]: step for step in steps_of(service, arn)}
    for name in names:
        if stored.get(name, {}).get("StepStatus") != "Succeeded":
            raise DefinitionError(
                f"SourcePipelineExecutionArn: step '{name}', whose results are needed, did not "
                f"succeed in '{arn}'."
            )
    check_branches(definition, selected, stored)
    now = time.time()
    fresh = {
        "StartTime": now,
        "EndTime": now,
        "SelectiveExecutionResult": {"SourcePipelineExecutionArn": arn},
    }
    return {name: stored[name] | fresh for name in names}


def _new_id() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(_ID_LENGTH))
