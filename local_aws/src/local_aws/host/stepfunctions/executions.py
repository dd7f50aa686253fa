"""The life of executions in ministack's Step Functions: start, limit, stop, end, and what is told.

Each function replaces one of ministack's own by one that also does what AWS documents; the
reference is the AWS Step Functions API Reference.
"""

from __future__ import annotations

import contextvars
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from local_aws.host.internals import module
from local_aws.host.stepfunctions import definition, history
from local_aws.host.stepfunctions.scopes import EndedError, Scope, current, entered
from local_aws.sagemaker.core.events import Event
from local_aws.sagemaker.core.loops import attempt

DETAIL_TYPE = "Step Functions Execution Status Change"
"""Of the events of executions."""

Send = Callable[[Event], None]
Answer = tuple[int, dict[str, str], bytes]

# StartExecution, member name.
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
_EVENT_PAYLOAD = 248 * 1024  # bytes; more is left out of an event
_LEFT_RUNNING = "States.ServiceRestart"  # ministack's mark for executions of a killed process

_left_over: list[dict[str, Any]] = []


def apply(send: Send) -> None:
    """Add what is missing.

    Args:
        send: Sends an event to EventBridge in the background (`Service.send`).
    """
    _fail_left_over()
    _tell_eventbridge(send)
    _start_once()
    _run_until_ended()
    _fail_only_what_runs()
    _describe_ends()
    _refuse_what_cannot_run()
    _provision_as_the_api_does()


def end_all(reason: str) -> None:
    """Fail all executions that run.

    Args:
        reason: Their cause.
    """
    states = module("services.stepfunctions")
    for execution in list(states._executions.all_values()):
        if execution["status"] == "RUNNING":
            states._fail_execution(execution, "States.Runtime", reason)


def tell_of_left_over() -> None:
    """Send the events of the executions that failed when their process was killed."""
    states = module("services.stepfunctions")
    while _left_over:
        states._emit_execution_status_event(_left_over.pop())


def _fail_left_over() -> None:
    """Fail the executions that ran when a former process was killed, as others fail.

    Their state is restored before requests are answered; events can be sent afterwards only.

    Here: an execution that a killed process ran has an end in its history, and an event of it.
    """
    states = module("services.stepfunctions")
    original = states._restore_state

    def restore(data: dict[str, Any]) -> None:
        original(data)
        for execution in states._executions.all_values():
            if execution.get("error") == _LEFT_RUNNING:
                reason = "The local AWS was killed while the execution ran."
                end = {"error": "States.Runtime", "cause": reason}
                execution.update(end)
                states._add_event(
                    execution, "ExecutionFailed", {"executionFailedEventDetails": end}
                )
                _left_over.append(execution)

    states._restore_state = restore


def _tell_eventbridge(send: Send) -> None:
    """Send the event of a change of an execution's status.

    AWS: Step Functions Developer Guide, "Automating Step Functions event delivery with
    EventBridge": the same information as DescribeExecution's.
    """
    states = module("services.stepfunctions")

    def emit(execution: Mapping[str, Any]) -> None:
        if execution.get("sync"):
            return  # as an express workflow
        arn = execution["executionArn"]
        event = Event(DETAIL_TYPE, _event_detail(execution), [arn])
        attempt(f"telling EventBridge of {arn}", send, event)

    def _event_detail(execution: Mapping[str, Any]) -> dict[str, Any]:
        detail = {
            "executionArn": execution["executionArn"],
            "stateMachineArn": execution["stateMachineArn"],
            "name": execution["name"],
            "status": execution["status"],
            "startDate": states._iso_to_epoch_ms(execution["startDate"]),
            "stopDate": states._iso_to_epoch_ms(execution.get("stopDate")),
            "input": execution["input"],
            "output": execution["output"] if execution["status"] == "SUCCEEDED" else None,
            "stateMachineVersionArn": None,
            "stateMachineAliasArn": None,
            **_redrive(execution["status"]),
            "error": execution.get("error"),
            "cause": execution.get("cause"),
        }
        for member in ("input", "output"):
            text = detail[member]
            included = text is not None and len(json.dumps(text)) <= _EVENT_PAYLOAD
            detail[f"{member}Details"] = None if text is None else {"included": included}
            detail[member] = text if included else None
        return detail

    states._emit_execution_status_event = emit


def _redrive(status: str) -> dict[str, Any]:
    if status in ("RUNNING", "SUCCEEDED"):
        state, reason = "NOT_REDRIVABLE", f"Execution is {status} and cannot be redriven"
    else:
        state, reason = "REDRIVABLE", None
    return {
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": state,
        "redriveStatusReason": reason,
    }


def _start_once() -> None:
    """Answer a repeated StartExecution with the execution that runs already.

    AWS: StartExecution, which is idempotent for the same name and input while the execution runs.
    """
    states = module("services.stepfunctions")
    responses = module("core.responses")
    original = states._start_execution

    def refuse(code: str, message: str) -> Answer:
        refused: Answer = responses.error_response_json(code, message, 400)
        return refused

    def start(data: dict[str, Any]) -> Answer:
        name, given = data.get("name"), data.get("input", "{}")
        if name is not None and not _NAME.fullmatch(name):
            return refuse("InvalidName", f"Invalid Name: '{name}'")
        try:
            json.loads(given)
        except ValueError as error:
            text = f"Invalid State Machine Execution Input: '{error}'"
            return refuse("InvalidExecutionInput", text)
        machine = states._resolve_state_machine_arn(data.get("stateMachineArn", ""))
        if machine and name:
            arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
            running = states._executions.get(arn)
            if running and running["status"] == "RUNNING" and running["input"] == given:
                again = {"executionArn": arn, "startDate": running["startDate"]}
                answered: Answer = responses.json_response(again)
                return answered
        started: Answer = original(data)
        return started

    states._start_execution = start


