"""What all jobs share: folders, a container run, its logs, stopping, and why it failed."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from local_aws import containers
from local_aws.images import UnknownImage
from local_aws.sagemaker import resources
from local_aws.sagemaker.logs import LogShipper
from local_aws.sagemaker.operations import on_close
from local_aws.sagemaker.protocol import ApiError
from local_aws.sagemaker.storage import Storage, StorageError

if TYPE_CHECKING:
    from local_aws.images import Image
    from local_aws.sagemaker.service import Service

HOST = "algo-1"
RUNNING = ("InProgress", "Stopping")

_MAX_REASON = 1024  # limit of the model's shape FailureReason
_REASON_LINES = 40
_CLOSE_GRACE_SECONDS = 2.0
_CLOSE_WAIT_SECONDS = 30.0

_log = logging.getLogger(__name__)


class _StopRequested(Exception):  # noqa: N818 - not an error: somebody wanted it
    """The job was told to stop before its container ran."""


class Run(ABC):
    """One run of one job, in a thread of its own.

    A subclass says what its kind of job does before and after the container.
    """

    kind: ClassVar[str]
    log_group: ClassVar[str]

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        self.service = service
        self.body = body
        self.name: str = body[f"{self.kind}Name"]
        self.arn: str = body[f"{self.kind}Arn"]
        self.storage = Storage(service, body["RoleArn"])
        self.folder = job_folder(service, self.kind, self.name)
        self.ml = self.folder / "ml"
        self.done = threading.Event()
        self.timed_out = False
        self._abort_reason = ""
        self._last_lines: deque[str] = deque(maxlen=_REASON_LINES)
        self._stop = threading.Event()
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

    @abstractmethod
    def final_fields(self, status: str) -> dict[str, Any]:
        """Return members that go with the final status: Completed, Failed or Stopped."""

    def see_line(self, line: str) -> None:
        """Take note of a line of the container's output."""
        if line.strip():
            self._last_lines.append(line)

    def failure_text(self) -> str:
        """Return what the container itself tells of its failure."""
        return ""

    @property
    def stopping(self) -> bool:
        """Whether the job was told to stop, or ran out of time."""
        return self._stop.is_set()

    # The run

    def start(self) -> None:
        """Run in the background."""
        self.service.runs[self.arn] = self
        self.service.submit(self._run)

    def stop(self) -> None:
        """Ask the job to stop, in the background: SIGTERM, and SIGKILL after the grace period."""
        self._stop.set()
        self.service.submit(self._end_process, self.service.settings.stop_grace_seconds)

    def abort(self, reason: str) -> None:
        """End the job as failed, in the background; ``done`` tells when its state is written."""
        self._abort_reason = reason
        self._stop.set()
        self.service.submit(self._end_process, _CLOSE_GRACE_SECONDS)

    def update(self, **fields: object) -> None:
        """Change the job's stored body."""
        self.body = self.service.store.update(self.kind, self.arn, **fields)

    def local_path(self, path: str) -> Path:
        """Return where a path of the container, under ``/opt/ml``, lies on this host."""
        return self.ml / Path(path).relative_to("/opt/ml")

    def write_json(self, path: str, value: object) -> None:
        """Write a configuration file of the container contract; the path is below ``/opt/ml``."""
        target = self.ml / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(value))

    def _run(self) -> None:
        status, fields = "Failed", {}
        try:
            if self.folder.exists():  # left by a job of a former, deleted state
                shutil.rmtree(self.folder)
            self.ml.mkdir(parents=True)
            self.prepare()
            exit_code = self._run_container()
            fields = self._take_outputs(exit_code)
            if exit_code == 0:
                status = "Completed"
            else:
                fields["FailureReason"] = self._algorithm_error(exit_code)
        except _StopRequested:
            pass
        except StorageError as error:
            fields["FailureReason"] = str(error)[:_MAX_REASON]
        except ApiError as error:
            fields["FailureReason"] = f"ClientError: {error.message}"[:_MAX_REASON]
        except (OSError, ValueError) as error:
            fields["FailureReason"] = f"ClientError: {error}"[:_MAX_REASON]
        except Exception as error:
            _log.exception("%s %s failed inside the local AWS", self.kind, self.name)
            fields["FailureReason"] = f"InternalServerError: {error!r}"[:_MAX_REASON]
        finally:
            self._end(status, fields)

    def _end(self, status: str, fields: dict[str, Any]) -> None:
        if self._abort_reason:
            status = "Failed"
            fields["FailureReason"] = f"InternalServerError: {self._abort_reason}"
        elif self._stop.is_set():
            status = "Stopped"
            fields.pop("FailureReason", None)
        try:
            with self.service.store.transaction():
                self.update()  # what a Stop request wrote meanwhile is to be kept
                fields |= self.final_fields(status)
                self.service.set_status(self.kind, self.arn, status, _Process=None, **fields)
        finally:
            self.service.runs.pop(self.arn, None)
            self.done.set()
        if status != "Failed":  # a failed job's folder is kept to look into
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)

    def _run_container(self) -> int:
        image = resolve_image(self.service, self.image_uri())
        log = self.folder / "log.txt"
        self._home.mkdir(exist_ok=True)
        settings = self.service.settings
        env = {**containers.base_environment(settings, self._home), **self.environment()}
        container = containers.Container(image, self.command(image), env, self.ml, log)
        stream = f"{self.name}/{HOST}-{round(time.time())}"
        with self._lock:
            if self._stop.is_set():
                raise _StopRequested
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
        self._end_process(self.service.settings.stop_grace_seconds)

    def _end_process(self, grace_seconds: float) -> None:
        with self._lock:
            process = self._process
        if process is not None:
            containers.stop(process, grace_seconds)

    def _algorithm_error(self, exit_code: int) -> str:
        head, tail = "AlgorithmError: ", f", exit code: {exit_code}"
        room = _MAX_REASON - len(head) - len(tail)
        told = self.failure_text().strip()[:room]
        return head + (told or "\n".join(self._last_lines)[-room:]) + tail

    @property
    def _home(self) -> Path:
        return self.folder / "home"


