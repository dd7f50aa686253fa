"""The background process of a local AWS from outside: how it starts, stops and forgets.

One data folder has one process; `local-aws.json` in it says which. `local-aws.lock` lets one
command at a time work on the folder: a new process inherits the lock and keeps it until it has
written who it is, so that it is known even when the command that starts it is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from local_aws.cli.background import HOST, RECORD, Record
from local_aws.images import containers
from local_aws.settings import CREDENTIALS, SWITCHES, SettingError, check_environment, installing

LOG = "local-aws.log"

_LOCK = "local-aws.lock"
_IMAGES = ("images", "images.json", "images.lock")
_HEALTH = "/_ministack/health"

QUIET_SECONDS = 2.0
"""How long is waited before a word is said of it."""
STOP_SECONDS = 120.0
"""How long a stop may take: requests to endpoints get 70 s to finish, then model servers 30 s."""
_START_SECONDS = 60.0
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_PORT_ATTEMPTS = 5
_TAIL_LINES = 15


class ProcessError(Exception):
    """What was asked for cannot be done; the text says why and what helps."""


class LocalAws:
    """The local AWS of a data folder, seen from outside its process."""

    def __init__(self, data_dir: Path, report: Callable[[str], None]) -> None:
        """Name a folder; nothing is read or made yet.

        Args:
            data_dir: The folder.
            report: Takes a line that tells a waiting user what takes so long.
        """
        self.data_dir = data_dir.resolve()
        self._report = report

    def process(self) -> Record | None:
        """Return the folder's process, which may not answer yet, or None when none runs."""
        try:
            record = Record(**json.loads((self.data_dir / RECORD).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError):  # not written by this version: nothing to go by
            return None
        return record if record.alive else None

    def start(
        self, port: int, region: str, isolation: str, endpoints: Mapping[str, str]
    ) -> tuple[Record, bool]:
        """Start the process, unless it runs, and wait until it answers.

        Args:
            port: TCP port on 127.0.0.1; 0 takes any that is free.
            region: AWS region.
            isolation: namespace, bubblewrap, environment, or auto for the strongest that works.
            endpoints: URLs of others' services; with any, SageMaker runs alone.

        Returns:
            The process, and whether it is a new one; one that ran before keeps its own settings.

        Raises:
            ProcessError: The port is taken, the isolation does not work here, the folder holds
                something else, a setting in the environment is wrong, or the process ended.
        """
        self._check_folder()
        with self._lock() as lock:
            if found := self.process():
                return self._wait_for_answer(found.port, None), False
            return self._launch(lock, port, region, isolation, endpoints), True

    def stop(self) -> bool:
        """Stop the process; return whether one ran.

        Raises:
            ProcessError: It could not be ended.
        """
        if not (self.data_dir / _LOCK).exists():
            return False
        with self._lock():
            record = self.process()
            if record:
                self._end(record)
            (self.data_dir / RECORD).unlink(missing_ok=True)
        return record is not None

    def reset(self, *, images: bool) -> Record | None:
        """Forget all state, and all images if so asked; restart the process if it ran.

        Returns:
            The new process, or None when none ran.

        Raises:
            ProcessError: The process could not be ended, or started again.
        """
        if not (self.data_dir / _LOCK).exists():
            return None
        with self._lock() as lock:
            record = self.process()
            if record:
                self._end(record)
            self._end_orphans()
            self._wipe(keep=(_LOCK,) if images else (_LOCK, *_IMAGES))
            if record is None:
                return None
            return self._launch(
                lock, record.port, record.region, record.isolation, record.endpoints
            )

    def _check_folder(self) -> None:
        """Refuse a folder with other things in it, which a reset would remove."""
        if not self.data_dir.exists() or (self.data_dir / _LOCK).exists():
            return
        if not self.data_dir.is_dir():
            raise ProcessError(f"--data-dir: {self.data_dir} is not a folder")
        others = sorted({entry.name for entry in self.data_dir.iterdir()} - {*_IMAGES})
        if others:
            raise ProcessError(
                f"--data-dir: {self.data_dir} is not a local AWS's, it holds {others[0]!r}; "
                "name a new or an empty folder"
            )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        patience = _Patience(f"another local-aws command is at work on {self.data_dir}: waiting")
        with (self.data_dir / _LOCK).open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    patience.wait(self._report)
            yield file.fileno()

    def _launch(
        self, lock: int, port: int, region: str, isolation: str, endpoints: Mapping[str, str]
    ) -> Record:
        try:
            check_environment(alone=bool(endpoints))
        except SettingError as error:
            raise ProcessError(str(error)) from error
        if isolation == "auto":
            isolation = containers.detect_isolation()
        elif isolation != "environment" and not containers.works(isolation):
            raise ProcessError(
                f"--isolation: this host does not allow {isolation}; auto takes what works"
            )
        for _ in range(_PORT_ATTEMPTS):
            chosen = port or _free_port()
            if not _is_free(chosen):
                raise _port_taken(chosen)
            with _interrupt_held_back() as let_go:
                child, log_offset = self._spawn(lock, chosen, region, isolation, endpoints)
                try:
                    let_go()
                    return self._wait_for_answer(chosen, child)
                except ProcessError as error:
                    if child.poll() is None or _is_free(chosen):
                        raise ProcessError(f"{error}\n{self._log_tail(log_offset)}") from None
                    if port:
                        raise _port_taken(port) from None
                    # Another process was quicker to take the port that was free: look for another.
                finally:
                    # No process stays that nobody was told of, after Ctrl-C neither.
                    if sys.exc_info()[0] is not None and child.poll() is None:
                        os.killpg(child.pid, signal.SIGKILL)
                        child.wait()
        raise ProcessError(f"no free port was found in {_PORT_ATTEMPTS} attempts")

    def _spawn(
        self, lock: int, port: int, region: str, isolation: str, endpoints: Mapping[str, str]
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start the process; return it, and where its output begins in the log."""
        arguments = [f"--data-dir={self.data_dir}", f"--port={port}", f"--region={region}"]
        arguments += [f"--isolation={isolation}", f"--lock={lock}"]
        arguments += [f"--endpoint={name}={url}" for name, url in endpoints.items()]
        with (self.data_dir / LOG).open("ab") as log:
            child = subprocess.Popen(
                # -P: a file in the current folder is not taken for a module.
                [sys.executable, "-P", "-u", "-m", "local_aws", "serve", *arguments],
                cwd=self.data_dir,
                env=_environment(alone=bool(endpoints)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock],
            )
            return child, log.tell()

    def _wait_for_answer(self, port: int, child: subprocess.Popen[bytes] | None) -> Record:
        log = self.data_dir / LOG
        patience = _Patience(f"starting on port {port}; its log is {log}")
        while True:
            record = self.process()
            if record and record.listening and _answers(port):
                return record
            if record is None and (child is None or child.poll() is not None):
                ended = "" if child is None else f" with status {child.returncode}"
                raise ProcessError(f"the process ended{ended} before it answered; see {log}")
            if patience.seconds > _START_SECONDS:
                raise ProcessError(f"no answer on port {port} in {_START_SECONDS:.0f} s; see {log}")
            patience.wait(self._report)

    def _end(self, record: Record) -> None:
        patience = _Patience(f"waiting for process {record.pid} to end its jobs and to save")
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
        while record.alive:
            if patience.seconds > STOP_SECONDS + _KILL_SECONDS:
                raise ProcessError(f"process {record.pid} does not end, not even by SIGKILL")
            if patience.seconds > STOP_SECONDS:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(record.pid, signal.SIGKILL)
            patience.wait(self._report)

    def _end_orphans(self) -> None:
        """End the containers that a killed process has left; a new one would at its start."""
        for name in ("jobs", "endpoints", "mwaa"):
            containers.kill_lost(self.data_dir / name)
        database = self.data_dir / "sagemaker.sqlite"
        if not database.exists():
            return
        query = """
            select json_extract(body, '$.Pid'), json_extract(body, '$.Started')
            from resources where kind in ('JobProcess', 'ServingProcess')
        """
        # A state that cannot be read is one more reason to wipe it.
        with contextlib.suppress(sqlite3.Error), sqlite3.connect(database) as connection:
            for pid, started in connection.execute(query):
                containers.kill_orphan(pid, started)

    def _wipe(self, keep: tuple[str, ...]) -> None:
        # Moved away first: a wipe that is killed must not leave half a state.
        away = Path(tempfile.mkdtemp(prefix="wiped-", dir=self.data_dir))
        for entry in self.data_dir.iterdir():
            if entry.name not in keep and entry != away:
                entry.rename(away / entry.name)
        shutil.rmtree(away)

    def _log_tail(self, beginning: int) -> str:
        with (self.data_dir / LOG).open("rb") as log:
            log.seek(beginning)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])


def _environment(*, alone: bool) -> dict[str, str]:
    """Return the process's environment.

    Lambda functions inherit it, and on AWS they see nothing of the user's: what tells how packages
    are installed, the process takes out once it has read it. Nor are the user's AWS settings for
    the clients of the process itself; but SageMaker alone needs the user's credentials for the
    services of others.
    """
    kept = ["HOME", "LD_LIBRARY_PATH", "PATH", *SWITCHES]
    if alone:
        kept += CREDENTIALS
    return {
        **installing(),
        **{name: os.environ[name] for name in kept if name in os.environ},
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "LANG": "C.UTF-8",
    }


@contextlib.contextmanager
def _interrupt_held_back() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until what is yielded is called, which raises it if it came meanwhile.

    A process is there before `Popen` returns: an interrupt in between would leave it to nobody.
    """
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()  # no other is interrupted
    before = (
        signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if is_main else None
    )

    def let_go() -> None:
        if is_main:
            signal.signal(signal.SIGINT, before)
        if came:
            came.clear()
            raise KeyboardInterrupt

    try:
        yield let_go
    finally:
        let_go()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", _HEALTH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an ended one that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def _port_taken(port: int) -> ProcessError:
    return ProcessError(
        f"port {port} is taken; end what listens there or choose another with --port, "
        "0 for any that is free"
    )


class _Patience:
    """Waits, and says so once when it takes long."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._began = time.monotonic()
        self._told = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def wait(self, report: Callable[[str], None]) -> None:
        if not self._told and self.seconds > QUIET_SECONDS:
            report(self._message)
            self._told = True
        time.sleep(_POLL_SECONDS)
