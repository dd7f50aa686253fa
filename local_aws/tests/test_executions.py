"""The life of executions: started once, told to EventBridge, listed, and what starts them."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION, until
from host_process import ROLE, HostProcess, queue, receive, register_images
from state_machines import (
    CREATE_PROCESSING_JOB,
    SLOW,
    create,
    end,
    history,
    job,
    machine,
    run,
    start,
    task,
    wait_for_job,
    wait_until_up,
)

GOLDEN = json.loads(
    (Path(__file__).parent / "golden/events/step_functions_execution.json").read_text()
)
PASS = machine({"Say": {"Type": "Pass", "Output": "{% $states.input %}", "End": True}})
FAIL = machine({"Stop": {"Type": "Fail", "Error": "Mine", "Cause": "because"}})
WAIT = machine({"Wait": {"Type": "Wait", "Seconds": 600, "End": True}})


# Events


def shape(value: Any) -> Any:
    """Keep the structure of an event: which members, of which type, null or not."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value).__name__


@pytest.mark.parametrize("example", GOLDEN, ids=lambda example: example["detail"]["status"])
def test_events_are_as_documented(host: HostProcess, name: str, example: dict[str, Any]) -> None:
    status = example["detail"]["status"]
    url, arn = queue(host, name)
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"status": [status], "name": [name]},
    }
    events = host.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    definition = {
        "RUNNING": PASS,
        "SUCCEEDED": PASS,
        "FAILED": FAIL,
        "TIMED_OUT": {**WAIT, "TimeoutSeconds": 1},
        "ABORTED": WAIT,
    }[status]
    execution = start(host, name, definition)
    if status == "ABORTED":
        states = host.client("stepfunctions")
        states.stop_execution(executionArn=execution, error="Mine", cause="because")
    event = json.loads(receive(host, url))
    assert event["resources"] == [execution]
    detail = event["detail"]
    documented = {key: detail[key] for key in example["detail"]}
    assert shape({**event, "detail": documented}) == shape(example)
    assert documented["executionArn"] == execution
    assert documented["input"] == "{}"
    assert abs(detail["startDate"] / 1000 - time.time()) < 60
    assert detail["inputDetails"] == {"included": True}
    assert detail["redriveCount"] == 0
    # "The same information as DescribeExecution".
    reason = ("Mine", "because") if status in ("FAILED", "ABORTED") else (None, None)
    assert (detail["error"], detail["cause"]) == reason
    if status != "RUNNING":
        described = end(host, execution)
        assert (described.get("error"), described.get("cause")) == reason
        assert described["redriveStatus"] == detail["redriveStatus"]
        assert described["stopDate"].timestamp() == pytest.approx(detail["stopDate"] / 1000)


# Starting, listing, looking back


def test_the_same_start_again_is_the_same_execution(host: HostProcess, name: str) -> None:
    states = host.client("stepfunctions")
    arn = create(host, name, WAIT)
    request = {"stateMachineArn": arn, "name": "daily", "input": '{"day": 1}'}
    first = states.start_execution(**request)
    again = states.start_execution(**request)
    assert again["executionArn"] == first["executionArn"]
    assert again["startDate"] == first["startDate"]
    taken = states.exceptions.ExecutionAlreadyExists
    with pytest.raises(taken):
        states.start_execution(**{**request, "input": '{"day": 2}'})
    states.stop_execution(executionArn=first["executionArn"])
    with pytest.raises(taken):  # a name stays taken
        states.start_execution(**request)


def test_what_no_execution_can_start_with_is_refused(host: HostProcess, name: str) -> None:
    states = host.client("stepfunctions")
    arn = create(host, name, PASS)
    with pytest.raises(states.exceptions.InvalidName):
        states.start_execution(stateMachineArn=arn, name="a b")
    with pytest.raises(states.exceptions.InvalidExecutionInput):
        states.start_execution(stateMachineArn=arn, input="{")
    with pytest.raises(states.exceptions.StateMachineDoesNotExist):
        states.start_execution(stateMachineArn=f"{arn}x")


def test_executions_are_listed_newest_first(host: HostProcess, name: str) -> None:
    states = host.client("stepfunctions")
    arn = create(host, name, PASS)
    started = []
    for number in range(5):
        answer = states.start_execution(stateMachineArn=arn, name=f"e{number}")
        started.append(answer["executionArn"])
        end(host, answer["executionArn"])
    pages = list(
        states.get_paginator("list_executions").paginate(
            stateMachineArn=arn, PaginationConfig={"PageSize": 2}
        )
    )
    assert [len(page["executions"]) for page in pages] == [2, 2, 1]
    found = [item["executionArn"] for page in pages for item in page["executions"]]
    assert found == started[::-1]
    listed = states.list_executions(stateMachineArn=arn, statusFilter="FAILED")
    assert listed["executions"] == []
    listed = states.list_executions(stateMachineArn=arn, statusFilter="SUCCEEDED")
    assert len(listed["executions"]) == 5


