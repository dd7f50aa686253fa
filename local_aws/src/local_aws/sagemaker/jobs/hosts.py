"""The hosts of a job: processes on this machine, each with a folder, a name and an address."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_aws.sagemaker.jobs.jobs import Run

MAX_HOSTS = 254
"""Addresses of one local AWS, for all jobs that run at the same time."""

_REASON_LINES = 40
_ADDRESSES = threading.Lock()


@dataclass
class Host:
    """One host of a job.

    Attributes:
        name: `algo-1` and so on, as AWS names them.
        index: Its place among the hosts, from 0.
        folder: Folder of all that is its own.
        process: Its container, once it was started.
        exit_code: The container's exit status, once it has ended.
        lines: The last lines of its output that are not empty.
    """

    name: str
    index: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    exit_code: int | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_REASON_LINES))

    @property
    def ml(self) -> Path:
        """The folder that its container sees as `/opt/ml`."""
        return self.folder / "ml"

    @property
    def home(self) -> Path:
        """The home of its container's user."""
        return self.folder / "home"

    @property
    def log(self) -> Path:
        """Its container's output; in the job's folder, where it stays when the job has ended."""
        if self.index:
            return self.folder.with_name(f"log-{self.name}.txt")
        return self.folder / "log.txt"

    def local_path(self, path: str) -> Path:
        """Return where a path of its container, under `/opt/ml`, lies on this machine."""
        return self.ml / Path(path).relative_to("/opt/ml")


def of_job(folder: Path, count: int) -> list[Host]:
    """Return a job's hosts; the folder of the first one is the job's, those of others are in it."""
    names = [f"algo-{number}" for number in range(1, count + 1)]
    return [Host(name, i, folder / name if i else folder) for i, name in enumerate(names)]


def assign_addresses(run: Run, count: int) -> None:
    """Give a job addresses of the loopback network that no other job has: `run.addresses`.

    With one of its own each host can listen on any port, and jobs that use the same port do not
    meet. The two bytes in the middle are the port of the local AWS, which is its own on this
    machine too.

    Raises:
        OSError: So many are not free.
    """
    port = run.service.settings.port
    network = f"127.{port >> 8}.{port & 255}"
    with _ADDRESSES:
        others = [other for other in list(run.service.runs.values()) if other is not run]
        taken = {address for other in others for address in other.addresses}
        free = [a for a in (f"{network}.{n}" for n in range(1, MAX_HOSTS + 1)) if a not in taken]
        if len(free) < count:
            raise OSError(f"{count} hosts are wanted, but of {MAX_HOSTS} only {len(free)} are free")
        run.addresses = free[:count]
