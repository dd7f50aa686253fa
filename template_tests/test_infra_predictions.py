"""The tables in Athena have the columns of the files that are written."""

from fnmatch import fnmatch
from typing import Any

import polars as pl
from support.templates import ACCOUNT, as_list, of_type, text

from usecase import config
from usecase.monitors import results
from usecase.predictions import parquet
from workflows import keys, names

NAMES = names.Names()
BUCKET = NAMES.bucket(ACCOUNT)
pytest_plugins = ["support.synthesised"]

HIVE = {
    pl.String: "string",
    pl.Float64: "double",
    pl.Int64: "bigint",
    pl.Boolean: "boolean",
    pl.Datetime: "timestamp",
}


def test_tables_have_the_columns_of_the_files(resources: list[dict[str, Any]]) -> None:
    tables = {t["TableInput"]["Name"]: t for t in of_type(resources, "AWS::Glue::Table")}
    known = {**parquet.columns(config.load()), "monitor_results": results.COLUMNS}
    for name, kinds in known.items():
        table = tables[name]["TableInput"]
        storage = table["StorageDescriptor"]
        assert {column["Name"]: column["Type"] for column in storage["Columns"]} == {
            column: HIVE[kind.base_type()] for column, kind in parquet.nothing(kinds).schema.items()
        }
        prefix = "monitoring/results" if name == "monitor_results" else name
        assert storage["Location"] == f"s3://{BUCKET}/{prefix}/"
        assert "parquet" in storage["SerdeInfo"]["SerializationLibrary"]
        assert table["PartitionKeys"] == [{"Name": "day", "Type": "date"}]
        # Folders are found by their names, without a crawler.
        assert table["Parameters"]["projection.enabled"] == "true"
        assert table["Parameters"]["projection.day.format"] == "yyyy-MM-dd"
        assert tables[name]["DatabaseName"] == NAMES.database
    (group,) = of_type(resources, "AWS::Athena::WorkGroup")
    settings = group["WorkGroupConfiguration"]
    assert settings["EnforceWorkGroupConfiguration"]
    assert settings["ResultConfiguration"]["EncryptionConfiguration"] == {
        "EncryptionOption": "SSE_S3"
    }
    assert settings["ResultConfiguration"]["OutputLocation"] == f"s3://{BUCKET}/athena/"


def actions(role: dict[str, Any], key: str) -> set[str]:
    """What a role may do with an object of the data bucket."""
    found = set()
    for policy in role.get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            places = (text(place) for place in as_list(statement["Resource"]))
            if any(fnmatch(f"{BUCKET}/{key}", place.rpartition(":")[2]) for place in places):
                found.update(as_list(statement["Action"]))
    return found


def test_who_keeps_the_newest_result_of_a_monitor_may_read_the_one_before(
    resources: list[dict[str, Any]],
) -> None:
    """Of a monitor that has had nothing to look at, too."""
    roles = of_type(resources, "AWS::IAM::Role")
    able = [actions(role, f"{keys.LATEST}model_quality/version=1.json") for role in roles]
    writing = [found for found in able if "s3:PutObject" in found]
    assert len(writing) == 3, "the job and two functions"
    assert all("s3:GetObject" in found for found in writing)
