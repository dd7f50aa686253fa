"""Listening on 127.0.0.1 until a signal says stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn.asyncio
from hypercorn.config import Config

from local_aws.sagemaker.application import Receive, Scope, Send

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def listen(application: Application, port: int, close: Callable[[], None]) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT.

    Args:
        application: What answers.
        port: TCP port on 127.0.0.1.
        close: Called in a thread before the listening ends, while requests are still answered.
    """
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 3
    config.accesslog = None
    config.errorlog = "-"
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def shutdown() -> None:
        await stop.wait()
        await loop.run_in_executor(None, close)

    # Hypercorn's own scope types are narrower than ASGI's dictionaries.
    served: Any = application
    await hypercorn.asyncio.serve(served, config, shutdown_trigger=shutdown)


async def until_it_listens(port: int) -> None:
    """Wait until connections to a port of 127.0.0.1 are taken."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.01)
