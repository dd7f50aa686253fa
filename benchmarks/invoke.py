"""One prediction: through the local AWS, and from the server itself."""

import base64
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from benchmarks import timing
from tests.life import Life

Send = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Invoke:
    """Median seconds of one request.

    Attributes:
        boto3: `invoke_endpoint` with boto3 through the local AWS, data capture included.
        boto3_direct: The same client, sent to the server itself.
        plain: Plain HTTP through the local AWS, data capture included.
        direct: Plain HTTP to the server itself.
    """

    boto3: float
    boto3_direct: float
    plain: float
    direct: float


def captured_rows(life: Life) -> list[bytes]:
    """The requests that the endpoint has captured."""
    s3 = life.client("s3")
    account = life.client("sts").get_caller_identity()["Account"]
    bucket = f"{life.slug}-{account}-{life.result['answers']['aws_region']}"
    rows = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="capture/"):
        for entry in page.get("Contents", []):
            for line in s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].iter_lines():
                asked = json.loads(line)["captureData"]["endpointInput"]
                text = asked["data"].encode()
                rows.append(base64.b64decode(text) if asked["encoding"] == "BASE64" else text)
    return rows


def through_boto3(life: Life, port: int | None = None) -> Send:
    """Ask the endpoint with boto3, or with `port` the server there with the same client."""
    runtime = life.client("sagemaker-runtime")
    if port:

        def redirect(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore has no types
            request.url = f"http://127.0.0.1:{port}/invocations"

        runtime.meta.events.register("before-sign.sagemaker-runtime.InvokeEndpoint", redirect)

    def send(row: bytes) -> bytes:
        answer = runtime.invoke_endpoint(EndpointName=life.slug, ContentType="text/csv", Body=row)
        body: bytes = answer["Body"].read()
        return body

    return send


def plain(port: int, path: str, service: str = "") -> Send:
    """Ask over HTTP, on a connection of each thread that stays open.

    Args:
        port: Of the server on this machine.
        path: Of the request.
        service: The AWS service that the request's Authorization header names, if it has one.
    """
    threads = threading.local()
    credential = f"AWS4-HMAC-SHA256 Credential=test/20260101/local/{service}/aws4_request"
    headers = {"Content-Type": "text/csv"} | ({"Authorization": credential} if service else {})

    def send(row: bytes) -> bytes:
        if not hasattr(threads, "connection"):
            threads.connection = HTTPConnection("127.0.0.1", port, timeout=60)
        threads.connection.request("POST", path, body=row, headers=headers)
        answer = threads.connection.getresponse()
        body: bytes = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body!r}")
        return body

    return send


def replay(send: Send, rows: Sequence[bytes], workers: int = 4) -> None:
    """Send rows from as many threads as `ops traffic` does."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(send, rows))


def measure(life: Life, port: int, times: int = 300) -> Invoke:
    """Ask for the same prediction in all ways, in turn."""
    row = captured_rows(life)[0]
    local_port = urlsplit(life.environment["AWS_ENDPOINT_URL"]).port or 80
    invocations = f"/endpoints/{life.slug}/invocations"
    ways = [
        through_boto3(life),
        through_boto3(life, port),
        plain(local_port, invocations, "sagemaker"),
        plain(port, "/invocations"),
    ]
    if len({way(row) for way in ways}) != 1:
        raise RuntimeError("the ways of asking give different predictions")
    return Invoke(*timing.in_turn(times, [lambda way=way: way(row) for way in ways]))  # type: ignore[misc]  # a lambda's default
