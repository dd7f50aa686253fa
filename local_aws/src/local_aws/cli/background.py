"""The inside of the background process: it writes down who it is, then serves.

A process id alone may by now belong to a stranger, so that the record has the start time too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import stat
import subprocess
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from local_aws.images import containers
from local_aws.settings import Settings

HOST = "127.0.0.1"
RECORD = "local-aws.json"

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Record:
    """What a process writes about itself.

    Attributes:
        pid: Its process id, which is also its session's and its group's.
        start_time: What tells it from any other process with this id.
        port: TCP port on 127.0.0.1.
        region: AWS region.
        isolation: How containers are kept apart: namespace, bubblewrap or environment.
        listening: Whether its socket is open.
        endpoints: URLs of others' services, where SageMaker runs alone.
    """

    pid: int
    start_time: str
    port: int
    region: str
    isolation: str
    listening: bool = False
    endpoints: dict[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return containers.start_time(self.pid) == self.start_time and not _is_zombie(self.pid)

    def write(self, data_dir: Path) -> None:
        """Put this in place of any other process's record."""
        partial = data_dir / f"{RECORD}.partial"
        partial.write_text(json.dumps(asdict(self), indent=2))
        partial.replace(data_dir / RECORD)


def serve(settings: Settings, lock: int) -> None:
    """Be the process: write the record, give the lock back, answer requests until SIGTERM.

    Args:
        settings: What to start with.
        lock: Descriptor of the locked `local-aws.lock`.
    """
    pid = os.getpid()
    record = Record(
        pid=pid,
        start_time=containers.start_time(pid) or "",
        port=settings.port,
        region=settings.region,
        isolation=settings.isolation,
        endpoints=dict(settings.endpoints),
    )
    record.write(settings.data_dir)
    os.close(lock)
    announce = threading.Thread(target=_announce, args=(record, settings.data_dir), daemon=True)
    announce.start()
    # Imported here only, as it takes a second.
    name = "local_aws.server.alone" if settings.endpoints else "local_aws.server.with_ministack"
    server: Any = importlib.import_module(name)
    server.serve(settings)


def _announce(record: Record, data_dir: Path) -> None:
    """Write down that this process listens.

    It looks at its own sockets: an answer on the port may come from another process that was
    quicker to take it.
    """
    while not _listens(record.port):
        time.sleep(_POLL_SECONDS)
    replace(record, listening=True).write(data_dir)


def _listens(port: int) -> bool:
    for name in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # closed by now
            descriptor = int(name.name)
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as found:
                open_to_clients = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if open_to_clients and found.getsockname() == (HOST, port):
                    return True
    return False


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and only waits for its parent to notice."""
    if Path("/proc/self/stat").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        except OSError:
            return False
    else:
        shown = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state = shown.stdout
    return state.strip().startswith("Z")
