"""When schedules fire, what they and rules deliver to, and what happens if they cannot."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, until
from host_process import ACCOUNT, ROLE, HostProcess, pipeline, queue, receive

from local_aws.host.eventbridge import schedules
from local_aws.host.eventbridge.deliveries import next_cron

BERLIN = "Europe/Berlin"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def due(expression: str, since: str, now: str, **more: Any) -> str | None:
    schedule = {"ScheduleExpression": expression, "CreationDate": at("2026-01-01T00:00:00"), **more}
    found = schedules.due(schedule, at(since), at(now), next_cron)
    return f"{datetime.fromtimestamp(found, UTC):%Y-%m-%dT%H:%M:%S}" if found else None


@pytest.mark.parametrize(
    ("expression", "more", "since", "now", "expected"),
    [
        # Time zones: 8:30 in Berlin is 6:30 UTC in summer and 7:30 in winter.
        (
            "cron(30 8 * * ? *)",
            {"ScheduleExpressionTimezone": BERLIN},
            "2026-07-01T00:00:00",
            "2026-07-01T06:30:01",
            "2026-07-01T06:30:00",
        ),
        (
            "cron(30 8 * * ? *)",
            {"ScheduleExpressionTimezone": BERLIN},
            "2026-12-01T00:00:00",
            "2026-12-01T06:30:01",
            None,
        ),
        (
            "at(2026-12-01T08:30:00)",
            {"ScheduleExpressionTimezone": BERLIN},
            "2026-12-01T00:00:00",
            "2026-12-01T07:30:00",
            "2026-12-01T07:30:00",
        ),
        ("at(2026-12-01T08:30:00)", {}, "2026-12-01T00:00:00", "2026-12-01T07:30:00", None),
        # The last of those that were missed
        (
            "cron(0 * * * ? *)",
            {},
            "2026-01-01T00:30:00",
            "2026-01-01T03:30:00",
            "2026-01-01T03:00:00",
        ),
        # A rate counts from the creation, or from the start date, when it fires first.
        ("rate(1 hour)", {}, "2026-01-01T00:00:00", "2026-01-01T00:59:59", None),
        (
            "rate(1 hour)",
            {},
            "2026-01-01T00:00:00",
            "2026-01-01T01:00:05",
            "2026-01-01T01:00:00",
        ),
        ("rate(1 hour)", {}, "2026-01-01T01:00:00", "2026-01-01T01:59:59", None),
        (
            "rate(1 hour)",
            {"StartDate": at("2026-01-01T00:20:00")},
            "2026-01-01T00:00:00",
            "2026-01-01T00:20:01",
            "2026-01-01T00:20:00",
        ),
        (
            "rate(1 hour)",
            {"EndDate": at("2026-01-01T00:20:00")},
            "2026-01-01T00:00:00",
            "2026-01-01T01:20:01",
            None,
        ),
    ],
)
def test_when_a_schedule_is_due(
    expression: str, more: dict[str, Any], since: str, now: str, expected: str | None
) -> None:
    assert due(expression, since, now, **more) == expected


def schedule(host: HostProcess, name: str, target: dict[str, Any], **more: Any) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    request = {
        "Name": name,
        "ScheduleExpression": f"at({past:%Y-%m-%dT%H:%M:%S})",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"RoleArn": ROLE, **target},
        **more,
    }
    host.client("scheduler").create_schedule(**request)


def letter(host: HostProcess, url: str) -> tuple[str, dict[str, str]]:
    """Body and attributes of the message that comes next."""
    sqs = host.client("sqs")
    deadline = time.monotonic() + 30
    while True:
        found = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"]
        ).get("Messages", [])
        if found:
            attributes = found[0]["MessageAttributes"]
            return found[0]["Body"], {k: v["StringValue"] for k, v in attributes.items()}
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"ScheduleExpression": "cron(99 8 * * ? *)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(tomorrow)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "rate(0 hours)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "at(2026-13-01T00:00:00)"}, "Invalid Schedule Expression"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes"),
        ({"StartDate": 200.0, "EndDate": 100.0}, "EndDate"),
    ],
)
def test_a_schedule_that_cannot_fire_is_refused(
    host: HostProcess, more: dict[str, Any], message: str
) -> None:
    _, arn = queue(host, "unused")
    with pytest.raises(ClientError, match=message) as caught:
        schedule(host, "refused", {"Arn": arn}, **more)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_one_time_schedule_fires_once_and_deletes_itself(host: HostProcess) -> None:
    url, arn = queue(host, "once")
    schedule(host, "kept", {"Arn": arn, "Input": "kept"})
    schedule(host, "deleted", {"Arn": arn, "Input": "deleted"}, ActionAfterCompletion="DELETE")
    assert {receive(host, url), receive(host, url)} == {"kept", "deleted"}
    found = host.client("scheduler").list_schedules()["Schedules"]
    assert [item["Name"] for item in found] == ["kept"]
    # Nor does it fire after a restart.
    assert host.terminate() == 0
    host.start()
    schedule(host, "later", {"Arn": arn, "Input": "later"})
    assert receive(host, url) == "later"


def test_a_schedule_puts_an_event_under_its_own_names(host: HostProcess) -> None:
    url, arn = queue(host, "named")
    events = host.client("events")
    events.put_rule(Name="named", EventPattern=json.dumps({"source": ["mine"]}))
    events.put_targets(Rule="named", Targets=[{"Id": "1", "Arn": arn}])
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    names = {"DetailType": "Night", "Source": "mine"}
    schedule(
        host, "named", {"Arn": bus, "EventBridgeParameters": names, "Input": json.dumps({"n": 1})}
    )
    event = json.loads(receive(host, url))
    assert (event["detail-type"], event["detail"]) == ("Night", {"n": 1})


def test_what_a_schedule_cannot_deliver_is_a_dead_letter(host: HostProcess) -> None:
    url, arn = queue(host, "letters")
    given = json.dumps({"PipelineName": "absent", "ClientRequestToken": "t" * 32})
    schedule(
        host,
        "lost",
        {
            "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution",
            "Input": given,
            "DeadLetterConfig": {"Arn": arn},
        },
    )
    body, attributes = letter(host, url)
    assert body == given
    assert "ResourceNotFound" in attributes["ERROR_CODE"]
    assert "absent" in attributes["ERROR_MESSAGE"]
    assert attributes["SCHEDULE_ARN"].endswith("schedule/default/lost")
    assert attributes["RETRY_ATTEMPTS"] == "0"


def test_what_a_rule_cannot_deliver_is_a_dead_letter(host: HostProcess) -> None:
    url, arn = queue(host, "undelivered")
    events = host.client("events")
    events.put_rule(Name="lost", EventPattern=json.dumps({"source": ["lost"]}))
    absent = f"arn:aws:sqs:{REGION}:{ACCOUNT}:absent"
    target = {"Id": "1", "Arn": absent, "DeadLetterConfig": {"Arn": arn}}
    events.put_targets(Rule="lost", Targets=[target])
    events.put_events(Entries=[{"Source": "lost", "DetailType": "x", "Detail": '{"n": 1}'}])
    body, attributes = letter(host, url)
    assert json.loads(body)["detail"] == {"n": 1}
    assert attributes["ERROR_CODE"] == "NO_RESOURCE"
    assert attributes["TARGET_ARN"] == absent
    assert attributes["RULE_ARN"].endswith(":rule/lost")


def test_cloudformation_keeps_all_of_a_schedule(host: HostProcess) -> None:
    _, arn = queue(host, "from-stack")
    stacks, scheduler = host.client("cloudformation"), host.client("scheduler")

    def template(hour: int) -> str:
        properties = {
            "Name": "from-stack",
            "ScheduleExpression": f"cron(0 {hour} * * ? *)",
            "ScheduleExpressionTimezone": BERLIN,
            "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": "5"},
            "Target": {"Arn": arn, "RoleArn": ROLE},
        }
        resource = {"Type": "AWS::Scheduler::Schedule", "Properties": properties}
        return json.dumps({"Resources": {"Nightly": resource}})

    stacks.create_stack(StackName="nightly", TemplateBody=template(3))
    stacks.get_waiter("stack_create_complete").wait(
        StackName="nightly", WaiterConfig={"Delay": 0.1}
    )
    found = scheduler.get_schedule(Name="from-stack")
    assert found["ScheduleExpressionTimezone"] == BERLIN
    assert found["FlexibleTimeWindow"]["MaximumWindowInMinutes"] == 5
    stacks.update_stack(StackName="nightly", TemplateBody=template(4))
    stacks.get_waiter("stack_update_complete").wait(
        StackName="nightly", WaiterConfig={"Delay": 0.1}
    )
    found = scheduler.get_schedule(Name="from-stack")
    assert found["ScheduleExpression"] == "cron(0 4 * * ? *)"
    stacks.delete_stack(StackName="nightly")
    names = lambda: [s["Name"] for s in scheduler.list_schedules()["Schedules"]]  # noqa: E731
    until(lambda: "from-stack" not in names())


def test_what_may_pass_is_tried_again(host: HostProcess) -> None:
    """A resource has all the tags that it may have, until one is removed."""
    sagemaker = host.client("sagemaker")
    arn = pipeline(host, "full")
    sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": f"k{number}", "Value": "x"} for number in range(50)]
    )
    url, letters = queue(host, "gave-up")

    def add(tag: str, attempts: int) -> None:
        given = {"ResourceArn": arn, "Tags": [{"Key": tag, "Value": "x"}]}
        target = {
            "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:addTags",
            "Input": json.dumps(given),
            "RetryPolicy": {"MaximumRetryAttempts": attempts},
            "DeadLetterConfig": {"Arn": letters},
        }
        schedule(host, tag, target)

    def tags() -> set[str]:
        found = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"] for page in found for tag in page["Tags"]}

    add("patient", 5)
    add("gives-up", 1)
    body, attributes = letter(host, url)
    assert json.loads(body)["Tags"][0]["Key"] == "gives-up"
    assert "ResourceLimitExceeded" in attributes["ERROR_CODE"]
    assert attributes["RETRY_ATTEMPTS"] == "1"
    assert attributes["EXHAUSTED_RETRY_CONDITION"] == "MaximumRetryAttempts"
    assert not tags() & {"patient", "gives-up"}
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["k0"])
    until(lambda: "patient" in tags())
