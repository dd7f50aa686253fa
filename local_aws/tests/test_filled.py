"""What grows without end is kept by row, found when it is asked for, and outlives a kill."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, until
from host_process import ACCOUNT, ROLE, HostProcess

EVENTS = 20_000
ITEMS = 2_000
KIB = 1024


def make_stream(host: HostProcess, group: str, stream: str, messages: list[str]) -> None:
    logs = host.client("logs")
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    put_events(host, group, stream, messages)


def put_events(
    host: HostProcess, group: str, stream: str, messages: list[str], back: int = 0
) -> None:
    now = round(time.time() * 1000) - back
    for start in range(0, len(messages), 5_000):
        host.client("logs").put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[
                {"timestamp": now, "message": message} for message in messages[start : start + 5000]
            ],
        )


def messages(host: HostProcess, group: str, stream: str) -> list[str]:
    found = host.client("logs").get_log_events(
        logGroupName=group, logStreamName=stream, startFromHead=True
    )
    return [event["message"] for event in found["events"]]


def make_table(host: HostProcess, name: str) -> None:
    host.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "id", "KeyType": "HASH"},
            {"AttributeName": "at", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def item(name: str, at: int, value: str = "x") -> dict[str, Any]:
    return {"id": {"S": name}, "at": {"N": str(at)}, "value": {"S": value}}


def put_items(host: HostProcess, table: str, items: list[dict[str, Any]]) -> None:
    client = host.client("dynamodb")
    for start in range(0, len(items), 25):
        requests = [{"PutRequest": {"Item": each}} for each in items[start : start + 25]]
        client.batch_write_item(RequestItems={table: requests})


def scanned(host: HostProcess, table: str, **options: Any) -> list[dict[str, Any]]:
    pages = host.client("dynamodb").get_paginator("scan").paginate(TableName=table, **options)
    return [each for found in pages for each in found["Items"]]


def put_points(host: HostProcess, namespace: str, count: int) -> None:
    host.client("cloudwatch").put_metric_data(
        Namespace=namespace, MetricData=[{"MetricName": "name", "Value": 1.0}] * count
    )


def points(host: HostProcess, namespace: str) -> float:
    now = time.time()
    [found] = host.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName="name",
        StartTime=now - 3600,
        EndTime=now + 3600,
        Period=86400,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(found["Sum"])


def written(host: HostProcess) -> int:
    """How many bytes were written to the state so far, by the log of SQLite."""
    return (host.data_dir / "state" / "services.sqlite-wal").stat().st_size


def make_machine(host: HostProcess, name: str) -> str:
    arn: str = host.client("stepfunctions").create_state_machine(
        name=name,
        roleArn=ROLE,
        definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
    )["stateMachineArn"]
    return arn


def execute(host: HostProcess, machine: str, given: str = "{}") -> dict[str, Any]:
    states = host.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]
    described: dict[str, Any] = {}

    def ended() -> bool:
        described.update(states.describe_execution(executionArn=arn))
        return bool(described["status"] != "RUNNING")

    until(ended)
    return described


@pytest.mark.parametrize("what", ["log events", "items", "data points", "executions"])
def test_a_write_takes_no_more_when_there_is_much(host: HostProcess, name: str, what: str) -> None:
    if what == "log events":
        make_stream(host, name, "full", ["a line of a log"] * EVENTS)
        host.client("logs").create_log_stream(logGroupName=name, logStreamName="other")
        one_more = [
            lambda: put_events(host, name, "full", ["one"]),
            lambda: put_events(host, name, "other", ["one"]),
        ]
    elif what == "items":
        make_table(host, name)
        put_items(host, name, [item(str(number), 0) for number in range(ITEMS)])
        one_more = [lambda: put_items(host, name, [item("one", 0)])]
    elif what == "executions":
        machine = make_machine(host, name)
        for _ in range(20):
            execute(host, machine, json.dumps("x" * 20 * KIB))
        one_more = [lambda: execute(host, machine)]
    else:
        for _ in range(10):
            put_points(host, name, 1000)
        one_more = [lambda: put_points(host, name, 1)]
    for write in one_more:
        before = written(host)
        write()
        assert 0 < written(host) - before < 100 * KIB


# What is kept


def test_log_events_outlive_a_kill(host: HostProcess, name: str) -> None:
    make_stream(host, name, "one", ["b", "c"])
    make_stream(host, name, "two", [])
    put_events(host, name, "one", ["a"], back=60_000)
    before = host.client("logs").describe_log_streams(logGroupName=name)["logStreams"]
    host.kill_and_start()
    assert messages(host, name, "one") == ["a", "b", "c"]
    assert messages(host, name, "two") == []
    logs = host.client("logs")
    [group] = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    assert group["storedBytes"] == 3
    for now, then in zip(
        logs.describe_log_streams(logGroupName=name)["logStreams"], before, strict=True
    ):
        for member in ("firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"):
            assert now.get(member) == then.get(member)
        assert now["storedBytes"] == 0  # as on AWS since 2019
    put_events(host, name, "one", ["d"])
    assert messages(host, name, "one") == ["a", "b", "c", "d"]
    found = logs.filter_log_events(logGroupName=name, filterPattern="c")["events"]
    assert [event["message"] for event in found] == ["c"]


def test_a_call_may_have_as_many_events_as_aws_takes(host: HostProcess, name: str) -> None:
    """A mebibyte of events, 26 bytes counted for each, is more than that as JSON."""
    lines = [f"{number:05} {'x' * 73}" for number in range(10_000)]
    make_stream(host, name, "one", [])
    host.client("logs").put_log_events(
        logGroupName=name,
        logStreamName="one",
        logEvents=[{"timestamp": round(time.time() * 1000), "message": line} for line in lines],
    )
    assert messages(host, name, "one") == lines


def test_what_was_deleted_stays_deleted(host: HostProcess, name: str) -> None:
    former, present = f"{name} former", f"{name} present"
    make_stream(host, name, "one", [former])
    logs, dynamodb = host.client("logs"), host.client("dynamodb")
    logs.delete_log_stream(logGroupName=name, logStreamName="one")
    make_stream(host, name, "one", [present])
    make_table(host, name)
    put_items(host, name, [item("former", 1, name)])
    dynamodb.delete_table(TableName=name)
    make_table(host, name)
    put_items(host, name, [item(key, at, name) for key, at in (("a", 1), ("a", 2), ("b", 1))])
    key = {"id": {"S": "a"}, "at": {"N": "1"}}
    dynamodb.delete_item(TableName=name, Key=key)
    host.kill_and_start()
    assert messages(host, name, "one") == [present]
    assert scanned(host, name) == [item("a", 2, name), item("b", 1, name)]
    host.terminate()
    with sqlite3.connect(host.data_dir / "state" / "services.sqlite") as state:
        rows = state.execute("select value from rows where value like ?", (f"%{name}%",)).fetchall()
    host.start()
    assert len(rows) == 3
    assert not any("former" in value for (value,) in rows)


def test_a_log_record_is_found_by_its_pointer(host: HostProcess, name: str) -> None:
    make_stream(host, name, "one", ["a", "b"])
    host.kill_and_start()
    logs = host.client("logs")
    now = round(time.time())
    query = logs.start_query(
        logGroupName=name,
        startTime=now - 60,
        endTime=now + 60,
        queryString="fields @message | filter @message = 'b'",
    )["queryId"]
    [found] = logs.get_query_results(queryId=query)["results"]
    [pointer] = [field["value"] for field in found if field["field"] == "@ptr"]
    record = logs.get_log_record(logRecordPointer=pointer)["logRecord"]
    assert (record["@message"], record["@logStream"]) == ("b", "one")
    with pytest.raises(ClientError, match="Invalid logRecordPointer"):
        logs.get_log_record(logRecordPointer="none")


def test_items_outlive_a_kill(host: HostProcess, name: str) -> None:
    dynamodb = host.client("dynamodb")
    make_table(host, name)
    put_items(host, name, [item(key, at) for key in ("b", "a") for at in (2, 10)])
    dynamodb.update_item(
        TableName=name,
        Key={"id": {"S": "a"}, "at": {"N": "2"}},
        UpdateExpression="SET #v = :v",
        ExpressionAttributeNames={"#v": "value"},
        ExpressionAttributeValues={":v": {"S": "new"}},
    )
    insert = f"INSERT INTO \"{name}\" VALUE {{'id': ?, 'at': ?}}"
    again = {"Statement": insert, "Parameters": [{"S": "c"}, {"N": "1"}]}
    dynamodb.execute_statement(**again)
    first = {"Statement": insert, "Parameters": [{"S": "d"}, {"N": "1"}]}
    with pytest.raises(ClientError, match="TransactionCanceled"):  # and is rolled back
        dynamodb.execute_transaction(TransactStatements=[first, again])
    before = scanned(host, name)
    host.kill_and_start()
    assert scanned(host, name) == before
    described = host.client("dynamodb").describe_table(TableName=name)["Table"]
    assert described["ItemCount"] == len(before) == 5


def test_a_scan_by_pages_finds_each_item_once(host: HostProcess, name: str) -> None:
    make_table(host, name)
    dynamodb = host.client("dynamodb")
    put_items(host, name, [item(f"{key:02}", at) for key in range(10) for at in range(3)])
    whole = scanned(host, name)
    assert len(whole) == 30
    for size in (1, 2, 7, 30):
        assert scanned(host, name, PaginationConfig={"PageSize": size}) == whole
    for key in whole[:9]:
        dynamodb.delete_item(TableName=name, Key={"id": key["id"], "at": key["at"]})
    put_items(host, name, [item("00", 5), item("zz", 1)])
    assert scanned(host, name, PaginationConfig={"PageSize": 4}) == [
        item("00", 5),
        *whole[9:],
        item("zz", 1),
    ]


def test_data_points_outlive_a_kill(host: HostProcess, name: str) -> None:
    put_points(host, name, 2)
    put_points(host, name, 3)
    host.kill_and_start()
    assert points(host, name) == 5
    put_points(host, name, 1)
    host.kill_and_start()
    assert points(host, name) == 6


def test_executions_outlive_a_kill(host: HostProcess, name: str) -> None:
    machine = make_machine(host, name)
    done = execute(host, machine, '{"a": 1}')
    history = host.client("stepfunctions").get_execution_history(executionArn=done["executionArn"])
    for _ in range(2):
        host.kill_and_start()
        states = host.client("stepfunctions")
        found = states.describe_execution(executionArn=done["executionArn"])
        assert (found["status"], found["output"]) == ("SUCCEEDED", '{"a": 1}')
        again = states.get_execution_history(executionArn=done["executionArn"])
        assert again["events"] == history["events"]
        assert len(states.list_executions(stateMachineArn=machine)["executions"]) == 1


def scoped(key: str, value: object) -> dict[str, Any]:
    """A store as it was written before what grows had rows."""
    return {"__account_region_scoped__": True, "data": {f"{ACCOUNT}\0{REGION}\0{key}": value}}


def test_a_folder_of_before_there_were_rows_is_read(tmp_path: Path) -> None:
    now = round(time.time() * 1000)
    event = {"timestamp": now, "message": "a", "ingestionTime": now, "eventId": "e"}
    stream = {
        "events": [event],
        "uploadSequenceToken": "2",
        "creationTime": now,
        "firstEventTimestamp": now,
        "lastEventTimestamp": now,
        "lastIngestionTime": now,
    }
    group = {
        "arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:group:*",
        "creationTime": now,
        "retentionInDays": None,
        "tags": {},
        "subscriptionFilters": {},
        "streams": {"one": stream},
    }
    table = {
        "TableName": "table",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "pk_name": "id",
        "sk_name": None,
        "items": {"a": {"__no_sort__": {"id": {"S": "a"}}}},
        "TableStatus": "ACTIVE",
        "CreationDateTime": now // 1000,
        "ItemCount": 1,
        "TableSizeBytes": 200,
        "TableArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/table",
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
    }
    point = {"Timestamp": now / 1000, "Unit": "None", "Dimensions": {}, "Value": 1.0}
    states = {
        "cloudwatch_logs": {
            "log_groups": scoped("'group'", group),
            "log_records": scoped("'e'", {"@ptr": "e", "@message": "a"}),
        },
        "dynamodb": {"tables": scoped("'table'", table)},
        "cloudwatch": {"metrics": scoped("('space', 'name', '')", [point, point])},
    }
    host = HostProcess(tmp_path / "aws")
    (host.data_dir / "state").mkdir()
    with sqlite3.connect(host.data_dir / "state" / "services.sqlite") as database:
        database.execute("create table services (name text primary key, state text not null)")
        database.executemany(
            "insert into services values (?, ?)",
            [(name, json.dumps(state)) for name, state in states.items()],
        )
    with host:
        put_events(host, "group", "one", ["b"])
        for _ in range(2):
            assert messages(host, "group", "one") == ["a", "b"]
            assert scanned(host, "table") == [{"id": {"S": "a"}}]
            assert points(host, "space") == 2
            host.kill_and_start()
