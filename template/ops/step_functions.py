"""Start and follow executions of the state machines."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import boto3

from lambdas import Execution
from lambdas import step_functions as state_machines
from ops import aws
from workflows import names

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


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


def executions(workflow: str) -> list[Execution]:
    """The executions of a workflow, newest first, without their details."""
    return list(state_machines.executions(state_machine_arn(workflow), client()))


def describe(arn: str) -> Execution:
    """The state of an execution now."""
    state = client().describe_execution(executionArn=arn)
    status = state_machines.ENDED.get(state["status"], "running")
    return Execution(
        reference=arn,
        status=status,
        started=state["startDate"],
        trigger=state_machines.trigger_in(state.get("name", "")),
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
