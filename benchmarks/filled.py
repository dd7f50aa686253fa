"""The local AWS when it is full: each operation beside that of an empty one, in turn."""

import http.client
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import invoke, local_aws, timing
from benchmarks.local_aws import REGION, REGION_OPTION, ROLE, Running

EVENTS = 100_000
ITEMS = 10_000
KEYS = 100_000
JOBS = 1_000
NAME = "filled"

_TIMES = 40
_STARTS = 3
_THREADS = 4
_AT_ONCE = 8  # jobs, when many are run
_ROW = b"1,2.5,some text\n"
_LINE = "a line of a log that is about as long as such lines are"


@dataclass(frozen=True)
class Operation:
    """Median seconds of an operation.

    Attributes:
        name: What is done.
        empty: In a local AWS that has nothing but what the operation needs.
        filled: In one that has `EVENTS` log events, `ITEMS` items and `KEYS` objects.
    """

    name: str
    empty: float
    filled: float

    @property
    def ratio(self) -> float:
        """How many times as long it takes in the filled one."""
        return self.filled / self.empty


@dataclass(frozen=True)
class Filled:
    """What was measured.

    Attributes:
        start_empty: Median seconds of `local-aws start` in the empty one's folder.
        start_filled: The same in the filled one's.
        operations: All operations.
        memory_before: Bytes that the filled one's process has for its own before the jobs.
        memory_after: The same after `JOBS` jobs.
    """

    start_empty: float
    start_filled: float
    operations: tuple[Operation, ...]
    memory_before: int
    memory_after: int


