"""True labels: what became of the predictions, for the model-quality monitor."""

import hashlib
import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console

from ops import aws
from ops.errors import OpsError
from ops.tables import DataFile, read_table, require
from usecase import config, predictions
from usecase.config import UseCase
from workflows import names

console = Console()


def labels(
    file: DataFile,
    allow_unknown: Annotated[
        bool, typer.Option(help="Store labels of predictions that are not there (yet).")
    ] = False,
) -> None:
    """Bring in true labels: FILE (Parquet or CSV with header) has the id and the target."""
    use_case = config.load()
    stored = store_labels(read_table(file), use_case, allow_unknown=allow_unknown)
    console.print(f"{stored} labels stored.")


def store_labels(rows: pl.DataFrame, use_case: UseCase, *, allow_unknown: bool = False) -> int:
    """Write true labels for the model-quality monitor, in Model Monitor's ground-truth format.

    The object's key follows from its content and the hour, so doing it twice stores it once.

    Args:
        rows: The record's id and the target.
        use_case: Names the columns.
        allow_unknown: Accept labels whose prediction is not there.

    Returns:
        How many labels were stored.

    Raises:
        OpsError: When a column is missing, an id or a target is empty, an id comes twice, or a
            label belongs to no prediction. Nothing has been stored then.
        UseCaseError: When a target is not what it can be.
    """
    identifier, target = use_case.data.id, use_case.target.column
    rows = require(rows, [identifier, target]).select(identifier, target)
    for column in (identifier, target):
        if empty := rows[column].null_count():
            raise OpsError(f"column {column}: {empty} rows are empty; fill them or leave them out")
    if twice := rows.filter(pl.col(identifier).is_duplicated())[identifier].unique().to_list():
        raise OpsError(f"column {identifier}: more than one label for {shorten(twice)}")
    values = use_case.target.clean(rows[target], "labels")
    ids = rows[identifier].cast(pl.String).to_list()
    if not allow_unknown:
        known = predicted_ids(use_case)
        if unknown := [i for i in ids if i not in known]:
            raise OpsError(
                f"column {identifier}: there is no prediction for {shorten(unknown)}. "
                "Predictions can come minutes late: try again, or pass --allow-unknown"
            )
    lines = [
        json.dumps(
            {
                "groundTruthData": {"data": str(value), "encoding": "CSV"},
                "eventMetadata": {"eventId": inference_id},
                "eventVersion": "0",
            }
        )
        for inference_id, value in zip(ids, values, strict=True)
    ]
    body = ("\n".join(lines) + "\n").encode()
    key = f"ground-truth/{aws.utc_now():%Y/%m/%d/%H}/{hashlib.sha256(body).hexdigest()[:32]}.jsonl"
    aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=body)
    return len(lines)


def predicted_ids(use_case: UseCase) -> set[str]:
    """The inference ids of the predictions captured within the model-quality monitor's window."""
    end = aws.utc_now()
    start = end - timedelta(hours=use_case.monitors.model_quality.window_hours)
    prefix = f"capture/{names.ENDPOINT}/{names.VARIANT}/"
    with tempfile.TemporaryDirectory() as folder:
        for i, key in enumerate(aws.keys(prefix)):
            hour = key.removeprefix(prefix).rsplit("/", 1)[0]
            if hour >= f"{start:%Y/%m/%d/%H}":
                aws.s3().download_file(aws.bucket(), key, f"{folder}/{i:06}.jsonl")
        return set(predictions.read(Path(folder), use_case)["inference_id"])


def shorten(values: list[str]) -> str:
    """The first three of the values, and how many more there are."""
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return ", ".join(str(value) for value in values[:3]) + more
