"""What a `kill -9` at any moment leaves: all that was acknowledged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from conftest import REGION, aws_client, until
from host_process import ACCOUNT, DEFINITION, ROLE, HostProcess

from local_aws.host import saver as saver_module
from local_aws.host.saver import Saver

#: A client that tries again goes on for a minute after the kill: DynamoDB's ten times.
ONCE = Config(retries={"total_max_attempts": 1})

TEMPLATE = """
Parameters: {Name: {Type: String}}
Resources:
  Value: {Type: AWS::SSM::Parameter, Properties: {Name: !Ref Name, Type: String, Value: made}}
  Group:
    Type: AWS::SageMaker::ModelPackageGroup
    Properties: {ModelPackageGroupName: !Ref Name}
"""

Write = Callable[[str], object]
Kept = Callable[[set[str]], set[str]]
"""Returns those of the names that are there."""


class Streams:
    """Writes to several services, and what of them was acknowledged."""

    def __init__(self, host: HostProcess) -> None:
        self.host = host
        self.acknowledged: dict[str, set[str]] = {}
        s3, sqs = host.client("s3"), host.client("sqs")
        s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
        self.queue = sqs.create_queue(QueueName="kept")["QueueUrl"]
        self.subscribed = sqs.create_queue(QueueName="subscribed")["QueueUrl"]
        sns = host.client("sns")
        self.topic = sns.create_topic(Name="kept")["TopicArn"]
        sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:subscribed",
            Attributes={"RawMessageDelivery": "true"},
        )
        host.client("dynamodb").create_table(
            TableName="kept",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        host.client("logs").create_log_group(logGroupName="kept")
        host.client("logs").create_log_stream(logGroupName="kept", logStreamName="events")

    def writes(self) -> dict[str, tuple[Write, Kept]]:
        """What is written by service, and how to see it afterwards."""
        client = {
            name: aws_client(name, self.host.port, config=ONCE)
            for name in (
                *("cloudformation", "cloudwatch", "dynamodb", "events", "logs", "s3"),
                *("sagemaker", "scheduler", "sns", "sqs", "ssm"),
            )
        }
        target = {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:kept", "RoleArn": ROLE}

        def each(found: Callable[[str], object]) -> Kept:
            return lambda names: {name for name in names if _there(found, name)}

        return {
            "s3": (
                lambda name: client["s3"].put_object(
                    Bucket="kept", Key=name, Body=name.encode(), Metadata={"name": name}
                ),
                each(lambda name: _object(client["s3"], name)),
            ),
            "sqs": (
                lambda name: client["sqs"].send_message(QueueUrl=self.queue, MessageBody=name),
                lambda _: _messages(client["sqs"], self.queue),
            ),
            "sns": (
                lambda name: client["sns"].publish(TopicArn=self.topic, Message=name),
                lambda _: _messages(client["sqs"], self.subscribed),
            ),
            "ssm": (
                lambda name: client["ssm"].put_parameter(Name=name, Value=name, Type="String"),
                each(lambda name: client["ssm"].get_parameter(Name=name)),
            ),
            "dynamodb": (
                lambda name: client["dynamodb"].put_item(
                    TableName="kept", Item={"id": {"S": name}}
                ),
                each(
                    lambda name: client["dynamodb"].get_item(
                        TableName="kept", Key={"id": {"S": name}}
                    )["Item"]
                ),
            ),
            "events": (
                lambda name: client["events"].put_rule(
                    Name=name, EventPattern='{"source": ["toy"]}'
                ),
                each(lambda name: client["events"].describe_rule(Name=name)),
            ),
            "scheduler": (
                lambda name: client["scheduler"].create_schedule(
                    Name=name,
                    ScheduleExpression="rate(1 day)",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    Target=target,
                ),
                each(lambda name: client["scheduler"].get_schedule(Name=name)),
            ),
            "logs": (
                lambda name: client["logs"].create_log_stream(
                    logGroupName="kept", logStreamName=name
                ),
                each(
                    lambda name: client["logs"].describe_log_streams(
                        logGroupName="kept", logStreamNamePrefix=name
                    )["logStreams"][0]
                ),
            ),
            "log events": (
                lambda name: client["logs"].put_log_events(
                    logGroupName="kept",
                    logStreamName="events",
                    logEvents=[{"timestamp": round(time.time() * 1000), "message": name}],
                ),
                lambda _: _events(client["logs"]),
            ),
            "metrics": (
                lambda name: client["cloudwatch"].put_metric_data(
                    Namespace="kept", MetricData=[{"MetricName": name, "Value": 1}]
                ),
                lambda _: _metrics(client["cloudwatch"]),
            ),
            "cloudformation": (
                lambda name: client["cloudformation"].create_stack(
                    StackName=name,
                    TemplateBody=TEMPLATE,
                    Parameters=[{"ParameterKey": "Name", "ParameterValue": name}],
                ),
                each(lambda name: _made(client, name)),
            ),
            "sagemaker": (
                lambda name: client["sagemaker"].create_pipeline(
                    PipelineName=name,
                    PipelineDefinition=json.dumps(DEFINITION),
                    RoleArn=ROLE,
                    ClientRequestToken=name * 8,
                ),
                each(lambda name: client["sagemaker"].describe_pipeline(PipelineName=name)),
            ),
        }

    def run_until_killed(self, writes: int) -> None:
        """Write everywhere at once, and kill the process when each service has answered some."""
        self.acknowledged = {service: set() for service in self.writes()}
        threads = [
            threading.Thread(target=self._write, args=(service, write))
            for service, (write, _) in self.writes().items()
        ]
        for thread in threads:
            thread.start()
        until(lambda: min(map(len, self.acknowledged.values())) >= writes, 60)
        self.host.kill()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def _write(self, service: str, write: Write) -> None:
        while True:
            name = f"n{uuid.uuid4().hex[:12]}"
            try:
                write(name)
            except (BotoCoreError, ClientError):
                until(
                    lambda: self.host.ended, 5
                )  # a connection may break before the process is gone
                return
            self.acknowledged[service].add(name)


def _there(found: Callable[[str], object], name: str) -> bool:
    try:
        found(name)
    except (ClientError, LookupError):
        return False
    return True


def _object(s3: Any, name: str) -> None:
    answer = s3.get_object(Bucket="kept", Key=name)
    assert answer["Body"].read() == name.encode()
    assert answer["Metadata"] == {"name": name}


def _messages(sqs: Any, queue: str) -> set[str]:
    found: set[str] = set()
    while True:
        received = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=600
        ).get("Messages", [])
        if not received:
            return found
        found |= {message["Body"] for message in received}


def _events(logs: Any) -> set[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="kept")
    return {event["message"] for page in pages for event in page["events"]}


def _metrics(cloudwatch: Any) -> set[str]:
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace="kept")
    return {metric["MetricName"] for page in pages for metric in page["Metrics"]}


def _made(client: dict[str, Any], name: str) -> None:
    [stack] = client["cloudformation"].describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    client["ssm"].get_parameter(Name=name)
    client["sagemaker"].describe_model_package_group(ModelPackageGroupName=name)


def kill_and_compare(host: HostProcess, writes: int) -> None:
    streams = Streams(host)
    streams.run_until_killed(writes)
    host.start()
    for service, (_, kept) in streams.writes().items():
        names = streams.acknowledged[service]
        assert names - kept(names) == set(), service
    for stack in host.client("cloudformation").describe_stacks()["Stacks"]:
        assert not stack["StackStatus"].endswith("IN_PROGRESS")


def test_a_kill_loses_nothing_that_was_acknowledged(host: HostProcess) -> None:
    kill_and_compare(host, 3)


@pytest.mark.exhaustive
def test_no_kill_of_many_loses_what_was_acknowledged(host: HostProcess) -> None:
    for writes in range(1, 21):
        kill_and_compare(host, writes)
        host.kill()
        host.forget()
        host.start()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads Linux's /proc")
def test_containers_that_were_not_written_down_are_ended(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "aws")

    def container(home: Path) -> subprocess.Popen[bytes]:
        environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        return subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)

    own = container(host.data_dir / "jobs" / "training-a")
    others = container(tmp_path / "aws-2" / "jobs" / "training-a")
    with host:
        assert own.wait(30) == -signal.SIGKILL
        assert others.poll() is None
        for process in (own, others):
            process.kill()
            process.wait()


# The saver by itself


class Counted:
    """Stores that count how often they are saved, and with what."""

    def __init__(self) -> None:
        self.generation = 0
        self.floors: list[int] = []
        self.may_save = threading.Event()
        self.may_save.set()

    def advance(self) -> int:
        self.generation += 1
        return self.generation

    def save_used(self, floor: int, *, everything: bool) -> None:
        del everything
        self.floors.append(floor)
        assert self.may_save.wait(10)


def test_what_ends_while_a_save_goes_on_is_saved_by_one_more() -> None:
    stores = Counted()
    saver = Saver(stores)
    stores.may_save.clear()
    threads = [threading.Thread(target=saver.save) for _ in range(20)]
    for thread in threads:
        thread.start()
    until(lambda: saver.waiting == 20)
    stores.may_save.set()
    for thread in threads:
        thread.join(10)
    assert len(stores.floors) == 2
    assert saver.waiting == 0


def test_what_a_running_request_has_used_is_looked_at_again() -> None:
    stores = Counted()
    saver = Saver(stores)
    with saver.request():
        began = stores.generation
        saver.save()
        saver.save()
    saver.save()
    assert stores.floors == [began, began, stores.generation]


def test_what_was_never_read_is_never_saved() -> None:
    """A process that is stopped while it starts leaves the state on disk as it is."""
    stores = Counted()
    Saver(stores).stop()
    assert stores.floors == []


def test_a_save_that_fails_does_not_end_the_saver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saver_module, "SWEEP_SECONDS", 0.01)
    stores = Counted()
    saves: list[bool] = []

    def save_used(_floor: int, *, everything: bool) -> None:
        saves.append(everything)
        if len(saves) < 3:
            raise TypeError("a state that cannot be written")

    monkeypatch.setattr(stores, "save_used", save_used)
    saver = Saver(stores)
    saver.changed()
    saver.start()
    until(lambda: len(saves) > 3)
    saver.stop()
    # What was to be looked at is looked at until it is saved.
    assert saves[:4] == [True, True, True, False]
