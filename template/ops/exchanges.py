"""Requests to the asynchronous endpoint: brought to S3, taken into its queue, waited for."""

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import ClientError
from rich.console import Console

from lambdas.aws import split_uri
from ops import OpsError, aws, endpoint
from ops.tables import DataFile
from usecase import config
from usecase.bodies import PARQUET
from usecase.config import UseCase
from usecase.serve_async import MAX_BYTES
from usecase.serve_endpoint import CSV, JSON, JSON_LINES
from workflows import keys, names

if TYPE_CHECKING:
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient

CONTENT_TYPES = {".csv": CSV, ".json": JSON, ".jsonl": JSON_LINES, ".parquet": PARQUET}
CHUNK = 1024**2
LEAST_SECONDS, MOST_SECONDS = 0.05, 5.0  # between two looks at whether there is an answer

console = Console(stderr=True)


class RequestFailedError(OpsError):
    """A request failed; the message says why."""


class RequestTimeoutError(OpsError):
    """A request has neither an answer nor a failure in time; it may still get one."""


@dataclass(frozen=True)
class Request:
    """A request in the queue.

    Attributes:
        inference_id: Its id.
        answer: S3 URI of what will be its answer.
        failure: S3 URI of what will be there instead if it fails.
    """

    inference_id: str
    answer: str
    failure: str


@cache
def runtime() -> "SageMakerRuntimeClient":
    """The client that invokes the endpoint; it holds a connection for each concurrent caller."""
    settings = Config(max_pool_connections=32, retries={"mode": "standard"})
    return boto3.client("sagemaker-runtime", region_name=names.REGION, config=settings)


def invoke(
    file: DataFile,
    to: Annotated[
        Path | None, typer.Option(help="Where to write the answer, instead of printing it.")
    ] = None,
    accept: Annotated[
        str, typer.Option(help="text/csv or application/jsonlines; by default as the request.")
    ] = "",
    wait: Annotated[int, typer.Option(min=1, help="Seconds to wait for the answer.")] = 3600,
) -> None:
    """Send FILE (.csv without header, .json, .jsonl or .parquet) and wait for its answer."""
    content_type = CONTENT_TYPES.get(file.suffix.lower())
    if content_type is None:
        raise OpsError(f"{file}: its name must end in {' or '.join(CONTENT_TYPES)}")
    if (size := file.stat().st_size) > MAX_BYTES:
        raise OpsError(f"{file}: has {size} bytes; a request can have {MAX_BYTES}: split it")
    with console.status(f"Uploading {size} bytes …") as status:
        key = f"{keys.REQUESTS}{uuid.uuid4().hex}{file.suffix.lower()}"
        aws.s3().upload_file(str(file), aws.bucket(), key)
        request = submit(key, content_type, uuid.uuid4().hex, config.load(), Accept=accept)
        outcome(request, wait, lambda text: status.update(f"{request.inference_id}: {text}"))
    bucket, key = split_uri(request.answer)
    if to:
        aws.s3().download_file(bucket, key, str(to))
        console.print(f"The answer is in {to}, and {request.answer}")
        return
    for chunk in aws.s3().get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(CHUNK):
        sys.stdout.buffer.write(chunk)


def send_all(ids: Sequence[str], bodies: Iterable[bytes], workers: int) -> Iterator[str | None]:
    """Take requests of CSV into the queue, then wait for their answers.

    Args:
        ids: Their ids.
        bodies: Their bodies, in the same order.
        workers: So many are taken into the queue at the same time.

    Returns:
        Why each failed; `None` where it was answered.

    Raises:
        ClientError: When there is no endpoint.
    """
    together, use_case = uuid.uuid4().hex, config.load()

    def take(number: int, inference_id: str, body: bytes) -> Request | str:
        key = f"{keys.REQUESTS}{together}/{number}.csv"
        try:
            aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=body)
            return submit(key, CSV, inference_id, use_case, S3OutputPathExtension=together)
        except ClientError as error:
            if aws.is_missing(error):  # so it is for all others
                raise
            return str(error)

    with ThreadPoolExecutor(workers) as pool:
        requests = [*pool.map(take, range(len(ids)), ids, bodies)]
    inference, ends = use_case.inference, set[str]()
    limit = inference.request_ttl_seconds + inference.invocation_timeout_seconds

    def ended(request: Request) -> bool:
        if not ends & {request.answer, request.failure}:
            places = (keys.ANSWERS, keys.FAILURES)
            found = (key for place in places for key in aws.keys(f"{place}{together}/"))
            ends.update(f"s3://{aws.bucket()}/{key}" for key in found)
        return bool(ends & {request.answer, request.failure})

    for request in requests:
        if isinstance(request, str):
            yield request
            continue
        try:
            outcome(request, limit, ended=ended)
        except OpsError as error:
            yield str(error)
        else:
            yield None


def submit(
    key: str, content_type: str, inference_id: str, use_case: UseCase, **wanted: str
) -> Request:
    """Take a request into the queue.

    Args:
        key: The key of its body.
        content_type: The form of that.
        inference_id: Its id.
        use_case: Says how long it may wait, and take.
        wanted: What else InvokeEndpointAsync is to be told.
    """
    answer = runtime().invoke_endpoint_async(
        EndpointName=names.current().endpoint,
        ContentType=content_type,
        InferenceId=inference_id,
        InputLocation=f"s3://{aws.bucket()}/{key}",
        RequestTTLSeconds=use_case.inference.request_ttl_seconds,
        InvocationTimeoutSeconds=use_case.inference.invocation_timeout_seconds,
        **{name: value for name, value in wanted.items() if value},
    )
    return Request(inference_id, answer["OutputLocation"], answer["FailureLocation"])


def there(request: Request) -> bool:
    """Whether a request has come to its end."""
    return exists(request.answer) or exists(request.failure)


def outcome(
    request: Request,
    timeout: float,
    progress: Callable[[str], None] | None = None,
    ended: Callable[[Request], bool] = there,
) -> None:
    """Wait for the answer to a request.

    Args:
        request: The request.
        timeout: Seconds to wait at the most.
        progress: Called with what is known while it waits.
        ended: Tells whether it has come to its end.

    Raises:
        RequestFailedError: When it failed.
        RequestTimeoutError: When it has neither an answer nor a failure in time.
    """
    begin, pause = time.monotonic(), LEAST_SECONDS
    while not ended(request):
        waited = time.monotonic() - begin
        if waited > timeout:
            raise RequestTimeoutError(
                f"request {request.inference_id}: no answer after {timeout:.0f} s; it may still "
                f"come, to {request.answer}"
            )
        if progress:
            progress(f"{waited:.0f} s, {instances()}")
        time.sleep(pause)
        pause = min(pause * 1.5, MOST_SECONDS)
    if not exists(request.answer):
        bucket, key = split_uri(request.failure)
        said = aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read(CHUNK)
        reason = " ".join(said.decode(errors="replace").split())
        raise RequestFailedError(f"request {request.inference_id} failed: {reason}")


def instances() -> str:
    """How many instances of the endpoint there are to answer, in words."""
    found = endpoint.describe()
    variants = found.get("ProductionVariants", []) if found else []
    number = sum(variant.get("CurrentInstanceCount", 0) for variant in variants)
    return f"{number} instances" if number else "no instance yet: the first is started by requests"


def exists(uri: str) -> bool:
    """Whether there is an object."""
    bucket, key = split_uri(uri)
    try:
        aws.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise
    return True
