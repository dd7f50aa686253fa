"""The `local-aws` command as tests run it, and what /proc tells of its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import aws_client, until

from local_aws.images.containers import start_time

LOCAL_AWS = Path(sys.executable).with_name("local-aws")


class Cli:
    """The command, with one data folder and an environment like a fresh user's."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}

    def popen(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [LOCAL_AWS, command, "--data-dir", str(self.data_dir), *arguments],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, command: str, *arguments: str, status: int = 0
    ) -> subprocess.CompletedProcess[str]:
        running = self.popen(command, *arguments)
        out, err = running.communicate(timeout=180)
        assert running.returncode == status, f"{out}\n{err}"
        return subprocess.CompletedProcess([], running.returncode, out, err)

    def start(self, *arguments: str) -> dict[str, Any]:
        self.run("start", "--port=0", *arguments)
        return self.status()

    def status(self, status: int = 0) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("status", "--json", status=status).stdout)
        return shown

    def client(self, name: str) -> Any:
        return aws_client(name, int(self.status()["endpoint_url"].rpartition(":")[2]))

    def kill(self) -> None:
        """End the process as a crash does, and wait until it is gone."""
        pid = self.status()["pid"]
        started = start_time(pid)
        os.kill(pid, signal.SIGKILL)
        until(lambda: start_time(pid) != started or is_zombie(pid))


@contextmanager
def fresh_cli(folder: Path, **environment: str) -> Iterator[Cli]:
    """The command with a new data folder; whatever it starts is stopped in the end."""
    cli = Cli(folder, **environment)
    try:
        yield cli
    finally:
        cli.run("stop")
    assert processes_of(cli.data_dir) == []


def processes_of(data_dir: Path) -> list[int]:
    """The processes that serve a data folder, whatever its record says."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"--data-dir={data_dir}".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def children_of(pid: int) -> set[int]:
    """A process and all below it."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= children_of(int(child))
    return found


def listening_addresses(pids: set[int]) -> set[tuple[str, int]]:
    """Addresses in /proc/net's notation, and ports, on which processes take connections."""
    inodes = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(entry.readlink().name)
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            # 0A is LISTEN, and 07 an unconnected UDP socket.
            if fields[3] in ("0A", "07") and f"socket:[{fields[9]}]" in inodes:
                found.add((address, int(port, 16)))
    return found
