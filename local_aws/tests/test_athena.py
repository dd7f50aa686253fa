"""Athena over Parquet tables that CloudFormation made in Glue."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from host_process import HostProcess

BUCKET = "lake"
COLUMNS = {"id": "string", "score": "double", "flights": "int", "moment": "timestamp", "on": "date"}
PARQUET = "org.apache.hadoop.hive.ql.io.parquet"
PROJECTED = {
    "projection.enabled": "true",
    "projection.day.type": "date",
    "projection.day.format": "yyyy-MM-dd",
    "projection.day.range": "2013-01-01,NOW+1YEARS",
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    host = HostProcess(tmp_path_factory.mktemp("athena"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")  # Athena's time is UTC
        host.start()
    s3 = host.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    template = {
        "Resources": {
            "Database": {
                "Type": "AWS::Glue::Database",
                "Properties": {"CatalogId": "000000000000", "DatabaseInput": {"Name": "lake"}},
            },
            "WorkGroup": {
                "Type": "AWS::Athena::WorkGroup",
                "Properties": {
                    "Name": "lake",
                    "WorkGroupConfiguration": {
                        "EnforceWorkGroupConfiguration": True,
                        "ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/results"},
                    },
                },
            },
            "Projected": table("projected", PROJECTED),
            "Registered": table("registered", {}),
            "Templated": table(
                "templated",
                {**PROJECTED, "storage.location.template": f"s3://{BUCKET}/templated/d/${{day}}"},
            ),
            "Typed": table("typed", PROJECTED, day="date"),
            "Wrong": table("wrong", {**PROJECTED, "projection.day.type": "injected"}),
        }
    }
    stacks = host.client("cloudformation")
    stacks.create_stack(StackName="lake", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(
        StackName="lake", WaiterConfig={"Delay": 0.2, "MaxAttempts": 100}
    )
    yield host
    host.end()


def table(name: str, parameters: dict[str, str], day: str = "string") -> dict[str, Any]:
    return {
        "Type": "AWS::Glue::Table",
        "DependsOn": "Database",
        "Properties": {
            "CatalogId": "000000000000",
            "DatabaseName": "lake",
            "TableInput": {
                "Name": name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {"classification": "parquet", **parameters},
                "PartitionKeys": [{"Name": "day", "Type": day}],
                "StorageDescriptor": {
                    "Location": f"s3://{BUCKET}/{name}/",
                    "Columns": [{"Name": key, "Type": kind} for key, kind in COLUMNS.items()],
                    "InputFormat": f"{PARQUET}.MapredParquetInputFormat",
                    "OutputFormat": f"{PARQUET}.MapredParquetOutputFormat",
                    "SerdeInfo": {"SerializationLibrary": f"{PARQUET}.serde.ParquetHiveSerDe"},
                },
            },
        },
    }


ROWS = """
    SELECT 'a' AS id, 0.5::DOUBLE AS score, 3::INTEGER AS flights,
        TIMESTAMP '2013-07-01 10:00:00' AS moment, DATE '2013-07-01' AS "on"
    UNION ALL SELECT 'b', NULL, 4, NULL, NULL
