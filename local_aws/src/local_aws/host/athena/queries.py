"""Athena over Parquet as AWS has it: partitions, column types, result files.

ministack runs the queries with DuckDB over copies of a table's files. The functions here replace
those of its functions that read all files below a table's location, whatever Glue says of
partitions and columns, or write results otherwise than AWS does.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from local_aws.host.athena.partitions import partition_values
from local_aws.host.internals import module

_NAME = re.compile(r"[^\W\d]\w*")
_PARQUET = {
    "tinyint": {"INT32"},
    "smallint": {"INT32"},
    "int": {"INT32"},
    "bigint": {"INT32", "INT64"},
    "float": {"FLOAT"},
    "double": {"FLOAT", "DOUBLE"},
    "boolean": {"BOOLEAN"},
    "string": {"BYTE_ARRAY"},
    "varchar": {"BYTE_ARRAY"},
    "date": {"INT32"},
    "timestamp": {"INT64", "INT96"},
}
"""Parquet types that Athena reads as a column's type; types that are not here are not checked."""


class _Files(list[str]):
    """Copies of a table's files, which lie in one folder as their keys below the table do."""

    def __init__(self, paths: Sequence[str], root: str) -> None:
        super().__init__(paths)
        self.root = root

    def key(self, path: str) -> str:
        return Path(path).relative_to(self.root).as_posix()


def apply() -> None:
    """Fix ministack's Athena."""
    _read_what_glue_names()
    _write_values_as_athena_does()
    _obey_workgroup()
    _quote_results()


def _read_what_glue_names() -> None:
    """Read the partitions that there are by Glue, and the columns by Glue's names and types.

    AWS: Amazon Athena User Guide, "Partition your data", "Use partition projection with Amazon
    Athena" and "Handle schema updates".
    """
    athena = module("services.athena")
    materialized, original = athena._materialize_table_files, athena._table_relation

    def materialize(location: str, workdirs: list[str]) -> list[str]:
        files: list[str] = materialized(location, workdirs)
        return _Files(files, workdirs[-1]) if files else files

    def relation(table: dict[str, Any], paths: list[str]) -> str:
        files = cast(_Files, paths)
        values: dict[str, tuple[str, ...]] = {files.key(path): () for path in files}
        if table.get("PartitionKeys"):
            name = f"{table['DatabaseName']}/{table['Name']}"
            registered = module("services.glue")._partitions.get(name) or []
            values = partition_values(table, registered, list(values))
        read = {path: values[files.key(path)] for path in files if files.key(path) in values}
        if not read:
            empty: str = athena._empty_relation(table)
            return empty
        if athena._data_format(table) != "parquet":
            others: str = original(table, _Files(list(read), files.root))
            return others
        _check_types(table, files, list(read))
        return _parquet_relation(table, read)

    athena._materialize_table_files = materialize
    athena._table_relation = relation


def _check_types(table: Mapping[str, Any], files: _Files, paths: Sequence[str]) -> None:
    """Compare the files' types with the table's.

    Raises:
        ValueError: Athena could not read a column; in its words.
    """
    declared = {
        column["Name"].lower(): column["Type"].lower().partition("(")[0]
        for column in table["StorageDescriptor"]["Columns"]
    }
    found = _duckdb().execute(
        "SELECT file_name, name, type FROM parquet_schema($paths) WHERE type IS NOT NULL",
        {"paths": list(paths)},
    )
    for path, name, physical in found.fetchall():
        wanted = declared.get(name.lower(), "")
        if wanted in _PARQUET and physical not in _PARQUET[wanted]:
            location = table["StorageDescriptor"]["Location"].rstrip("/")
            raise ValueError(
                f"HIVE_BAD_DATA: Field {name}'s type {physical} in parquet file "
                f"{location}/{files.key(path)} is incompatible with type {wanted} defined in "
                "table schema"
            )


