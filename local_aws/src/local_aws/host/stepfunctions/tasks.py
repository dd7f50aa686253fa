"""What the Task states of ministack's Step Functions lack: SageMaker, limits of time, retries.

Each function replaces one of ministack's own by one that also does what AWS documents; the guide is
the AWS Step Functions Developer Guide.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import json
import random
from collections.abc import Mapping
from typing import Any

from local_aws.host.iam.targets import STEP_FUNCTIONS, of_task
from local_aws.host.internals import module
from local_aws.host.stepfunctions import history, s3_tasks, sagemaker_tasks
from local_aws.host.stepfunctions.scopes import EndedError, Scope, current, entered, sleep
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Session
from local_aws.sagemaker.core.service import Service

MAX_PAYLOAD = 262_144
"""Bytes of a state's input or output in UTF-8 (guide, "Step Functions service quotas")."""

# What States.ALL and States.TaskFailed leave alone (guide, "Handling errors").
_NEVER_MEANT_BY_A_WILDCARD = ("States.DataLimitExceeded", "States.Runtime")

_LAMBDA_INVOKE = "arn:aws:states:::lambda:invoke"

State = Mapping[str, Any]


def apply(service: Service) -> None:
    """Let state machines call SageMaker, and add what is missing.

    Args:
        service: The SageMaker service.
    """
    _call_sagemaker_and_s3(service)
    _keep_to_time_limits()
    _wait_before_retries()
    _leave_some_errors_to_nobody()


def _call_sagemaker_and_s3(service: Service) -> None:
    """Run tasks of SageMaker in our service, and those that read or write an S3 object's body.

    A result beyond the quota fails the state with States.DataLimitExceeded.

    AWS: "Create and manage Amazon SageMaker AI jobs with Step Functions", "Using AWS service SDK
    integrations" and "Step Functions service quotas".
    """
    states = module("services.stepfunctions")
    original = states._invoke_resource

    def sagemaker(resource: str, arguments: Mapping[str, Any], session: Session | None) -> object:
        scope = current()

        def submitted(answer: Mapping[str, Any]) -> None:
            if scope:
                history.task_submitted(scope.execution, resource, answer)

        caller = sagemaker_tasks.Caller(
            execution=scope.execution["executionArn"] if scope else "",
            session=session,
            ended=lambda: scope is not None and scope.ended,
            submitted=submitted,
        )
        result = sagemaker_tasks.run(service, resource, arguments, caller)
        if result is None:
            raise EndedError
        return result

    def invoke(resource: str, arguments: Any) -> object:  # noqa: ANN401 - any JSON value
        if scope := current():
            history.task_started(scope.execution, resource, arguments)
        session = _session(scope)
        try:
            if session:
                service.roles.check_trust(session.role, STEP_FUNCTIONS)
            if resource.startswith((sagemaker_tasks.OPTIMIZED, sagemaker_tasks.SDK)):
                result = sagemaker(resource, arguments, session)
            elif resource in s3_tasks.RESOURCES:
                role = session.role if session else ""
                result = s3_tasks.run(service, resource, arguments, role)
            else:
                if session:
                    service.roles.authorize(session, of_task(service, resource, arguments))
                result = original(resource, arguments)
                if resource == _LAMBDA_INVOKE:
                    result = {"ExecutedVersion": "$LATEST", **result}
        except sagemaker_tasks.TaskError as error:
            raise failed(error.error, error.cause) from None
        except ApiError as error:  # the role may not do this
            raise failed(f"{_error_prefix(resource)}.{error.code}", error.message) from None
        text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) > MAX_PAYLOAD:
            raise failed(
                "States.DataLimitExceeded",
                f"The task {resource} returned a result with a size exceeding the maximum number "
                "of bytes service limit.",
            )
        return result

    states._invoke_resource = invoke


