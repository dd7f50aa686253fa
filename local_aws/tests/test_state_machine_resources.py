"""State machines as CloudFormation makes them, and what they write to CloudWatch Logs."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, until
from host_process import ACCOUNT, ROLE, HostProcess
from state_machines import (
    end,
    history,
    machine,
)

FAIL = {"Stop": {"Type": "Fail", "Error": "Mine", "Cause": "because"}}


def template(name: str, definition: dict[str, Any], **properties: Any) -> str:
    """Make a template with one state machine, whose definition names its own stack's table."""
    resource = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "StateMachineName": name,
            "RoleArn": ROLE,
            "DefinitionString": json.dumps(definition),
            "DefinitionSubstitutions": {"Word": {"Ref": "AWS::StackName"}},
            **properties,
        },
    }
    outputs = {
        "Ref": {"Value": {"Ref": "Machine"}},
        "Arn": {"Value": {"Fn::GetAtt": ["Machine", "Arn"]}},
        "Name": {"Value": {"Fn::GetAtt": ["Machine", "Name"]}},
    }
    return json.dumps({"Resources": {"Machine": resource}, "Outputs": outputs})


def test_cloudformation_makes_changes_and_removes_a_state_machine(
    host: HostProcess, name: str
) -> None:
    stacks, states = host.client("cloudformation"), host.client("stepfunctions")
    word = machine({"Say": {"Type": "Pass", "Output": "${Word}", "End": True}})
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/vendedlogs/states/{name}:*"
    logging = {
        "Level": "ERROR",
        "IncludeExecutionData": True,
        "Destinations": [{"CloudWatchLogsLogGroup": {"LogGroupArn": group}}],
    }
    stacks.create_stack(
        StackName=name,
        TemplateBody=template(
            name,
            word,
            LoggingConfiguration=logging,
            TracingConfiguration={"Enabled": True},
            Tags=[{"Key": "a", "Value": "b"}],
        ),
    )
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    outputs = stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    found = {item["OutputKey"]: item["OutputValue"] for item in outputs}
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
    assert found == {"Ref": arn, "Arn": arn, "Name": name}
    described = states.describe_state_machine(stateMachineArn=arn)
    assert described["loggingConfiguration"] == {
        "level": "ERROR",
        "includeExecutionData": True,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
    }
    assert described["tracingConfiguration"] == {"enabled": True}
    assert {"key": "a", "value": "b"} in states.list_tags_for_resource(resourceArn=arn)["tags"]
    execution = states.start_execution(stateMachineArn=arn)["executionArn"]
    assert end(host, execution)["output"] == name

    given = machine({"Say": {"Type": "Pass", "Output": "changed", "End": True}})
    changed = json.loads(template(name, given))
    changed["Resources"]["Machine"]["Properties"] |= {"Definition": given}
    del changed["Resources"]["Machine"]["Properties"]["DefinitionString"]
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(changed))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    execution = states.start_execution(stateMachineArn=arn)["executionArn"]
    assert end(host, execution)["output"] == "changed"
    described = states.describe_state_machine(stateMachineArn=arn)
    assert described["loggingConfiguration"] == {"level": "OFF", "includeExecutionData": False}

    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    with pytest.raises(states.exceptions.StateMachineDoesNotExist):
        states.describe_state_machine(stateMachineArn=arn)


def test_a_stack_with_a_wrong_definition_is_not_made(host: HostProcess, name: str) -> None:
    stacks, states = host.client("cloudformation"), host.client("stepfunctions")
    wrong = machine({"Say": {"Type": "Pass", "Output": "{% 1 + %}", "End": True}})
    stacks.create_stack(StackName=name, TemplateBody=template(name, wrong))
    until(lambda: "ROLLBACK" in stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
    reasons = [
        event.get("ResourceStatusReason", "")
        for event in stacks.describe_stack_events(StackName=name)["StackEvents"]
    ]
    assert any("/States/Say/Output" in reason for reason in reasons), reasons
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"
    with pytest.raises(ClientError):
        states.describe_state_machine(stateMachineArn=arn)


# Logs


def logged(host: HostProcess, group: str, last: str) -> dict[str, list[dict[str, Any]]]:
    """Return the events in each stream of a log group, once one of the type `last` is there."""
    logs = host.client("logs")
    found: dict[str, list[dict[str, Any]]] = {}

    def read() -> bool:
        for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
            name = stream["logStreamName"]
            page = logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)
            found[name] = [json.loads(event["message"]) for event in page["events"]]
        return any(event["type"] == last for events in found.values() for event in events)

    until(read)
    return found


def with_logs(host: HostProcess, name: str, states: dict[str, Any], level: str, data: bool) -> str:
    """Start a state machine that logs to a new group of its name; return the execution's ARN."""
    host.client("logs").create_log_group(logGroupName=name)
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"
    client = host.client("stepfunctions")
    arn = client.create_state_machine(
        name=name,
        definition=json.dumps(machine(states)),
        roleArn=ROLE,
        loggingConfiguration={
            "level": level,
            "includeExecutionData": data,
            "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
        },
    )["stateMachineArn"]
    execution: str = client.start_execution(stateMachineArn=arn, input='{"a": 1}')["executionArn"]
    return execution


def test_executions_are_logged_as_documented(host: HostProcess, name: str) -> None:
    states = {"Say": {"Type": "Pass", "End": True}}
    execution = with_logs(host, name, states, "ALL", data=True)
    ((stream, events),) = logged(host, name, "ExecutionSucceeded").items()
    told = history(host, execution)
    began = told[0]["timestamp"]
    assert stream == f"states/{name}/{began.astimezone(UTC):%Y-%m-%d-%H-%M}/00000000"
    assert events[0] == {
        "id": "1",
        "type": "ExecutionStarted",
        "details": {"input": '{"a": 1}', "inputDetails": {"truncated": False}, "roleArn": ROLE},
        "redrive_count": "0",
        "previous_event_id": "0",
        "event_timestamp": str(round(began.timestamp() * 1000)),
        "execution_arn": execution,
    }
    assert [event["type"] for event in events] == [event["type"] for event in told]
    assert [event["previous_event_id"] for event in events] == ["0", "1", "2", "3"]


def test_a_level_and_data_that_are_not_wanted_are_left_out(host: HostProcess, name: str) -> None:
    execution = with_logs(host, name, FAIL, "ERROR", data=False)
    ((_, events),) = logged(host, name, "ExecutionFailed").items()
    assert [event["type"] for event in events] == ["FailStateEntered", "ExecutionFailed"]
    assert events[0]["details"] == {"name": "Stop"}
    assert events[1]["details"] == {"error": "Mine", "cause": "because"}
    assert {event["execution_arn"] for event in events} == {execution}