def measure(folder: Path) -> Filled:
    """Measure in an empty folder."""
    context = local_aws.image(folder)
    command = local_aws.installed()
    warm = folder / "warm-up"  # the first start of an installation compiles its Python files
    local_aws.call(command, warm, "start", "--port=0")
    local_aws.call(command, warm, "stop")
    folders = [folder / "empty", folder / "filled"]
    with _running(command, folders) as pair:
        for local in pair:
            local_aws.build(local, context)
            _prepare(local)
        fill(pair[1])
    starts: list[list[float]] = [[], []]
    for _ in range(_STARTS):
        for seconds, data_dir in zip(starts, folders, strict=True):
            start = partial(_start, command, data_dir)
            seconds.append(timing.seconds(start))
            local_aws.call(command, data_dir, "stop")
    with _running(command, folders) as pair:
        made = [_operations(local) for local in pair]
        operations = []
        for name in made[0]:
            empty, filled = timing.in_turn(_TIMES, [works[name] for works in made])
            operations.append(Operation(name, empty, filled))
        before = pair[1].memory
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda _: _job(pair[1]), range(JOBS)))
        after = pair[1].memory
    shutil.rmtree(folders[1])  # so many files are slow to remove elsewhere
    middle = [sorted(seconds)[_STARTS // 2] for seconds in starts]
    return Filled(middle[0], middle[1], tuple(operations), before, after)


def _start(command: Path, data_dir: Path) -> None:
    local_aws.call(command, data_dir, "start", "--port=0", REGION_OPTION)


@contextmanager
def _running(command: Path, folders: list[Path]) -> Iterator[list[Running]]:
    try:
        for data_dir in folders:
            _start(command, data_dir)
        yield [
            Running(command, data_dir, local_aws.status(command, data_dir)) for data_dir in folders
        ]
    finally:
        for data_dir in folders:
            local_aws.call(command, data_dir, "stop")


def _prepare(local: Running) -> None:
    """Make what the operations need."""
    logs = local.client("logs")
    logs.create_log_group(logGroupName=NAME)
    for stream in (NAME, "other"):
        logs.create_log_stream(logGroupName=NAME, logStreamName=stream)
    local.client("dynamodb").create_table(
        TableName=NAME,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    local.client("dynamodb").put_item(TableName=NAME, Item=_item("known"))
    s3 = local.client("s3")
    s3.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=NAME, Key="known", Body=b"x")
    local.client("sqs").create_queue(QueueName=NAME)
    local_aws.endpoint(local)
    local_aws.pipeline(local)
    local.client("stepfunctions").create_state_machine(
        name=NAME,
        roleArn=ROLE,
        definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
    )


def _item(key: str) -> dict[str, dict[str, str]]:
    return {"id": {"S": key}, "value": {"S": "x" * 100}}


def fill(local: Running) -> None:
    """Write log events, items and objects, so many that what grows with them shows."""
    logs = local.client("logs")
    for start in range(0, EVENTS, 10_000):
        now = round(time.time() * 1000)
        events = [
            {"timestamp": now, "message": f"{_LINE} {number}"}
            for number in range(start, min(start + 10_000, EVENTS))
        ]
        logs.put_log_events(logGroupName=NAME, logStreamName=NAME, logEvents=events)
    dynamodb = local.client("dynamodb")
    for start in range(0, ITEMS, 25):
        requests = [
            {"PutRequest": {"Item": _item(f"item-{number}")}} for number in range(start, start + 25)
        ]
        dynamodb.batch_write_item(RequestItems={NAME: requests})
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(partial(_put_objects, local), range(_THREADS)))


def _put_objects(local: Running, part: int) -> None:
    """Write a part of the objects over plain HTTP: boto3 would take most of the time."""
    host, _, port = local.status["endpoint_url"].partition("//")[2].partition(":")
    credential = f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/s3/aws4_request"
    connection = http.client.HTTPConnection(host, int(port))
    for number in range(part, KEYS, _THREADS):
        path = f"/{NAME}/data/day={number % 365:03}/{number:06}"
        connection.request("PUT", path, b"x", {"Authorization": credential})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")


def _operations(local: Running) -> dict[str, Callable[[], object]]:
    """What is measured, by name; each may be done any number of times."""
    logs, dynamodb, s3 = (local.client(name) for name in ("logs", "dynamodb", "s3"))
    sqs, sagemaker = local.client("sqs"), local.client("sagemaker")
    ssm, cloudwatch = local.client("ssm"), local.client("cloudwatch")
    states = local.client("stepfunctions")
    queue = sqs.get_queue_url(QueueName=NAME)["QueueUrl"]
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="bench", WaiterConfig={"Delay": 1}
    )
    port = int(local.status["endpoint_url"].rpartition(":")[2])
    ask = invoke.plain(port, "/endpoints/bench/invocations", "sagemaker")
    machine = states.list_state_machines()["stateMachines"][0]
    group, table = {"logGroupName": NAME}, {"TableName": NAME}
    stream = {**group, "logStreamName": NAME}
    known = {"id": {"S": "known"}}
    return {
        "a job": lambda: _job(local),
        "a request to the endpoint": lambda: ask(_ROW),
        "a pipeline execution of one job": lambda: local_aws.execute(sagemaker),
        "ListProcessingJobs": lambda: sagemaker.list_processing_jobs(MaxResults=5),
        "StartExecution": lambda: states.start_execution(
            stateMachineArn=machine["stateMachineArn"]
        ),
        "PutLogEvents": lambda: logs.put_log_events(**stream, logEvents=[_event()]),
        "PutLogEvents to another stream": lambda: logs.put_log_events(
            **{**stream, "logStreamName": "other"}, logEvents=[_event()]
        ),
        "GetLogEvents": lambda: logs.get_log_events(**stream, limit=10),
        "FilterLogEvents": lambda: logs.filter_log_events(**group, limit=10),
        "CreateLogStream": lambda: logs.create_log_stream(**group, logStreamName=uuid.uuid4().hex),
        "DescribeLogStreams": lambda: logs.describe_log_streams(
            **group, logStreamNamePrefix=NAME, limit=1
        ),
        "DescribeLogGroups": logs.describe_log_groups,
        "PutItem": lambda: dynamodb.put_item(**table, Item=_item(uuid.uuid4().hex)),
        "UpdateItem": lambda: dynamodb.update_item(
            **table,
            Key=known,
            UpdateExpression="SET seen = :at",
            ExpressionAttributeValues={":at": {"S": uuid.uuid4().hex}},
        ),
        "GetItem": lambda: dynamodb.get_item(**table, Key=known),
        "Query": lambda: dynamodb.query(
            **table,
            KeyConditionExpression="id = :id",
            ExpressionAttributeValues={":id": known["id"]},
        ),
        "Scan": lambda: dynamodb.scan(**table, Limit=10),
        "PutObject": lambda: s3.put_object(Bucket=NAME, Key=f"new/{uuid.uuid4().hex}", Body=b"x"),
        "GetObject": lambda: _read(s3.get_object(Bucket=NAME, Key="known")),
        "HeadObject": lambda: s3.head_object(Bucket=NAME, Key="known"),
        "ListObjectsV2": lambda: s3.list_objects_v2(Bucket=NAME, MaxKeys=1),
        "ListObjectsV2 with a prefix": lambda: s3.list_objects_v2(Bucket=NAME, Prefix="known"),
        "ListObjectsV2 with a delimiter": lambda: s3.list_objects_v2(
            Bucket=NAME, Delimiter="/", MaxKeys=1
        ),
        "ListObjectVersions": lambda: s3.list_object_versions(Bucket=NAME, MaxKeys=1),
        "DeleteObject": lambda: s3.delete_object(Bucket=NAME, Key="none"),
        "SendMessage": lambda: sqs.send_message(QueueUrl=queue, MessageBody="x"),
        "PutParameter": lambda: ssm.put_parameter(
            Name=NAME, Value=uuid.uuid4().hex, Type="String", Overwrite=True
        ),
        "PutMetricData": lambda: cloudwatch.put_metric_data(
            Namespace=NAME, MetricData=[{"MetricName": NAME, "Value": 1}]
        ),
    }


def _read(found: dict[str, Any]) -> None:
    found["Body"].read()


def _event() -> dict[str, object]:
    return {"timestamp": round(time.time() * 1000), "message": _LINE}


def _job(local: Running) -> None:
    """Run a trivial job and wait for its end."""
    local_aws.ended(local, local_aws.start_job(local, "hello.py"))
