"""`serve`: answer requests, by SageMaker's contract for inference containers.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import functools
import logging
import os

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from usecase import config, container
from usecase.config import UseCase
from usecase.errors import BadRequest, UseCaseError
from usecase.evaluate import load_model
from usecase.serving import CONTENT_TYPES, MAX_BYTES, ROUTES, answer

LOG = logging.getLogger("uvicorn.error")

LARGE_BYTES = 64 * 1024  # from here on a prediction would keep /ping waiting


def run(use_case: UseCase) -> None:
    """Serve until SIGTERM.

    Environment: SAGEMAKER_BIND_TO_PORT (8080), SAGEMAKER_BIND_TO_HOST (127.0.0.1; the image sets
    0.0.0.0), and uvicorn's WEB_CONCURRENCY for more than one process.

    Raises:
        UseCaseError: When the model cannot be loaded, or does not fit usecase.toml.
    """
    del use_case  # create_app reads it: with WEB_CONCURRENCY it runs in processes of their own
    uvicorn.run(
        "usecase.serve:create_app",
        factory=True,
        host=os.environ.get("SAGEMAKER_BIND_TO_HOST", "127.0.0.1"),
        port=port(),
        access_log=False,
        log_level="warning",
        server_header=False,
    )


def port() -> int:
    """The port that SageMaker asks for.

    Raises:
        UseCaseError: When it is no port.
    """
    text = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise UseCaseError(f"SAGEMAKER_BIND_TO_PORT: {text!r} is no port number")
    return int(text)


def create_app() -> Starlette:
    """The application, with its model loaded and used once.

    Raises:
        UseCaseError: When the model cannot be loaded, or does not fit usecase.toml.
    """
    use_case = config.load()
    folder = container.model()
    model = load_model(folder)
    try:
        model.predict({name: [None] for name in use_case.features.names})
    except Exception as error:
        raise UseCaseError(
            f"{folder}: the model cannot predict with the features of usecase.toml "
            f"({type(error).__name__}: {error})"
        ) from error

    async def ping(_: Request) -> Response:
        return Response()

    async def invocations(request: Request) -> Response:
        content_type = media_type(request.headers.get("content-type", ""))
        if content_type not in CONTENT_TYPES:
            return refuse(415, f"Content-Type must be {' or '.join(CONTENT_TYPES)}, in UTF-8")
        accept = accepted(request.headers.get("accept", ""), content_type)
        if accept is None:
            return refuse(406, f"Accept must be {' or '.join(CONTENT_TYPES)}")
        body = await read(request)
        if body is None:
            return refuse(413, f"the body is larger than {MAX_BYTES} bytes; send fewer rows")
        call = functools.partial(answer, body, content_type, accept, model, use_case)
        content = await run_in_threadpool(call) if len(body) > LARGE_BYTES else call()
        return Response(content, media_type=accept)

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/invocations", invocations, methods=["POST"]),
            *ROUTES,
        ],
        exception_handlers={
            BadRequest: lambda _, exception: refuse(400, str(exception)),
            ClientDisconnect: lambda _, __: Response(status_code=400),
            Exception: lambda _, __: refuse(500, "internal error; the log has it"),
        },
    )


def refuse(status: int, message: str) -> Response:
    """An answer that says what is wrong."""
    # A request can hold halves of characters, which UTF-8 cannot write.
    text = message.encode("utf-8", "replace").decode("utf-8")
    return JSONResponse({"error": text}, status)


async def read(request: Request) -> bytes | None:
    """The body, or `None` when it is larger than MAX_BYTES; no more than that is kept."""
    if int(request.headers.get("content-length", "0")) > MAX_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


def media_type(header: str) -> str:
    """The media type of a Content-Type header, empty when its charset is not UTF-8."""
    kind, _, parameters = header.lower().partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8"):
            return ""
    return kind.strip()


def accepted(header: str, content_type: str) -> str | None:
    """The media type to answer with: by default that of the request, `None` if none fits."""
    kinds = [kind.partition(";")[0].strip() for kind in header.lower().split(",")]
    if kinds == [""] or content_type in kinds or "*/*" in kinds:
        return content_type
    return next((kind for kind in kinds if kind in CONTENT_TYPES), None)
