"""Predictions: invoke the endpoint, replay traffic."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated

import boto3
import polars as pl
import typer
from botocore.config import Config
from botocore.exceptions import ClientError
from rich.console import Console
from rich.progress import track

from ops import OpsError, aws
from ops.tables import INFERENCE_ID, DataFile, Encoding, identifiers, read_table, require, spread
from usecase import config
from usecase.config import UseCase
from usecase.rows import Fields
from workflows import names

if TYPE_CHECKING:
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient

CONTENT_TYPES = {".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonlines"}
console = Console()


@cache
def runtime() -> "SageMakerRuntimeClient":
    """The client that invokes the endpoint; it holds a connection for each concurrent caller."""
    config = Config(max_pool_connections=32, retries={"mode": "standard"})
    return boto3.client("sagemaker-runtime", region_name=names.REGION, config=config)


def invoke(file: DataFile) -> None:
    """Send FILE (.csv without header, .json or .jsonl) to the endpoint and print its answer."""
    content_type = CONTENT_TYPES.get(file.suffix.lower())
    if content_type is None:
        raise OpsError(f"{file}: its name must end in {' or '.join(CONTENT_TYPES)}")
    response = runtime().invoke_endpoint(
        EndpointName=names.current().endpoint, ContentType=content_type, Body=file.read_bytes()
    )
    print(response["Body"].read().decode(), end="")


@dataclass(frozen=True)
class Replay:
    """What came of replayed traffic.

    Attributes:
        sent: Requests that were answered.
        failures: Inference id and error of each request that was not.
        start: When the first was sent, UTC.
        end: When the last was answered, UTC.
    """

    sent: int
    failures: dict[str, str]
    start: datetime
    end: datetime


def traffic(
    file: DataFile,
    sample: Annotated[int, typer.Option(help="Rows to send, evenly spread; 0 is all.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Requests at the same time.")] = 4,
    encoding: Encoding = None,
) -> None:
    """Replay the rows of FILE (Parquet or CSV with header) as traffic, one request a row."""
    result = replay(read_table(file, encoding), config.load(), sample, workers)
    console.print(f"{result.sent} requests answered, {len(result.failures)} failed.")
    if result.failures:
        first, reason = next(iter(result.failures.items()))
        raise OpsError(f"{len(result.failures)} requests failed, the first {first}: {reason}")


def replay(rows: pl.DataFrame, use_case: UseCase, sample: int = 0, workers: int = 4) -> Replay:
    """Send rows to the endpoint, one request each, with the record's id as inference id.

    Args:
        rows: A row per request with the id and what a caller sends: the fields of `[request]`, of
            which the optional ones can be missing, or else all features.
        use_case: Names the columns.
        sample: Rows to send, evenly spread over all; 0 is all.
        workers: Requests at the same time.

    Raises:
        OpsError: When a column is missing, or an id cannot be sent. Nothing has been sent then.
    """
    fields = Fields.of_features(use_case.features)
    if use_case.request:
        fields = Fields.of_request(use_case.request)
    needed = [name for name in fields.types if name not in fields.optional]
    rows = spread(require(rows, [use_case.data.id, *needed]), sample)
    identities = identifiers(rows[use_case.data.id])
    if (odd := identities.filter(~identities.str.contains(INFERENCE_ID))).len():
        raise OpsError(
            f"column {use_case.data.id}: {odd[0]!r} is not an inference id, which has 1 to 64 "
            "characters of ASCII"
        )
    ids = identities.to_list()
    empty = (pl.lit(None).alias(name) for name in fields.types if name not in rows.columns)
    bodies = csv_lines(rows.with_columns(*empty).select(fields.names))
    start, failures = aws.utc_now(), {}
    with ThreadPoolExecutor(workers) as pool:
        answers = pool.map(send, ids, bodies)
        progress = track(
            answers, "Traffic", total=len(ids), console=console, disable=not console.is_terminal
        )
        for inference_id, failure in zip(ids, progress, strict=True):
            if failure:
                failures[inference_id] = failure
    return Replay(len(ids) - len(failures), failures, start, aws.utc_now())


def send(inference_id: str, body: bytes) -> str | None:
    """Send one request; return the error's message when it failed.

    Raises:
        ClientError: When there is no endpoint.
    """
    try:
        runtime().invoke_endpoint(
            EndpointName=names.current().endpoint,
            ContentType="text/csv",
            InferenceId=inference_id,
            Body=body,
        )["Body"].read()
    except ClientError as error:
        if aws.is_missing(error):  # so it is for all others
            raise
        return str(error)
    return None


def csv_lines(rows: pl.DataFrame) -> Iterator[bytes]:
    """Each row as CSV."""
    # Not all at once, to be split at line ends: a value may hold some.
    return (row.write_csv(include_header=False).encode() for row in rows.iter_slices(1))
