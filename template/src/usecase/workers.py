"""Processes that answer requests side by side: one process of Python keeps one CPU busy.

They are forked when all is imported and before a model is loaded. So they share the memory of the
libraries, and no library has yet started threads, which a fork would lose.
"""

import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import FrameType

from usecase import errors
from usecase.errors import UseCaseError

LOG = logging.getLogger("uvicorn.error")
VARIABLE = "WEB_CONCURRENCY"
ENDING = (signal.SIGTERM, signal.SIGINT)
RESTART_SECONDS = 1.0  # between the end of a process and the start of the one in its place

Serve = Callable[[], object]


@dataclass(frozen=True)
class Worker:
    """A process.

    Attributes:
        process: The process.
        report: Receives an empty text when it begins to answer, else why it cannot.
    """

    process: ForkProcess
    report: Connection


def count() -> int:
    """How many there are to be: WEB_CONCURRENCY, or one for each CPU that this process may use.

    Other systems than Linux, the image's, do not fork well: one there.

    Raises:
        UseCaseError: When the variable is not a number from 1 on.
    """
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    text = os.environ.get(VARIABLE, str(usable))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UseCaseError(f"{VARIABLE}: {text!r} is not a number of processes, at least 1")
    return int(text)


def run(prepare: Callable[[], Serve], processes: int) -> None:
    """Let processes serve until SIGTERM, upon which each ends what it has begun.

    One that ends by itself is replaced.

    Args:
        prepare: Called in each process, makes what serves there until SIGTERM.
        processes: How many. A single one is this process itself.

    Raises:
        UseCaseError: When what serves cannot be made.
    """
    if processes == 1:
        prepare()()
        return
    gc.collect()
    gc.freeze()  # a collection would write to the memory that is shared
    workers: list[Worker] = []
    stopped = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        for worker in workers:
            worker.process.terminate()

    def start() -> Worker:
        worker = fork(prepare)
        workers.append(worker)
        if stopped:
            worker.process.terminate()
        return worker

    for each in ENDING:
        signal.signal(each, stop)
    first = start()
    wait([first.report, first.process.sentinel])
    if not stopped and (reason := failure(first)):
        raise UseCaseError(reason)
    while len(workers) < processes and not stopped:
        start()
    while workers:
        wait([worker.process.sentinel for worker in workers])
        for worker in [worker for worker in workers if not worker.process.is_alive()]:
            workers.remove(worker)
            if stopped:
                continue
            reason = failure(worker) or ended(worker)
            LOG.error("%s; another process takes its place", reason)
            time.sleep(RESTART_SECONDS)
            start()


def fork(prepare: Callable[[], Serve]) -> Worker:
    """Start a process."""
    context = multiprocessing.get_context("fork")
    report, reporting = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(prepare, reporting))
    process.start()
    reporting.close()
    return Worker(process, report)


def work(prepare: Callable[[], Serve], report: Connection) -> None:
    """Serve, in a process of its own."""
    for each in ENDING:
        signal.signal(each, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        serve = prepare()
    except Exception as error:
        report.send(errors.told(error))
        raise SystemExit(1) from None
    report.send("")
    serve()


def end_with_parent() -> None:
    """End this process when the one that has started it is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def failure(worker: Worker) -> str:
    """Why a process could not begin to serve, or how it ended once that was asked before.

    Empty when it has begun.
    """
    try:
        return str(worker.report.recv())
    except EOFError:
        return ended(worker)


def ended(worker: Worker) -> str:
    """How a process has ended."""
    worker.process.join()
    return f"the process {worker.process.pid}, which serves, ended: {worker.process.exitcode}"
