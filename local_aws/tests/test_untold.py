"""What happens where EventBridge does not take an event of an alarm or an execution."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from conftest import until
from host_process import PROGRAM, ROLE, HostProcess, queue, receive

# The first event about each alarm and each execution is not taken.
FAILING = (
    """
from local_aws.host.ministack import Ministack
put, failed = Ministack.put_event, set()
def put_event(self, detail_type, detail, resources, **more):
    if resources[0] not in failed:
        failed.add(resources[0])
        raise RuntimeError("not taken")
    put(self, detail_type, detail, resources, **more)
Ministack.put_event = put_event
"""
    + PROGRAM
)


def told(host: HostProcess, name: str, pattern: dict[str, Any]) -> str:
    """Let a rule send events to a queue; return its URL."""
    url, arn = queue(host, name)
    host.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    host.client("events").put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    return url


def test_an_event_that_is_not_taken_holds_nothing_up_and_comes_later(tmp_path: Path) -> None:
    with HostProcess(tmp_path / "host", FAILING) as host:
        cloudwatch, states = host.client("cloudwatch"), host.client("stepfunctions")
        changes = told(
            host, "changes", {"source": ["aws.cloudwatch"], "detail": {"alarmName": ["child"]}}
        )
        runs = told(host, "runs", {"source": ["aws.states"], "detail": {"status": ["RUNNING"]}})
        cloudwatch.put_metric_alarm(
            AlarmName="child",
            Namespace="Test",
            MetricName="m",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
        cloudwatch.put_composite_alarm(AlarmName="parent", AlarmRule="ALARM(child)")
        until(lambda: state(host, "parent") == "OK")
        cloudwatch.put_metric_data(
            Namespace="Test", MetricData=[{"MetricName": "m", "Value": 2, "Timestamp": time.time()}]
        )
        until(lambda: state(host, "child") == "ALARM")
        assert state(host, "parent") == "ALARM"
        assert json.loads(receive(host, changes))["detail"]["state"]["value"] == "ALARM"

        definition = {"StartAt": "Say", "States": {"Say": {"Type": "Succeed"}}}
        machine = states.create_state_machine(
            name="m", roleArn=ROLE, definition=json.dumps(definition)
        )["stateMachineArn"]
        execution = states.start_execution(stateMachineArn=machine)["executionArn"]
        assert json.loads(receive(host, runs))["detail"]["executionArn"] == execution


def state(host: HostProcess, name: str) -> str:
    answer = host.client("cloudwatch").describe_alarms(
        AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    (alarm,) = answer["MetricAlarms"] + answer["CompositeAlarms"]
    return str(alarm["StateValue"])
