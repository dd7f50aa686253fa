"""The process of the local AWS: one HTTP server for ministack's services and our SageMaker."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hypercorn.asyncio
from hypercorn.config import Config

from local_aws.images import Images
from local_aws.ministack_host import Ministack
from local_aws.sagemaker import runtime
from local_aws.sagemaker.service import Service
from local_aws.settings import Settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_BODY = 64 * 1024**2
"""Bytes of a request to SageMaker that are read at all; each operation has its own lower limit."""

_JSON = {"content-type": "application/x-amz-json-1.1"}
_READS = re.compile(r"(Get|List|Describe|Head|Query|Scan|Search|Filter|Receive|Batch[A-Z]?Get)")


def serve(settings: Settings) -> None:
    """Run the local AWS until SIGTERM or SIGINT.

    Args:
        settings: Where and how.

    Raises:
        IncompatibleMinistackError: The installed ministack lacks something that is used here.
    """
    asyncio.run(_Server(settings).run())


class _Server:
    """One process with ministack's application, our service and what connects the two."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ministack = Ministack(settings)
        self.service = Service(settings, self.ministack.put_event, Images(settings.data_dir))
        self.ministack.connect(self.service)
        self.resumed = asyncio.Event()
        self.pool = ThreadPoolExecutor(64, thread_name_prefix="sagemaker")

    async def run(self) -> None:
        """Serve until a signal says stop; running jobs and what they write are ended first."""
        config = Config()
        config.bind = [f"127.0.0.1:{self.settings.port}"]
        config.keep_alive_timeout = 75
        config.graceful_timeout = 3
        config.accesslog = None
        config.errorlog = "-"
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        resume = asyncio.create_task(self._resume())

        async def shutdown() -> None:
            await stop.wait()
            # While requests are still answered: jobs and captures have things to write to S3.
            await loop.run_in_executor(None, self._close)

        self.ministack.saver.start()
        # Hypercorn's own scope types are narrower than ASGI's dictionaries.
        application: Any = self.__call__
        await hypercorn.asyncio.serve(application, config, shutdown_trigger=shutdown)
        resume.cancel()
        self.ministack.saver.stop()

    def _close(self) -> None:
        self.ministack.close()  # first: else executions would take ended jobs for failed ones
        self.service.close()

    async def _resume(self) -> None:
        """Take up what a former process has left, once requests are answered."""
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.settings.port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.01)
        await asyncio.get_running_loop().run_in_executor(self.pool, self._take_up)
        self.resumed.set()

    def _take_up(self) -> None:
        self.service.resume()
        self.ministack.resume()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests to SageMaker, hand all others to ministack (ASGI)."""
        if scope["type"] != "http":
            await self.ministack.application(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        if not _is_for_sagemaker(headers, scope["path"]):
            if not _only_reads(scope["method"], headers):
                self.ministack.saver.changed()
            if "/cloudformation/aws4_request" in headers.get("authorization", ""):
                send = self._when_stacks_are_settled(send)
            await self.ministack.application(scope, receive, send)
            return
        await self.resumed.wait()
        status, answer, body = await self._sagemaker(scope, headers, receive)
        answer = {"x-amzn-requestid": str(uuid.uuid4()), **answer, "content-length": str(len(body))}
        encoded = [(key.encode(), value.encode("latin-1")) for key, value in answer.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    def _when_stacks_are_settled(self, send: Send) -> Send:
        """Answer once no stack is being changed, but within seconds.

        Stacks are done in a moment here; a client that has to ask again, as the CDK CLI does, would
        wait its five seconds for each.
        """

        async def settled(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                for _ in range(300):
                    if not self.ministack.changes_stacks():
                        break
                    await asyncio.sleep(0.01)
            await send(message)

        return settled

    async def _sagemaker(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive
    ) -> runtime.Response:
        body = await _read(receive)
        loop = asyncio.get_running_loop()
        if body is None:
            message = {"__type": "RequestEntityTooLarge", "message": "The request is too large"}
            return 413, _JSON, json.dumps(message).encode()
        if target := headers.get("x-amz-target"):
            status, answer = await loop.run_in_executor(
                self.pool, self.service.handle, target, body
            )
            return status, _JSON, answer
        # The raw path: an endpoint's name is percent-encoded in it.
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        return await loop.run_in_executor(
            self.pool, runtime.invoke, self.service, scope["method"], path, headers, body
        )


def _is_for_sagemaker(headers: Mapping[str, str], path: str) -> bool:
    """Tell by the operation, or by path and signature, as S3 knows such paths too."""
    if headers.get("x-amz-target", "").startswith("SageMaker."):
        return True
    return path.startswith("/endpoints/") and "/sagemaker/aws4_request" in headers.get(
        "authorization", ""
    )


def _only_reads(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request leaves ministack's state alone; when in doubt it does not."""
    if target := headers.get("x-amz-target"):
        return _READS.match(target.rpartition(".")[2]) is not None
    # Requests with bucket and key in the path are S3's, which keeps its objects itself.
    return method in ("GET", "HEAD") or "/s3/aws4_request" in headers.get("authorization", "")


async def _read(receive: Receive) -> bytes | None:
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