def resolve_image(service: Service, uri: str) -> Image:
    """Return what stands for an image.

    Raises:
        ApiError: No such image was pushed (ValidationException).
    """
    try:
        return service.images.resolve(uri)
    except UnknownImage as error:
        raise ApiError("ValidationException", str(error)) from None


def command_line(image: Image, entrypoint: list[str], arguments: list[str]) -> list[str]:
    """Combine an image's and a job's commands as container engines do.

    A job's entrypoint takes the place of the image's entrypoint and of its default command.

    Raises:
        ValueError: Neither names a program.
    """
    argv = (
        [*entrypoint, *arguments]
        if entrypoint
        else [
            *image.entrypoint,
            *(arguments or image.command),
        ]
    )
    if not argv:
        raise ValueError("neither the image nor the job names a program: give ContainerEntrypoint")
    return argv


def stop_job(service: Service, kind: str, name: str, **fields: object) -> None:
    """Answer a Stop operation; the job becomes Stopping now and Stopped when its container ended.

    Args:
        service: The service.
        kind: Kind of the job.
        name: Its name.
        **fields: Members to set beside the status.

    Raises:
        ApiError: The job does not exist, or does not run (ValidationException).
    """
    with service.store.transaction():
        body = resources.require(service, kind, name)
        status = body[f"{kind}Status"]
        if status == "Stopping":
            return
        if status != "InProgress":
            title = kind.removesuffix("Job").lower()
            raise ApiError(
                "ValidationException",
                f"The request was rejected because the {title} job is in status {status}.",
            )
        service.set_status(kind, name, "Stopping", **fields)
    run = service.runs.get(body[f"{kind}Arn"])
    if run:
        run.stop()


def delete_job(service: Service, kind: str, name: str) -> None:
    """Answer a Delete operation: forget an ended job, and remove its folder.

    Raises:
        ApiError: The job does not exist (ResourceNotFound), or has not ended (ResourceInUse).
    """
    with service.store.transaction():
        body = service.store.get(kind, name)
        if body is None:
            text = f"Could not find requested job with name: {name}"
            raise ApiError("ResourceNotFound", text)
        if body[f"{kind}Status"] in RUNNING:
            raise ApiError("ResourceInUse", f"The job {body[f'{kind}Arn']} has not ended; stop it")
        resources.delete(service, kind, name)
    shutil.rmtree(job_folder(service, kind, name), ignore_errors=True)


def job_folder(service: Service, kind: str, name: str) -> Path:
    """Return the folder of a job: ``ml``, its ``/opt/ml``, and ``log.txt``."""
    prefix = kind.removesuffix("Job").lower()
    return service.settings.data_dir / "jobs" / f"{prefix}-{name}"


def fail_left_over(service: Service, kind: str, **fields: object) -> None:
    """Fail the jobs that ran when a former process was killed, and end their containers.

    Args:
        service: The service.
        kind: Kind of the jobs.
        **fields: Members to set beside the status.
    """
    for status in RUNNING:
        for body in service.store.list(kind, **{f"{kind}Status": status}):
            process = body.get("_Process")
            if process:
                containers.kill_orphan(process["Pid"], process["Started"])
            service.set_status(
                kind,
                body[f"{kind}Arn"],
                "Failed",
                FailureReason="InternalServerError: The local AWS was killed while the job ran.",
                _Process=None,
                **fields,
            )


@on_close
def _abort_all(service: Service) -> None:
    runs = list(service.runs.values())
    for run in runs:
        run.abort("The local AWS was stopped while the job ran.")
    deadline = time.monotonic() + _CLOSE_WAIT_SECONDS
    for run in runs:
        run.done.wait(max(0.0, deadline - time.monotonic()))
