"""Start and follow executions of the state machines."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import boto3

from ops import Execution, Status, aws
from workflows import names

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

ENDED: dict[str, Status] = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "stopped",
}


@cache
def client() -> "SFNClient":
    """The Step Functions client."""
    return boto3.client("stepfunctions", region_name=names.REGION)


def start(workflow: str, parameters: Mapping[str, str]) -> str:
    """Start an execution and return its ARN."""
    started = client().start_execution(
        stateMachineArn=state_machine_arn(workflow), input=json.dumps(dict(parameters))
    )
    return started["executionArn"]


def executions(workflow: str) -> list[str]:
    """The ARNs of a workflow's executions, newest first."""
    pages = client().get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=state_machine_arn(workflow))
    return [execution["executionArn"] for page in found for execution in page["executions"]]


def running(workflow: str) -> list[str]:
    """The ARNs of a workflow's executions that have not come to their end."""
    pages = client().get_paginator("list_executions")
    found = pages.paginate(stateMachineArn=state_machine_arn(workflow), statusFilter="RUNNING")
    return [execution["executionArn"] for page in found for execution in page["executions"]]


def describe(arn: str) -> Execution:
    """The state of an execution now."""
    state = client().describe_execution(executionArn=arn)
    status = ENDED.get(state["status"], "running")
    return Execution(
        arn=arn,
        status=status,
        reason=state.get("cause") or state.get("error", ""),
        running=running_states(arn) if status == "running" else [],
        parameters=json.loads(state.get("input", "{}")),
    )


def stop(arn: str) -> None:
    """Stop an execution; its jobs are stopped too."""
    client().stop_execution(executionArn=arn)


def running_states(arn: str) -> list[str]:
    """The task states that an execution has entered and not left."""
    pages = (
        client()
        .get_paginator("get_execution_history")
        .paginate(executionArn=arn, includeExecutionData=False)
    )
    found: list[str] = []
    for event in (event for page in pages for event in page["events"]):
        if event["type"] == "TaskStateEntered":
            found.append(event["stateEnteredEventDetails"]["name"])
        elif event["type"] == "TaskStateExited":
            found.remove(event["stateExitedEventDetails"]["name"])
    return found


def state_machine_arn(name: str) -> str:
    """The ARN of a state machine."""
    return aws.arn("states", f"stateMachine:{name}")