def test_the_history_of_a_job(host: HostProcess, name: str) -> None:
    resource = f"{CREATE_PROCESSING_JOB}.sync"
    request = job(host, name, "pass")
    inner = {"StartAt": "Run", "States": {"Run": task(resource, request)}}
    states = {"Both": {"Type": "Parallel", "Branches": [inner], "End": True}}
    execution = start(host, name, machine(states))
    end(host, execution)
    events = history(host, execution)
    assert [event["type"] for event in events] == [
        "ExecutionStarted",
        "ParallelStateEntered",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
        "TaskStateExited",
        "ParallelStateExited",
        "ExecutionSucceeded",
    ]
    assert [event["id"] for event in events] == list(range(1, 11))
    assert [event["previousEventId"] for event in events[:8]] == list(range(8))
    assert events[2]["stateEnteredEventDetails"]["name"] == "Run"
    scheduled = events[3]["taskScheduledEventDetails"]
    assert scheduled["resourceType"] == "sagemaker"
    assert scheduled["resource"] == "createProcessingJob.sync"
    assert scheduled["region"] == REGION
    assert json.loads(scheduled["parameters"]) == request
    submitted = json.loads(events[5]["taskSubmittedEventDetails"]["output"])
    assert submitted["ProcessingJobArn"].endswith(name)


def test_the_history_of_a_failure(host: HostProcess, name: str) -> None:
    execution = start(host, name, FAIL)
    described = end(host, execution)
    assert (described["status"], described["error"]) == ("FAILED", "Mine")
    assert described["cause"] == "because"
    last = history(host, execution)[-1]
    assert last["type"] == "ExecutionFailed"
    assert last["executionFailedEventDetails"] == {"error": "Mine", "cause": "because"}


# What starts executions


def started(host: HostProcess, machine_arn: str) -> list[dict[str, Any]]:
    """Describe the ended executions of a state machine."""
    states = host.client("stepfunctions")
    listed = states.list_executions(stateMachineArn=machine_arn, statusFilter="SUCCEEDED")
    return [
        states.describe_execution(executionArn=item["executionArn"])
        for item in listed["executions"]
    ]


def test_a_rule_starts_a_state_machine(host: HostProcess, name: str) -> None:
    arn = create(host, name, PASS)
    events = host.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    template = {"InputPathsMap": {"key": "$.detail.key"}, "InputTemplate": '{"found": "<key>"}'}
    targets = [
        {"Id": "1", "Arn": arn, "RoleArn": ROLE, "InputTransformer": template},
        {"Id": "2", "Arn": arn, "RoleArn": ROLE, "Input": '{"found": "constant"}'},
    ]
    events.put_targets(Rule=name, Targets=targets)
    entry = {"Source": name, "DetailType": "x", "Detail": json.dumps({"key": "k1"})}
    events.put_events(Entries=[entry])
    until(lambda: len(started(host, arn)) == 2)
    found = sorted(json.loads(item["input"])["found"] for item in started(host, arn))
    assert found == ["constant", "k1"]


def test_schedules_start_a_state_machine_both_ways(host: HostProcess, name: str) -> None:
    arn = create(host, name, PASS)
    due = datetime.now(UTC) - timedelta(seconds=1)
    scheduler = host.client("scheduler")

    def schedule(kind: str, target: dict[str, Any]) -> None:
        scheduler.create_schedule(
            Name=f"{name}-{kind}",
            ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"RoleArn": ROLE, **target},
        )

    when = {"at": "<aws.scheduler.scheduled-time>"}
    schedule("templated", {"Arn": arn, "Input": json.dumps({**when, "by": "templated"})})
    request = {
        "StateMachineArn": arn,
        "Name": "<aws.scheduler.execution-id>",
        "Input": json.dumps({**when, "by": "universal"}),
    }
    universal = "arn:aws:scheduler:::aws-sdk:sfn:startExecution"
    schedule("universal", {"Arn": universal, "Input": json.dumps(request)})
    until(lambda: len(started(host, arn)) == 2)
    found = [json.loads(item["input"]) for item in started(host, arn)]
    assert sorted(item["by"] for item in found) == ["templated", "universal"]
    assert {item["at"] for item in found} == {due.strftime("%Y-%m-%dT%H:%M:%SZ")}


# Stop and start


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_executions_that_ran_have_failed_after_a_restart(tmp_path: Path, killed: bool) -> None:
    host = HostProcess(tmp_path / "aws")
    register_images(host.data_dir)
    with host:
        url, queue_arn = queue(host, "told")
        pattern = {"source": ["aws.states"], "detail": {"status": ["FAILED"]}}
        events = host.client("events")
        events.put_rule(Name="told", EventPattern=json.dumps(pattern))
        events.put_targets(Rule="told", Targets=[{"Id": "1", "Arn": queue_arn}])
        done = run(host, "done", PASS, {"a": 1})
        name = f"t{uuid.uuid4().hex[:8]}"
        request = job(host, name, SLOW)
        catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
        states = {
            "Run": task(f"{CREATE_PROCESSING_JOB}.sync", request, Catch=catch),
            "Caught": {"Type": "Succeed"},
        }
        execution = start(host, name, machine(states))
        wait_until_up(host, name)
        # An answer of Step Functions comes when what it tells is on disk.
        until(lambda: history(host, execution)[-1]["type"] == "TaskSubmitted")
        if killed:
            host.kill()
        else:
            assert host.terminate() == 0
        host.start()
        described = end(host, execution)
        assert described["status"] == "FAILED"
        word = "killed" if killed else "stopped"
        assert described["cause"] == f"The local AWS was {word} while the execution ran."
        assert history(host, execution)[-1]["type"] == "ExecutionFailed"
        assert json.loads(receive(host, url))["detail"]["executionArn"] == execution
        wait_for_job(host, name, "Failed")
        assert end(host, done["executionArn"])["output"] == {"a": 1}
        client = host.client("stepfunctions")
        with pytest.raises(client.exceptions.ExecutionAlreadyExists):
            client.start_execution(
                stateMachineArn=done["stateMachineArn"], name="done", input='{"a": 1}'
            )
