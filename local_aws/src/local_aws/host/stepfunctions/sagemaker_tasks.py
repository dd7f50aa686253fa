"""SageMaker as Step Functions calls it from a Task state.

Two integrations, which differ in the names of errors and the form of times:

- optimized, `arn:aws:states:::sagemaker:createTrainingJob[.sync]`: "Create and manage Amazon
  SageMaker AI jobs with Step Functions" in the AWS Step Functions Developer Guide. With `.sync` the
  result is what the job's EventBridge event tells of it: times in epoch milliseconds, tags as an
  object. Errors are `SageMaker.AmazonSageMakerException` unless the service's model names them.
- of the AWS SDK, `arn:aws:states:::aws-sdk:sagemaker:describeEndpoint`: "Using AWS service SDK
  integrations" in the same guide. Times are ISO 8601 text, errors are called as the exceptions of
  the AWS SDK for Java 2 are, `SageMaker.SageMakerException` unless the model names them.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_aws.sagemaker.core import events, resources
from local_aws.sagemaker.core.protocol import ApiError, input_shape, output_shape, service_model
from local_aws.sagemaker.core.roles import Session
from local_aws.sagemaker.core.service import Service

OPTIMIZED = "arn:aws:states:::sagemaker:"
SDK = "arn:aws:states:::aws-sdk:sagemaker:"

_JOBS = ("ProcessingJob", "TrainingJob", "TransformJob", "HyperParameterTuningJob", "LabelingJob")
_OPTIMIZED_OPERATIONS = frozenset(
    {"CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint"}
    | {f"Create{job}" for job in _JOBS}
)
_SYNC_OPERATIONS = frozenset(f"Create{job}" for job in _JOBS)
_POLL_SECONDS = 0.05


class TaskError(Exception):
    """How a task failed.

    Attributes:
        error: The name that Retry and Catch compare.
        cause: What happened.
    """

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


@dataclass(frozen=True)
class Caller:
    """The execution on whose behalf a task runs.

    Attributes:
        execution: Its ARN.
        session: The role that its state machine works with, if that is known.
        ended: Tells whether nobody waits for the task any more.
        submitted: Takes what the call that started a job answered.
    """

    execution: str
    session: Session | None
    ended: Callable[[], bool]
    submitted: Callable[[Mapping[str, Any]], None]


def run(
    service: Service, resource: str, arguments: Mapping[str, Any], caller: Caller
) -> dict[str, Any] | None:
    """Run a Task state that calls SageMaker.

    Args:
        service: The SageMaker service.
        resource: The state's Resource, of `OPTIMIZED` or `SDK`.
        arguments: The request.
        caller: Who calls.

    Returns:
        The task's result; None when the caller ended before the job did, which is stopped then.

    Raises:
        TaskError: The state fails.
    """
    if wrong := problem(resource):
        raise TaskError("States.Runtime", wrong)
    operation, sync = _parts(resource)
    if resource.startswith(SDK):
        answer = _call(service, operation, arguments, _sdk_error, caller.session)
        return events.times(output_shape(operation), answer, _iso)
    request = _tagged(operation, arguments, caller.execution)
    answer = _call(service, operation, request, _optimized_error, caller.session)
    if not sync:
        return answer
    caller.submitted(answer)
    return _job_end(service, operation.removeprefix("Create"), request, caller)


def problem(resource: str) -> str | None:
    """Return what is wrong with the Resource of a Task state, if it names SageMaker."""
    if not resource.startswith((OPTIMIZED, SDK)):
        return None
    operation, pattern = _parts(resource)
    if resource.startswith(SDK):
        known = not pattern and operation in service_model().operation_names
    elif pattern:
        known = pattern == "sync" and operation in _SYNC_OPERATIONS
    else:
        known = operation in _OPTIMIZED_OPERATIONS
    if known:
        return None
    return (
        f"The resource provided {resource} is not recognized. The value is not a valid resource "
        "ARN, or the resource is not available in this region."
    )


def _parts(resource: str) -> tuple[str, str]:
    """Return the operation that a Resource names and the integration pattern, if it has one."""
    action, _, pattern = resource.removeprefix(SDK).removeprefix(OPTIMIZED).partition(".")
    return action[:1].upper() + action[1:], pattern


def _call(
    service: Service,
    operation: str,
    request: Mapping[str, Any],
    named: Callable[[ApiError], TaskError],
    session: Session | None,
) -> dict[str, Any]:
    # A misspelt member is an error of the state machine; SageMaker itself would not look at it.
    if unknown := sorted(request.keys() - input_shape(operation).members.keys()):
        fields = ", ".join(
            f'The field "{name}" is not supported by Step Functions' for name in unknown
        )
        given = json.dumps(request)
        raise TaskError(
            "States.Runtime",
            f"The Parameters '{given}' could not be used to start the Task: [{fields}]",
        )
    try:
        return service.call(operation, request, session)
    except ApiError as error:
        raise named(error) from None


def _tagged(operation: str, arguments: Mapping[str, Any], execution: str) -> dict[str, Any]:
    """Add the tags by which Step Functions marks what it creates; roles need AddTags for them."""
    if "Tags" not in input_shape(operation).members:
        return dict(arguments)
    tags = [
        {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"},
        {"Key": "AWS_STEP_FUNCTIONS_EXECUTION_ARN", "Value": execution},
    ]
    return {**arguments, "Tags": [*(arguments.get("Tags") or []), *tags]}


def _job_end(
    service: Service, kind: str, request: Mapping[str, Any], caller: Caller
) -> dict[str, Any] | None:
    """Wait for a job's end and return what there is to tell of it."""
    name, session = request[f"{kind}Name"], caller.session
    while True:
        described = _call(
            service, f"Describe{kind}", {f"{kind}Name": name}, _optimized_error, session
        )
        session = None  # it has described the job now; on AWS it waits for events
        status = described[f"{kind}Status"]
        if status not in ("InProgress", "Stopping"):
            break
        if caller.ended():
            _stop(service, kind, name, caller.session)
            return None
        time.sleep(_POLL_SECONDS)
    result = events.times(output_shape(f"Describe{kind}"), described, _milliseconds)
    result["Tags"] = resources.tags_of(service, described[f"{kind}Arn"])
    if status != "Completed":
        raise TaskError("States.TaskFailed", json.dumps(result))
    return result


def _stop(service: Service, kind: str, name: str, session: Session | None) -> None:
    try:
        service.call(f"Stop{kind}", {f"{kind}Name": name}, session)
    except ApiError:
        return  # it has ended meanwhile


def _modelled(error: ApiError) -> str | None:
    """Return the exception's name in the SDKs for Java, for an error that the model has."""
    shapes = ("ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound", "ConflictException")
    if error.code not in shapes:
        return None
    return f"{error.code.removesuffix('Exception')}Exception"


def _optimized_error(error: ApiError) -> TaskError:
    return TaskError(
        f"SageMaker.{_modelled(error) or 'AmazonSageMakerException'}",
        f"{error.message} (Service: AmazonSageMaker; Status Code: {error.status}; "
        f"Error Code: {error.code}; Request ID: {uuid.uuid4()}; Proxy: null)",
    )


def _sdk_error(error: ApiError) -> TaskError:
    return TaskError(
        f"SageMaker.{_modelled(error) or 'SageMakerException'}",
        f"{error.message} (Service: SageMaker, Status Code: {error.status}, "
        f"Request ID: {uuid.uuid4()})",
    )


def _milliseconds(moment: float) -> int:
    return round(moment * 1000)


def _iso(moment: float) -> str:
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
