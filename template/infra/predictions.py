"""The tables of all predictions, and of what the monitors have measured, for Athena.

The files are in the data bucket, and expire only where `[log]` of usecase.toml says so.
"""

from collections.abc import Mapping
from datetime import datetime

from aws_cdk import Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from constructs import Construct

from infra.permissions import Allow, Arns, list_objects
from usecase.config import UseCase
from usecase.monitors import results
from usecase.predictions.parquet import DAY, columns
from workflows import keys

HIVE = {
    str: "string",
    float: "double",
    int: "bigint",
    bool: "boolean",
    datetime: "timestamp",
}

MONITOR_RESULTS = "monitor_results"

# Athena knows the folders by their names: nothing has to look for new ones.
FIRST_DAY, LAST_DAY = "2000-01-01", "NOW+1YEARS"


def log_settings(use_case: UseCase) -> dict[str, str]:
    """What the function that makes the key of the hashes is told; nothing where there are none."""
    return {"LOG_KEY": keys.LOG_KEY} if use_case.log.hash else {}


def make_log_key(arns: Arns, use_case: UseCase) -> list[Allow]:
    """Making the key of the hashes; without reading it. Nothing where nothing is hashed."""
    return [Allow(["s3:PutObject"], [arns.objects(keys.LOG_KEY)])] if use_case.log.hash else []


def read_log_key(arns: Arns, use_case: UseCase) -> list[Allow]:
    """Reading the key of the hashes, for the job that hashes. Nothing where nothing is hashed."""
    if not use_case.log.hash:
        return []
    return [
        Allow(["s3:GetObject"], [arns.objects(keys.LOG_KEY)]),
        list_objects(arns, keys.LOG_KEY),
    ]


class Tables(Construct):
    """The database with its tables, and the workgroup for queries."""

    def __init__(self, scope: Construct, use_case: UseCase) -> None:
        super().__init__(scope, "Tables")
        stack = Stack.of(self)
        arns = Arns(self)
        names, bucket = arns.names, arns.data
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=stack.account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=names.database,
                description=f"Predictions of {names.prefix}, and what its monitors have measured",
            ),
        )
        tables = {**columns(use_case), MONITOR_RESULTS: results.COLUMNS}
        for name, kinds in tables.items():
            prefix = keys.RESULTS if name == MONITOR_RESULTS else f"{name}/"
            table = glue.CfnTable(
                self,
                name.title(),
                catalog_id=stack.account,
                database_name=names.database,
                table_input=_table(name, kinds, f"s3://{bucket}/{prefix}"),
            )
            table.add_dependency(database)
        athena.CfnWorkGroup(
            self,
            "WorkGroup",
            name=names.prefix,
            recursive_delete_option=True,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=f"s3://{bucket}/{keys.QUERIES}",
                    encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                        encryption_option="SSE_S3"
                    ),
                ),
            ),
        )


def _table(name: str, kinds: Mapping[str, type], location: str) -> glue.CfnTable.TableInputProperty:
    formats = "org.apache.hadoop.hive.ql.io.parquet"
    return glue.CfnTable.TableInputProperty(
        name=name,
        table_type="EXTERNAL_TABLE",
        parameters={
            "EXTERNAL": "TRUE",
            "classification": "parquet",
            "projection.enabled": "true",
            f"projection.{DAY}.type": "date",
            f"projection.{DAY}.format": "yyyy-MM-dd",
            f"projection.{DAY}.range": f"{FIRST_DAY},{LAST_DAY}",
        },
        partition_keys=[glue.CfnTable.ColumnProperty(name=DAY, type="date")],
        storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
            location=location,
            columns=[
                glue.CfnTable.ColumnProperty(name=column, type=HIVE[kind])
                for column, kind in kinds.items()
            ],
            input_format=f"{formats}.MapredParquetInputFormat",
            output_format=f"{formats}.MapredParquetOutputFormat",
            serde_info=glue.CfnTable.SerdeInfoProperty(
                serialization_library=f"{formats}.serde.ParquetHiveSerDe"
            ),
        ),
    )
