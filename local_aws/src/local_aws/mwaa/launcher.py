"""Starts Airflow's four parts; runs in an environment's own Python, not in the local AWS's.

One process imports Airflow, prepares the database, and forks the parts. Started one by one with
`airflow …`, each would import it again: that takes twice the time and half as much memory again.

It kills the parts, with all that they have started, when one of them ends, and when its standard
input is closed, which happens when the local AWS ends in whatever way. Asked to end by a signal,
Airflow would wait for the tasks that run, and then let them fail; killed, they start over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

PARTS = {
    "webserver": ("api-server",),  # first, as it takes longest
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
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

# The parts of a former run have been killed; nobody else has told the database. Airflow takes up
# at once what belongs to jobs that have ended, and else waits until it misses their heartbeats.
_END_FORMER = "update job set state = 'failed', end_date = latest_heartbeat where state = 'running'"


def main(home: Path) -> None:
    """Run the parts until they are to end, and this process with them.

    Args:
        home: AIRFLOW_HOME.
    """
    signal.signal(signal.SIGTERM, lambda *_: _end_all())
    threading.Thread(target=_end_with_input, daemon=True).start()
    for name in _SHARED:
        import_module(name)
    import_module("airflow.utils.db").initdb()
    engine = import_module("airflow.settings").engine
    with engine.begin() as connection:
        connection.execute(import_module("sqlalchemy").text(_END_FORMER))
    engine.dispose()  # a connection to the database must not be shared by processes
    run: Callable[[], None] = import_module("airflow.__main__").main
    parts = {_fork(home / f"{name}.log", arguments, run): name for name, arguments in PARTS.items()}
    ended, status = os.wait()
    print(f"{parts[ended]} ended with status {status}; see its log", file=sys.stderr, flush=True)
    _end_all()


def _fork(log: Path, arguments: tuple[str, ...], run: Callable[[], None]) -> int:
    """Fork a part and return its process id; what it prints is appended to its log."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
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


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    _end_all()


def _end_all() -> None:
    """Kill this process's group, which is its own and has all that the parts have started."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(os.environ["AIRFLOW_HOME"]))