def _session(scope: Scope | None) -> Session | None:
    """Return the role that an execution's state machine works with, if there is an execution."""
    if scope is None:
        return None
    arn = scope.execution["stateMachineArn"]
    machine = module("services.stepfunctions")._state_machines.get(arn)
    return Session(machine["roleArn"], "StepFunctions") if machine else None


def _error_prefix(resource: str) -> str:
    """Return the service's name in the names of a task's errors."""
    names = resource.removeprefix("arn:aws:states:::").removeprefix("aws-sdk:")
    name = "lambda" if ":function:" in resource else names.partition(":")[0]
    return name.upper() if name in ("sns", "sqs") else name[:1].upper() + name[1:]


def _keep_to_time_limits() -> None:
    """End a task at its TimeoutSeconds, a number or an expression, with all that it waits for.

    AWS: "Task workflow state", and "Run a Job (.sync)" for what becomes of the job.
    """
    states = module("services.stepfunctions")
    execute_task, original = states._execute_task, states._invoke_resource_with_timeout

    def execute(
        state: State, data: object, execution: dict[str, Any], context: dict[str, Any]
    ) -> object:
        if isinstance(state.get("TimeoutSeconds"), str):
            limit = states._jsonata_state_field(state, "TimeoutSeconds", "number", data, context)
            state = {**state, "TimeoutSeconds": limit}
        return execute_task(state, data, execution, context)

    def invoke_with_limit(resource: str, arguments: object, limit: float) -> object:
        outer = current()
        if outer is None:  # TestState, which waits for no job
            return original(resource, arguments, limit)
        scope = Scope(outer.execution, outer)

        def attempt() -> object:
            with entered(scope):
                return states._invoke_resource(resource, arguments)

        pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="task")
        future = pool.submit(contextvars.copy_context().run, attempt)
        pool.shutdown(wait=False)
        if not concurrent.futures.wait([future], limit).done:
            scope.end()
            raise failed("States.Timeout", f"The task ran longer than {limit} seconds.")
        return future.result()

    states._execute_task = execute
    states._invoke_resource_with_timeout = invoke_with_limit
    states._scaled_sleep = sleep


def _wait_before_retries() -> None:
    """Wait before a retry with MaxDelaySeconds and JitterStrategy, and no longer than the state.

    AWS: "Retrying after an error".
    """
    states = module("services.stepfunctions")
    original = states._find_matching_retrier

    def find(
        retriers: list[dict[str, Any]], error: str, counts: dict[int, int]
    ) -> tuple[dict[str, Any] | None, int]:
        retrier, index = original(retriers, error, counts)
        if retrier is None:
            return None, index
        sleep(delay(retrier, counts.get(index, 0)))
        return {**retrier, "IntervalSeconds": 0}, index  # it has waited already

    states._find_matching_retrier = find


def delay(retrier: Mapping[str, Any], retries: int) -> float:
    """Return the seconds to wait before a retry.

    Args:
        retrier: An entry of Retry.
        retries: How often it has been tried again already.
    """
    rate: float = retrier.get("BackoffRate", 2.0)
    seconds: float = retrier.get("IntervalSeconds", 1) * rate**retries
    seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
    if retrier.get("JitterStrategy") == "FULL":
        seconds = random.uniform(0, seconds)  # noqa: S311 - spreads retries, keeps no secret
    return seconds


def _leave_some_errors_to_nobody() -> None:
    """Let wildcards of Retry and Catch not mean errors that end an execution.

    AWS: "Handling errors in Step Functions workflows", States.ALL.
    """
    states = module("services.stepfunctions")
    original = states._error_matches

    def matches(names: list[str], error: str) -> bool:
        if error in _NEVER_MEANT_BY_A_WILDCARD:
            return error in names
        found: bool = original(names, error)
        return found

    states._error_matches = matches


def failed(error: str, cause: str) -> Exception:
    """Return how a state fails, as ministack raises it."""
    exception: Exception = module("services.stepfunctions")._ExecutionError(error, cause)
    return exception