"""


def write(host: HostProcess, folder: Path, key: str, query: str = ROWS) -> None:
    path = folder / "rows.parquet"
    duckdb.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    host.client("s3").upload_file(str(path), BUCKET, key)


def start(host: HostProcess, query: str, **more: Any) -> dict[str, Any]:
    """Run a query to its end, and return its QueryExecution."""
    athena = host.client("athena")
    started = athena.start_query_execution(
        QueryString=query,
        QueryExecutionContext={"Database": "lake"},
        **{"WorkGroup": "lake", **more},
    )
    deadline = time.monotonic() + 30
    while True:
        found: dict[str, Any] = athena.get_query_execution(
            QueryExecutionId=started["QueryExecutionId"]
        )["QueryExecution"]
        if found["Status"]["State"] in ("SUCCEEDED", "FAILED", "CANCELLED"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def ask(host: HostProcess, query: str) -> list[list[str | None]]:
    """Run a query, and return its rows without the header."""
    found = start(host, query)
    assert found["Status"]["State"] == "SUCCEEDED", found
    answer = host.client("athena").get_query_results(QueryExecutionId=found["QueryExecutionId"])
    rows = answer["ResultSet"]["Rows"]
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in rows[1:]]


@pytest.fixture(scope="module")
def days(host: HostProcess, tmp_path_factory: pytest.TempPathFactory) -> HostProcess:
    """Two days with rows, one without any, and what no partition of the projection is."""
    folder = tmp_path_factory.mktemp("rows")
    for name in ("projected", "registered", "typed"):
        for day in ("2013-07-01", "2013-07-02", "2012-12-31", "2013-7-3", "someday"):
            write(host, folder, f"{name}/day={day}/part.parquet")
        write(host, folder, f"{name}/day=2013-07-04/part.parquet", f"{ROWS} LIMIT 0")
        write(host, folder, f"{name}/stray.parquet")
    return host


def test_a_table_without_files_is_empty(host: HostProcess) -> None:
    assert ask(host, "SELECT count(*) FROM templated") == [["0"]]
    assert ask(host, "SELECT * FROM templated") == []


def test_projected_partitions_are_read_and_no_others(days: HostProcess) -> None:
    rows = ask(days, "SELECT day, count(*) AS n FROM projected GROUP BY day ORDER BY day")
    assert rows == [["2013-07-01", "2"], ["2013-07-02", "2"]]
    assert ask(days, "SELECT count(*) FROM projected WHERE day = '2013-07-04'") == [["0"]]
    assert ask(days, "SELECT count(*) FROM lake.projected WHERE day > '2013-07-01'") == [["2"]]


def test_a_partition_key_may_be_a_date(days: HostProcess) -> None:
    query = "SELECT max(day), count(*) FROM typed WHERE day <= DATE '2013-07-01'"
    assert ask(days, query) == [["2013-07-01", "2"]]
    # A value that is not a date is outside of the projection, and does not fail the query.
    assert ask(days, "SELECT count(*) FROM typed") == [["4"]]


def test_without_projection_only_registered_partitions_are_read(days: HostProcess) -> None:
    assert ask(days, "SELECT count(*) FROM registered") == [["0"]]
    days.client("glue").create_partition(
        DatabaseName="lake",
        TableName="registered",
        PartitionInput={
            "Values": ["2013-07-02"],
            "StorageDescriptor": {"Location": f"s3://{BUCKET}/registered/day=2013-07-02"},
        },
    )
    assert ask(days, "SELECT day, id FROM registered ORDER BY id") == [
        ["2013-07-02", "a"],
        ["2013-07-02", "b"],
    ]


def test_a_template_says_where_partitions_are(host: HostProcess, tmp_path: Path) -> None:
    write(host, tmp_path, "templated/d/2013-07-01/part.parquet")
    write(host, tmp_path, "templated/other/2013-07-02/part.parquet")
    assert ask(host, "SELECT DISTINCT day FROM templated") == [["2013-07-01"]]
    host.client("s3").delete_object(Bucket=BUCKET, Key="templated/d/2013-07-01/part.parquet")


def test_columns_and_results_are_typed_and_written_as_athena_does(days: HostProcess) -> None:
    query = "SELECT * FROM projected WHERE day = '2013-07-01' ORDER BY id"
    found = start(days, query)
    answer = days.client("athena").get_query_results(QueryExecutionId=found["QueryExecutionId"])
    described = answer["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
    assert [(column["Name"], column["Type"]) for column in described] == [
        ("id", "varchar"),
        ("score", "double"),
        ("flights", "integer"),
        ("moment", "timestamp"),
        ("on", "date"),
        ("day", "varchar"),
    ]
    rows = [
        [cell.get("VarCharValue") for cell in row["Data"]] for row in answer["ResultSet"]["Rows"]
    ]
    assert rows == [
        ["id", "score", "flights", "moment", "on", "day"],
        ["a", "0.5", "3", "2013-07-01 10:00:00.000", "2013-07-01", "2013-07-01"],
        ["b", None, "4", None, None, "2013-07-01"],
    ]
    location = found["ResultConfiguration"]["OutputLocation"]
    assert location == f"s3://{BUCKET}/results/{found['QueryExecutionId']}.csv"
    key = location.removeprefix(f"s3://{BUCKET}/")
    text = days.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
    assert list(csv.reader(io.StringIO(text)))[1] == rows[1]
    assert text.splitlines()[2] == '"b",,"4",,,"2013-07-01"'


def test_a_time_with_a_zone_is_told_in_utc(host: HostProcess, tmp_path: Path) -> None:
    key = "templated/d/2013-07-05/part.parquet"
    write(host, tmp_path, key, "SELECT TIMESTAMPTZ '2013-07-05 08:30:00+09' AS moment")
    assert ask(host, "SELECT moment FROM templated") == [["2013-07-04 23:30:00.000"]]
    assert ask(host, "SELECT 1 FROM templated WHERE moment < TIMESTAMP '2013-07-05 00:00:00'") == [
        ["1"]
    ]
    host.client("s3").delete_object(Bucket=BUCKET, Key=key)


def test_numbers_that_are_none_have_athenas_names(host: HostProcess) -> None:
    query = "SELECT 'nan'::DOUBLE, 'inf'::DOUBLE, '-inf'::DOUBLE, true"
    assert ask(host, query) == [["NaN", "Infinity", "-Infinity", "true"]]


def test_a_column_that_files_lack_is_null(host: HostProcess, tmp_path: Path) -> None:
    key = "templated/d/2013-07-05/part.parquet"
    write(host, tmp_path, key, "SELECT 'c' AS ID, 1 AS unknown, 'x' AS day")
    assert ask(host, "SELECT id, score, day FROM templated") == [["c", None, "2013-07-05"]]
    host.client("s3").delete_object(Bucket=BUCKET, Key=key)


def test_a_column_of_another_type_fails_as_on_aws(host: HostProcess, tmp_path: Path) -> None:
    key = "templated/d/2013-07-05/part.parquet"
    write(host, tmp_path, key, "SELECT 1::BIGINT AS score")
    found = start(host, "SELECT count(score) FROM templated")
    assert found["Status"]["State"] == "FAILED"
    assert found["Status"]["StateChangeReason"] == (
        f"HIVE_BAD_DATA: Field score's type INT64 in parquet file s3://{BUCKET}/{key} is "
        "incompatible with type double defined in table schema"
    )
    host.client("s3").delete_object(Bucket=BUCKET, Key=key)


def test_a_projection_that_is_not_here_is_refused_by_name(
    host: HostProcess, tmp_path: Path
) -> None:
    write(host, tmp_path, "wrong/day=2013-07-05/part.parquet")
    found = start(host, "SELECT 1 FROM wrong")
    assert found["Status"]["State"] == "FAILED"
    assert "projection.day.type is 'injected'" in found["Status"]["StateChangeReason"]


def test_columns_without_a_name_are_numbered(host: HostProcess) -> None:
    query = 'SELECT 1, count(*) AS n, max(2), 3 AS "a b", id FROM templated GROUP BY id'
    found = start(host, query)
    answer = host.client("athena").get_query_results(QueryExecutionId=found["QueryExecutionId"])
    (header,) = answer["ResultSet"]["Rows"]
    names = [cell["VarCharValue"] for cell in header["Data"]]
    assert names == ["_col0", "n", "_col2", "a b", "id"]


def test_the_workgroup_says_where_results_go(host: HostProcess) -> None:
    elsewhere = {"OutputLocation": f"s3://{BUCKET}/elsewhere/"}
    found = start(host, "SELECT 1", ResultConfiguration=elsewhere)
    assert found["ResultConfiguration"]["OutputLocation"].startswith(f"s3://{BUCKET}/results/")
    found = start(host, "SELECT 1", ResultConfiguration=elsewhere, WorkGroup="primary")
    assert found["ResultConfiguration"]["OutputLocation"].startswith(f"s3://{BUCKET}/elsewhere/")
    athena = host.client("athena")
    with pytest.raises(
        athena.exceptions.InvalidRequestException, match="WorkGroup no is not found"
    ):
        start(host, "SELECT 1", WorkGroup="no")
    found = start(
        host,
        "SELECT 1",
        ResultConfiguration={"OutputLocation": "s3://nowhere-at-all/"},
        WorkGroup="primary",
    )
    assert found["Status"]["State"] == "FAILED"


def test_starting_does_not_wait_for_duckdb(tmp_path: Path) -> None:
    with HostProcess(tmp_path) as host:
        maps = Path(f"/proc/{host.pid}/maps")
        if not maps.exists():
            pytest.skip("this system does not tell which libraries a process has loaded")
        assert "_duckdb" not in maps.read_text()
        answer = start_alone(host)
        assert answer == "SUCCEEDED"
        assert "_duckdb" in maps.read_text()


def start_alone(host: HostProcess) -> str:
    where = {"LocationConstraint": "eu-west-1"}
    host.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    elsewhere = {"OutputLocation": f"s3://{BUCKET}/"}
    found = start(host, "SELECT 1", ResultConfiguration=elsewhere, WorkGroup="primary")
    state: str = found["Status"]["State"]
    return state