def _run_until_ended() -> None:
    """Run an execution in a scope that ends with it, and no longer than its TimeoutSeconds.

    AWS: "State machine structure in Amazon States Language", TimeoutSeconds; StopExecution.
    """
    states = module("services.stepfunctions")
    original = states._run_execution

    def time_out(execution: dict[str, Any]) -> None:
        if execution["status"] != "RUNNING":
            return
        execution["status"] = "TIMED_OUT"
        execution["stopDate"] = states.now_iso()
        states._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
        states._emit_execution_status_event(execution)

    def limit(execution: Mapping[str, Any]) -> float | None:
        machine = states._state_machines.get(execution["stateMachineArn"], {})
        seconds: float | None = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
        return seconds

    def run(arn: str) -> None:
        execution = states._executions.get(arn)
        if execution is None:
            return
        # A child that is waited for ends with its parent; others have only been started by it.
        parent = current() if execution.get("sync") else None
        timer = None
        if seconds := limit(execution):
            expire = contextvars.copy_context().run
            timer = threading.Timer(seconds, expire, (time_out, execution))
            timer.daemon = True
            timer.start()
        try:
            with entered(Scope(execution, parent)), history.begun():
                original(arn)
        except EndedError:
            if execution["status"] == "RUNNING":  # its parent has ended
                states._stop_execution({"executionArn": arn})
        finally:
            if timer:
                timer.cancel()

    states._run_execution = run


def _fail_only_what_runs() -> None:
    """Leave an execution that has been stopped or has timed out as it is.

    AWS: StopExecution and DescribeExecution: the status of an ended execution does not change.
    """
    states = module("services.stepfunctions")
    original = states._fail_execution

    def fail(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            original(execution, error, cause)

    states._fail_execution = fail


def _describe_ends() -> None:
    """Describe an execution's output only if it has succeeded, and whether it may be redriven.

    AWS: DescribeExecution.
    """
    states = module("services.stepfunctions")
    responses = module("core.responses")
    original = states._describe_execution

    def describe(data: dict[str, Any]) -> Answer:
        status, headers, body = original(data)
        if status != 200:
            return status, headers, body
        described = json.loads(body)
        if described["status"] != "SUCCEEDED":
            del described["output"], described["outputDetails"]
        described |= _redrive(described["status"])
        kept = {key: value for key, value in described.items() if value is not None}
        answered: Answer = responses.json_response(kept)
        return answered

    states._describe_execution = describe


def _refuse_what_cannot_run() -> None:
    """Check more of a definition than its expressions when it is created or updated.

    AWS: CreateStateMachine, InvalidDefinition.
    """
    states = module("services.stepfunctions")
    original = states._validate_definition_jsonata

    def validate(text: str) -> str | None:
        found = definition.problem(text) or original(text)
        return f"Invalid State Machine Definition: '{found}'" if found else None

    states._validate_definition_jsonata = validate


def _provision_as_the_api_does() -> None:
    """Let CloudFormation check a definition, and keep what it sets of logging and tracing.

    AWS: AWS::StepFunctions::StateMachine, whose members begin with capitals, and
    DescribeStateMachine, whose members do not.
    """
    states = module("services.stepfunctions")
    provisioners = module("services.cloudformation.provisioners")
    handlers = provisioners._RESOURCE_HANDLERS
    name = "AWS::StepFunctions::StateMachine"
    create, update = handlers[name]["create"], handlers[name]["update"]

    def check(properties: Mapping[str, Any]) -> None:
        text = provisioners._sfn_definition(properties)
        if problem := states._validate_definition_jsonata(text):
            raise ValueError(problem)

    def kept(properties: Mapping[str, Any], done: tuple[str, Any]) -> tuple[str, Any]:
        machine = states._state_machines[done[0]]
        defaults = {"Level": "OFF", "IncludeExecutionData": False}
        machine["loggingConfiguration"] = _lower_camel(
            {**defaults, **properties.get("LoggingConfiguration", {})}
        )
        machine["tracingConfiguration"] = _lower_camel(
            {"Enabled": False, **properties.get("TracingConfiguration", {})}
        )
        return done

    def create_kept(logical_id: str, properties: Mapping[str, Any], stack: str) -> tuple[str, Any]:
        check(properties)
        return kept(properties, create(logical_id, properties, stack))

    def update_kept(
        physical_id: str,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        *rest: object,
        **more: object,
    ) -> tuple[str, Any]:
        check(new)
        return kept(new, update(physical_id, old, new, *rest, **more))

    handlers[name] = {**handlers[name], "create": create_kept, "update": update_kept}


def _lower_camel(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {key[:1].lower() + key[1:]: _lower_camel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lower_camel(item) for item in value]
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
