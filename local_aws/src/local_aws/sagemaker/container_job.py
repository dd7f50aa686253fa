"""Jobs that are one run of one container: its files, its command, its logs, why it failed."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
from abc import abstractmethod
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from local_aws import containers
from local_aws.sagemaker.jobs import HOST, MAX_REASON, Run, StopRequested, resolve_image
from local_aws.sagemaker.logs import LogShipper
from local_aws.sagemaker.storage import StorageError

if TYPE_CHECKING:
    from local_aws.images import Image
    from local_aws.sagemaker.service import Service

_REASON_LINES = 40

_log = logging.getLogger(__name__)


class ContainerRun(Run):
    """One run of a job's container.

    A subclass says what its kind of job does before and after the container.
    """

    log_group: ClassVar[str]

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        super().__init__(service, body, body["RoleArn"])
        self.timed_out = False
        self._last_lines: deque[str] = deque(maxlen=_REASON_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    # What a kind of job adds

    @abstractmethod
    def image_uri(self) -> str:
        """Return the URI of the image to run."""

    @abstractmethod
    def prepare(self) -> None:
        """Lay out ``/opt/ml`` and bring the inputs in."""

    @abstractmethod
    def command(self, image: Image) -> list[str]:
        """Return the container's program and arguments."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the container's environment, beside what every container has."""

    @abstractmethod
    def finish(self, exit_code: int) -> dict[str, Any]:
        """Take the outputs out of ``/opt/ml``; return members for the job's body."""

    def see_line(self, line: str) -> None:
        """Take note of a line of the container's output."""
        if line.strip():
            self._last_lines.append(line)

    def failure_text(self) -> str:
        """Return what the container itself tells of its failure."""
        return ""

    # The run

    def work(self) -> dict[str, Any]:
        """Run the container between bringing the inputs in and taking the outputs out."""
        self.prepare()
        exit_code = self._run_container()
        fields = self._take_outputs(exit_code)
        if exit_code != 0:
            fields["FailureReason"] = self._algorithm_error(exit_code)
        return fields

    def end_processes(self, grace_seconds: float) -> None:
        """End the container: SIGTERM and, after the grace period, SIGKILL."""
        with self._lock:
            process = self._process
        if process is not None:
            containers.stop(process, grace_seconds)

    def local_path(self, path: str) -> Path:
        """Return where a path of the container, under ``/opt/ml``, lies on this host."""
        return self.ml / Path(path).relative_to("/opt/ml")

    def write_json(self, path: str, value: object) -> None:
        """Write a configuration file of the container contract; the path is below ``/opt/ml``."""
        target = self.ml / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(value))

    def _run_container(self) -> int:
        image = resolve_image(self.service, self.image_uri())
        log = self.folder / "log.txt"
        self._home.mkdir(exist_ok=True)
        settings = self.service.settings
        env = {**containers.base_environment(settings, self._home), **self.environment()}
        container = containers.Container(image, self.command(image), env, self.ml, log)
        stream = f"{self.name}/{HOST}-{round(time.time())}"
        with self._lock:
            if self.stopping:
                raise StopRequested
            process = self._process = containers.start(container, settings.isolation)
        shipper = LogShipper(self.service, self.log_group, stream, log, self.see_line)
        timer = threading.Timer(self._max_runtime(), self._time_out)
        timer.daemon = True
        timer.start()
        try:
            started = containers.start_time(process.pid)
            self.update(_Process={"Pid": process.pid, "Started": started})
            return containers.wait(process)
        finally:
            timer.cancel()
            shipper.close()

    def _take_outputs(self, exit_code: int) -> dict[str, Any]:
        try:
            return self.finish(exit_code)
        except StorageError as error:
            if exit_code == 0:
                raise
            # The container's own failure is the reason to tell, not that its outputs are missing.
            _log.warning("%s %s: %s", self.kind, self.name, error)
            return {}

    def _max_runtime(self) -> float:
        seconds: float = self.body.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        return seconds

    def _time_out(self) -> None:
        self.timed_out = True
        self._stop.set()
        self.end_processes(self.service.settings.stop_grace_seconds)

    def _algorithm_error(self, exit_code: int) -> str:
        head, tail = "AlgorithmError: ", f", exit code: {exit_code}"
        room = MAX_REASON - len(head) - len(tail)
        told = self.failure_text().strip()[:room]
        return head + (told or "\n".join(self._last_lines)[-room:]) + tail

    @property
    def _home(self) -> Path:
        return self.folder / "home"
