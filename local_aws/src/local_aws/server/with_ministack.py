"""The process of the local AWS: one HTTP server for ministack's services and our SageMaker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from local_aws.host.ministack import Ministack
from local_aws.images.images import Images
from local_aws.mwaa import application as mwaa
from local_aws.mwaa.environments import Environments
from local_aws.mwaa.protocol import is_for_mwaa
from local_aws.sagemaker.application import (
    Application,
    Receive,
    Scope,
    Send,
    headers_of,
    is_for_sagemaker,
)
from local_aws.sagemaker.assembly import SageMaker
from local_aws.server.listener import listen, until_it_listens
from local_aws.settings import Settings

_READS = re.compile(r"(Get|List|Describe|Head|Query|Scan|Search|Filter|Receive|Batch[A-Z]?Get)")

_CBOR = re.compile(r"/service/\w+/operation/")


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
        images = Images(settings.data_dir)
        self.service = SageMaker(settings, self.ministack.put_event, images, self.ministack.roles)
        self.ministack.connect(self.service)
        self.sagemaker = Application(self.service)
        self.environments = Environments(self.service)
        self.mwaa = mwaa.Application(self.environments)
        self.saves = ThreadPoolExecutor(64, thread_name_prefix="save")

    async def run(self) -> None:
        """Serve until a signal says stop; running jobs and what they write are ended first."""
        resume = asyncio.create_task(self._resume())
        # Jobs and captures have things to write to S3 while they are ended.
        await listen(self, self.settings.port, self._close)
        resume.cancel()
        self.ministack.saver.stop()

    def _close(self) -> None:
        self.environments.close()  # tasks first: else they would start what is ended here
        self.ministack.close()  # first: else executions would take ended jobs for failed ones
        self.service.close()

    async def _resume(self) -> None:
        """Take up what a former process has left, once requests are answered."""
        await until_it_listens(self.settings.port)
        self.ministack.saver.start()  # not before: a state that is half read must not be saved
        await asyncio.get_running_loop().run_in_executor(self.sagemaker.pool, self._take_up)
        self.sagemaker.resumed.set()
        self.mwaa.resumed.set()

    def _take_up(self) -> None:
        self.service.resume()
        self.ministack.resume()
        self.environments.resume()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests to SageMaker and MWAA, hand all others to ministack (ASGI)."""
        if scope["type"] != "http":
            await self.ministack.application(scope, receive, send)
            return
        headers = headers_of(scope)
        if is_for_sagemaker(headers, scope["path"]):
            await self.sagemaker(scope, receive, send)
        elif is_for_mwaa(headers):
            await self.mwaa(scope, receive, send)
        elif _only_reads(scope["method"], scope["path"], headers):
            await self.ministack.application(scope, receive, send)
        else:
            await self._change(scope, headers, receive, send)

    async def _change(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send
    ) -> None:
        """Let ministack answer a request that may change state, and save before the answer goes."""
        saver = self.ministack.saver
        running = ExitStack()

        async def saved(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                running.close()
                await asyncio.get_running_loop().run_in_executor(self.saves, saver.save)
            await send(message)

        answer: Send = saved
        if "/cloudformation/aws4_request" in headers.get("authorization", ""):
            answer = self._when_stacks_are_settled(saved)
        with running:
            running.enter_context(saver.request())
            await self.ministack.application(scope, receive, answer)
        saver.changed()  # what goes on after the answer

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


def _only_reads(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request leaves ministack's state alone; when in doubt it does not.

    What tells how something that goes on by itself has ended, a stack or an execution, is not
    answered before that is on disk.
    """
    target = headers.get("x-amz-target", "")
    if target.startswith("AWSStepFunctions."):
        return False
    operation = target.rpartition(".")[2] or _CBOR.sub("", path)
    return method in ("GET", "HEAD") or _READS.match(operation) is not None
