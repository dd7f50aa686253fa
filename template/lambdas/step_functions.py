"""Step Functions: start executions, find them again, and say why one has failed."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from lambdas import Execution, Status
from lambdas.mail import Mail, quota_advice

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

ENDED: dict[str, Status] = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "stopped",
}
NAME = re.compile(r"(\w+)-[0-9a-f]{32}")
"""Names of executions that `start` has started, with their trigger."""


@cache
def step_functions() -> "SFNClient":
    """The Step Functions client."""
    return boto3.client("stepfunctions")


def start(
    workflow: str, trigger: str, idempotency_key: str, parameters: Mapping[str, str] | None = None
) -> str:
    """Start an execution.

    Args:
        workflow: ARN of the state machine.
        trigger: What starts it, a word; also the Trigger in its input.
        idempotency_key: There is one execution for it, even for calls at the same time: its name
            is made of it, and a name is taken for 90 days.
        parameters: What else is in its input.

    Returns:
        The execution's ARN.
    """
    digest = hashlib.sha256(idempotency_key.encode()).hexdigest()
    name = f"{trigger}-{digest[:32]}"
    try:
        step_functions().start_execution(
            stateMachineArn=workflow,
            name=name,
            input=json.dumps({"Trigger": trigger, **(parameters or {})}),
        )
    except step_functions().exceptions.ExecutionAlreadyExists:
        pass  # it has come to its end since
    return f"{workflow.replace(':stateMachine:', ':execution:')}:{name}"


def executions(workflow: str, client: "SFNClient | None" = None) -> Iterator[Execution]:
    """The executions of a workflow, newest first.

    Args:
        workflow: ARN of the state machine.
        client: Asks Step Functions; that of the function's region unless given.
    """
    pages = (client or step_functions()).get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=workflow):
        for execution in page["executions"]:
            yield Execution(
                execution["executionArn"],
                ENDED.get(execution["status"], "running"),
                execution["startDate"],
                trigger_in(execution["name"]),
            )


def trigger_in(name: str) -> str:
    """What has started an execution, by its name; empty if that was a person."""
    by_trigger = NAME.fullmatch(name)
    return by_trigger[1] if by_trigger else ""


def failed(detail: dict[str, Any]) -> Mail:
    """An execution of a workflow has failed."""
    arn, workflow = detail["executionArn"], detail["stateMachineArn"].rpartition(":")[2]
    # One that has run out of time comes with neither.
    reason = detail.get("cause") or detail.get("error") or detail["status"]
    text = f"""\
An execution of {workflow} has failed.

{reason}
{quota_advice(reason)}
{arn}
"""
    return Mail(f"failed {arn} {detail['stopDate']}", f"{workflow} failed", text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail]] = {
    "Step Functions Execution Status Change": failed
}
