"""Requests to the asynchronous endpoint: bodies of up to 1 GB, of which no memory holds much.

A body goes to a file, and its answer to another, a block of rows at a time. It is sent once it is
whole: a wrong row at the end refuses the request, as it does elsewhere, and nobody gets a part.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from usecase import bodies, serve_endpoint
from usecase.bodies import PARQUET
from usecase.errors import UseCaseError
from usecase.serve_endpoint import CSV, JSON, JSON_LINES
from usecase.version import Version

#: The forms of a request, and those that its answer can have; the first unless asked for another.
#: A JSON document cannot be written in parts, so it answers only such a document.
ANSWERS = {
    CSV: (CSV, JSON_LINES),
    JSON: (JSON, CSV, JSON_LINES),
    JSON_LINES: (JSON_LINES, CSV),
    PARQUET: (JSON_LINES, CSV),
}
CONTENT_TYPES = tuple(ANSWERS)
MAX_BYTES = 1024**3  # what SageMaker takes from S3

VERSION = "MODEL_VERSION"
"""The environment variable with the version's number, which `deploy` gives the container."""
_CHUNK = 1024**2


def accepted(header: str, content_type: str) -> str | None:
    """The media type to answer with, `None` if none fits."""
    possible = ANSWERS[content_type]
    kinds = [kind.partition(";")[0].strip() for kind in header.lower().split(",")]
    if kinds == [""] or "*/*" in kinds:
        return possible[0]
    return next((kind for kind in kinds if kind in possible), None)


async def respond(
    request: Request, content_type: str, accept: str, version: Version
) -> Response | None:
    """Answer a request; `None` when its body is larger than MAX_BYTES.

    Args:
        request: Its body is not read yet.
        content_type: The form of that, one of `CONTENT_TYPES`.
        accept: The form of the answer, one of those in `ANSWERS`.
        version: Predicts.

    Raises:
        BadRequest: When a row is wrong.
        UseCaseError: When the model answers NaN or infinity, or features cannot be made.
    """
    if int(request.headers.get("content-length", "0")) > MAX_BYTES:
        return None
    answer = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when it is sent
    with tempfile.NamedTemporaryFile() as body:
        async for chunk in request.stream():
            await run_in_threadpool(body.write, chunk)
            if body.tell() > MAX_BYTES:
                return None
        body.flush()
        await run_in_threadpool(write, Path(body.name), content_type, accept, version, answer)
    headers = {"content-length": str(answer.tell()), "content-type": labelled(accept)}
    answer.seek(0)
    return StreamingResponse(_sent(answer), headers=headers)


def write(body: Path, content_type: str, accept: str, version: Version, answer: IO[bytes]) -> None:
    """Write the answer to a body; see `respond`."""
    for block in bodies.blocks(body, content_type):
        try:
            part = serve_endpoint.answer(block.body, block.content_type, accept, version)
        except UseCaseError as error:
            raise block.counted(error) from None
        answer.write(part)


def labelled(accept: str) -> str:
    """The Content-Type of an answer, with the version of the model that gives it.

    The notification of a request has this header, and nothing else that tells the version: what
    waited in the queue during a deployment is answered by either.
    """
    version = os.environ.get(VERSION)
    kind = f"{accept}; charset=utf-8" if accept == CSV else accept
    return f"{kind}; model-version={version}" if version else kind


def _sent(answer: IO[bytes]) -> Iterator[bytes]:
    with answer:
        while part := answer.read(_CHUNK):
            yield part