def _parquet_relation(table: Mapping[str, Any], read: Mapping[str, tuple[str, ...]]) -> str:
    """Return a DuckDB relation of the table's columns; what a file lacks is NULL."""
    kind = module("services.athena")._duckdb_type
    columns = table["StorageDescriptor"]["Columns"]
    keys = table.get("PartitionKeys") or []
    absent = ", ".join(f"CAST(NULL AS {kind(c)}) AS {_quoted(c['Name'])}" for c in columns)
    paths = ", ".join(map(_literal, read))
    rows = ", ".join(
        f"({', '.join(map(_literal, (path, *values)))})" for path, values in read.items()
    )
    names = ", ".join(_quoted(name) for name in ("$path", *(key["Name"] for key in keys)))
    taken = [_as_declared("f", column, kind(column)) for column in columns]
    taken += [_as_declared("p", key, kind(key)) for key in keys]
    options = "union_by_name = true, hive_partitioning = false, filename = '$path'"
    return (
        f"(SELECT {', '.join(taken)} FROM ("  # noqa: S608 - all names and values are quoted
        f"FROM read_parquet([{paths}], {options}) UNION ALL BY NAME SELECT {absent} WHERE false) f "
        f'JOIN (VALUES {rows}) p({names}) ON f."$path" = p."$path")'
    )


def _as_declared(side: str, column: Mapping[str, Any], kind: str) -> str:
    name = _quoted(column["Name"])
    if kind == "TIMESTAMP":
        # A cast would turn what is in UTC into this machine's time.
        return f"make_timestamp(epoch_us({side}.{name})) AS {name}"
    return f"CAST({side}.{name} AS {kind}) AS {name}"


def _write_values_as_athena_does() -> None:
    """Name the columns of a result and write its values as Athena does.

    AWS: Amazon Athena API Reference, GetQueryResults; Amazon Athena User Guide, "Data types in
    Amazon Athena".
    """
    athena = module("services.athena")
    original = athena._run_duckdb

    async def run(query: str, database: str, catalog: str | None = None) -> dict[str, Any]:
        # Its import takes a third of a second, in which this process would answer nobody.
        await asyncio.to_thread(_duckdb)
        results = await original(query, database, catalog)
        names = [_name(at, name, query) for at, name in enumerate(results["columns"])]
        rows = [[_text(value) for value in row] for row in results["rows"]]
        return {**results, "columns": names, "rows": rows}

    athena._run_duckdb = run


def _name(at: int, name: str, query: str) -> str:
    """Name a column of a result: what is neither a column nor has an alias is _col0 and so on.

    DuckDB calls it by its expression, which is not a name unless the query has it in quotes.
    """
    return name if _NAME.fullmatch(name) or _quoted(name) in query else f"_col{at}"


def _text(value: object) -> str | None:
    """Return a value as Athena writes it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return str(value)


def _obey_workgroup() -> None:
    """Put results where the workgroup says, if it does not leave that to its clients.

    AWS: Amazon Athena User Guide, "Override client-side settings".
    """
    athena = module("services.athena")
    original = athena._start_query_execution

    def start(data: dict[str, Any]) -> object:
        name = data.get("WorkGroup", "primary")
        workgroup = athena._workgroups.get(name)
        if workgroup is None and name != "primary":
            return module("core.responses").error_response_json(
                "InvalidRequestException", f"WorkGroup {name} is not found.", 400
            )
        config = (workgroup or {}).get("Configuration") or {}
        location = (config.get("ResultConfiguration") or {}).get("OutputLocation")
        given = data.get("ResultConfiguration") or {}
        if not (location and config.get("EnforceWorkGroupConfiguration", True)):
            location = given.get("OutputLocation") or location
        if location:
            folder = location.rstrip("/") + "/"
            data = {**data, "ResultConfiguration": {**given, "OutputLocation": folder}}
        return original(data)

    athena._start_query_execution = start


def _quote_results() -> None:
    """Write the results to OutputLocation: each value in quotes, but for NULL.

    AWS: Amazon Athena User Guide, "Work with query results and recent queries".
    """
    athena, s3 = module("services.athena"), module("services.s3")

    async def save(query_id: str) -> None:
        execution = athena._executions[query_id]
        results = execution["_results"]
        rows = (results["columns"], *results["rows"])
        location = urlsplit(execution["ResultConfiguration"]["OutputLocation"])
        body = "".join(",".join(map(_cell, row)) + "\n" for row in rows).encode()
        headers = {"content-type": "text/csv", "content-length": str(len(body))}
        answer = s3._put_object(location.netloc, location.path.lstrip("/"), body, headers)
        if answer[0] >= 300:
            raise ValueError(f"The results could not be written to {location.geturl()}")

    athena._save_query_results = save


def _cell(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'


def _duckdb() -> Any:  # noqa: ANN401 - imported when it is first used
    return importlib.import_module("duckdb")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
