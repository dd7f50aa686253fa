"""The history of executions in ministack's Step Functions, in AWS's form.

AWS: GetExecutionHistory and HistoryEvent in the AWS Step Functions API Reference.
"""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from local_aws.host.internals import module
from local_aws.host.stepfunctions.logs import StateLogs

_TASKS = "arn:aws:states:::"

# The id of the last event of what this thread runs, copied into the threads of branches.
_previous: contextvars.ContextVar[int] = contextvars.ContextVar("previous", default=0)


def apply(changed: Callable[[], None], logs: StateLogs) -> None:
    """Add events one at a time, each linked to the one before it in its branch, and log them.

    AWS: GetExecutionHistory and HistoryEvent.

    Args:
        changed: Called when there is something to save.
        logs: Writes events to CloudWatch Logs.
    """
    states = module("services.stepfunctions")
    original = states._add_event
    lock = threading.Lock()

    def add(
        execution: dict[str, Any], event_type: str, details: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        details = {key: _named(value) for key, value in (details or {}).items()}
        failed = details.get("taskFailedEventDetails", {})
        if failed.get("error") == "States.Timeout":
            event_type, details = "TaskTimedOut", {"taskTimedOutEventDetails": failed}
        with lock:
            event: dict[str, Any] = original(execution, event_type, details)
        event["previousEventId"] = _previous.get() or event["id"] - 1
        _previous.set(event["id"])
        changed()
        if event["id"] == 2:  # the first, ExecutionStarted, is there from the start
            execution["events"][0]["previousEventId"] = 0
            write(execution, execution["events"][0])
        write(execution, event)
        return event

    def write(execution: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        machine = states._state_machines.get(execution["stateMachineArn"])
        if machine:
            logs.add(machine, execution, event)

    states._add_event = add


@contextmanager
def begun() -> Iterator[None]:
    """Link events from here on to the first of their execution, ExecutionStarted."""
    token = _previous.set(1)
    try:
        yield
    finally:
        _previous.reset(token)


def task_started(execution: dict[str, Any], resource: str, arguments: object) -> None:
    """Tell what a task was called with and that it has started."""
    scheduled = execution["events"][_previous.get() - 1].get("taskScheduledEventDetails")
    if scheduled is not None:
        scheduled["parameters"] = json.dumps(arguments)
        scheduled["region"] = execution["executionArn"].split(":")[3]
    module("services.stepfunctions")._add_event(
        execution, "TaskStarted", {"taskStartedEventDetails": {"resource": resource}}
    )


def task_submitted(execution: dict[str, Any], resource: str, answer: Mapping[str, Any]) -> None:
    """Tell what the call that started a job answered."""
    details = {"resource": resource, "output": json.dumps(answer)}
    module("services.stepfunctions")._add_event(
        execution, "TaskSubmitted", {"taskSubmittedEventDetails": details}
    )


def _named(details: dict[str, Any]) -> dict[str, Any]:
    """Name service and action of a task as AWS does, not by the whole ARN."""
    resource = details.get("resource", "")
    if not resource.startswith(_TASKS):
        return details
    kind, _, action = resource.removeprefix(_TASKS).rpartition(":")
    return {**details, "resourceType": kind, "resource": action}
