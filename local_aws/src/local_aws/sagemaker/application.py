"""The HTTP side of the service, as an ASGI application: the control plane and the runtime."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.hosting import autoscaling, runtime

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY = 64 * 1024**2
"""Bytes of a request that are read at all; each operation has its own lower limit."""

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")
_INVOCATIONS = 512
"""How many invocations may wait at once; each takes a thread only then."""

_JSON = {"content-type": "application/x-amz-json-1.1"}


class Application:
    """Answers the requests to one service.

    Attributes:
        resumed: Set once what a former process has left is taken up; requests wait for it.
        pool: Runs the operations, which block.

    Invocations wait for models, in threads apart: however many wait, operations are answered.
    """

    def __init__(self, service: Service) -> None:
        """Serve a service.

        Args:
            service: The service; whoever makes it resumes and closes it.
        """
        self.resumed = asyncio.Event()
        self.pool = ThreadPoolExecutor(64, thread_name_prefix="sagemaker")
        self._invocations = ThreadPoolExecutor(_INVOCATIONS, thread_name_prefix="runtime")
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await self.resumed.wait()
        status, answer, body = await self._answer(scope, headers_of(scope), receive)
        await respond(send, status, answer, body)

    async def _answer(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive
    ) -> runtime.Response:
        body = await read(receive)
        loop = asyncio.get_running_loop()
        if body is None:
            return 413, _JSON, error_body("RequestEntityTooLarge", "The request is too large")
        target = headers.get("x-amz-target")
        try:
            session = self._service.roles.caller(access_key(headers))
        except ApiError as error:
            kind = {**_JSON, "x-amzn-errortype": error.code}
            return error.status if target else 403, kind, error_body(error.code, error.message)
        if target:
            handle = self._service.handle
            if target.startswith(autoscaling.TARGET):
                handle = partial(autoscaling.handle, self._service)
            status, answer = await loop.run_in_executor(self.pool, handle, target, body, session)
            return status, _JSON, answer
        # The raw path: an endpoint's name is percent-encoded in it.
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if refusal := await loop.run_in_executor(
            self.pool, runtime.refusal, self._service, path, session
        ):
            return refusal
        return await loop.run_in_executor(
            self._invocations, runtime.invoke, self._service, scope["method"], path, headers, body
        )


def access_key(headers: Mapping[str, str]) -> str:
    """Return the access key id of a request's signature; empty if it has none."""
    match = _CREDENTIAL.search(headers.get("authorization", ""))
    return match[1] if match else ""


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers, with names in lower case."""
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


def is_for_sagemaker(headers: Mapping[str, str], path: str) -> bool:
    """Tell by the operation, or by path and signature, as S3 knows such paths too."""
    if headers.get("x-amz-target", "").startswith(("SageMaker.", autoscaling.TARGET)):
        return True
    return path.startswith("/endpoints/") and "/sagemaker/aws4_request" in headers.get(
        "authorization", ""
    )


def error_body(code: str, message: str) -> bytes:
    """Write an error as the JSON protocols have it."""
    return json.dumps({"__type": code, "message": message}).encode()


async def respond(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole response."""
    headers = {"x-amzn-requestid": str(uuid.uuid4()), **headers, "content-length": str(len(body))}
    encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Receive) -> bytes | None:
    """Read a request's body; None when it is longer than any operation takes."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts) if size <= MAX_BODY else None
