"""The tables in Athena have the columns of the files that are written."""

from typing import Any

import polars as pl
from support.templates import ACCOUNT, of_type

from usecase import config
from usecase.monitors import results
from usecase.predictions import parquet
from workflows import names

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
