"""Starts Airflow's four parts; runs in an environment's own Python, not in the local AWS's.

One process imports Airflow, prepares the database, and forks the parts. Started one by one with
`airflow …`, each would import it again: that takes twice the time and half as much memory again.

It ends the parts when one of them ends, at SIGTERM, and when its standard input is closed, which
happens when the local AWS ends in whatever way.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

PARTS = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "webserver": ("api-server",),
    "dag_processor": ("dag-processor",),
}
"""The arguments of `airflow` by part; each part writes to `<part>.log` in AIRFLOW_HOME."""

# What the parts import anyway, before they are forked.
_SHARED = (
    "airflow.__main__",
    "airflow.api_fastapi.app",
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.execution_api.app",
    "airflow.cli.commands.api_server_command",
    "airflow.cli.commands.dag_processor_command",
    "airflow.cli.commands.scheduler_command",
    "airflow.cli.commands.triggerer_command",
    "airflow.dag_processing.manager",
    "airflow.executors.local_executor",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
)

_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.05


def main(home: Path) -> int:
    """Run the parts until they are to end.

    Args:
        home: AIRFLOW_HOME.

    Returns:
        Exit status: 0 if they were to end, 1 if one of them ended by itself.
    """
    for name in _SHARED:
        import_module(name)
    import_module("airflow.utils.db").initdb()
    # A connection to the database must not be shared by processes.
    import_module("airflow.settings").engine.dispose()
    run: Callable[[], None] = import_module("airflow.__main__").main
    running = {
        _fork(home / f"{name}.log", arguments, run): name for name, arguments in PARTS.items()
    }
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_until_input_ends, args=(stopping,), daemon=True).start()
    while len(running) == len(PARTS) and not stopping.wait(_POLL_SECONDS):
        _reap(running)
    if not stopping.is_set():
        lost = set(PARTS) - set(running.values())
        print(f"{', '.join(sorted(lost))} ended; see its log", file=sys.stderr, flush=True)
    _end(running)
    return 0 if stopping.is_set() else 1


def _fork(log: Path, arguments: tuple[str, ...], run: Callable[[], None]) -> int:
    """Fork a part and return its process id; what it prints is appended to its log."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["airflow", *arguments]
        run()
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _until_input_ends(stopping: threading.Event) -> None:
    while sys.stdin.buffer.read(1):
        pass
    stopping.set()


def _reap(running: dict[int, str]) -> None:
    """Take note of the parts that have ended."""
    for pid in list(running):
        if os.waitpid(pid, os.WNOHANG)[0]:
            del running[pid]


def _end(running: dict[int, str]) -> None:
    """End the parts; what they leave running belongs to the same process group."""
    deadline = time.monotonic() + _GRACE_SECONDS
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    while running and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        _reap(running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(os.environ["AIRFLOW_HOME"])))
