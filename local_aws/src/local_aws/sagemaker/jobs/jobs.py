"""What all jobs share: their folder, their end, stopping them, and what a killed process left."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from local_aws.images import containers
from local_aws.sagemaker.core import resources
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.storage import Storage, StorageError

if TYPE_CHECKING:
    from local_aws.images.images import Image
    from local_aws.sagemaker.core.service import Service

RUNNING = ("InProgress", "Stopping")

PROCESS = "JobProcess"
"""Kind of the records of jobs' processes, by their number: Pid, Started, and the Job's ARN."""

MAX_REASON = 1024
"""Characters of a FailureReason (limit of the model's shape)."""

_CLOSE_GRACE_SECONDS = 2.0
_CLOSE_WAIT_SECONDS = 30.0

_log = logging.getLogger(__name__)


class StopRequested(Exception):  # noqa: N818 - not an error: somebody wanted it
    """The job was told to stop before its work was done."""


class Run(ABC):
    """One run of one job, in a thread of its own: its folder, its state, stopping it, its end.

    A subclass says what its kind of job does.
    """

    kind: ClassVar[str]

    def __init__(self, service: Service, body: dict[str, Any], role_arn: str) -> None:
        self.service = service
        self.body = body
        self.name: str = body[f"{self.kind}Name"]
        self.arn: str = body[f"{self.kind}Arn"]
        self.storage = Storage(service, role_arn)
        self.folder = job_folder(service, self.kind, self.name)
        self.ml = self.folder / "ml"
        self.done = threading.Event()
        self.addresses: list[str] = []
        self._abort_reason = ""
        self._stop = threading.Event()

    # What a kind of job adds

    @abstractmethod
    def work(self) -> dict[str, Any]:
        """Do the job.

        Returns:
            Members for the job's body. With FailureReason among them the job has failed.

        Raises:
            StopRequested: The job was told to stop, and has.
            StorageError: Data could not be moved.
            ApiError: What the job needs is not there.
            OSError: A file or program is not there.
            ValueError: A value of the job has no meaning here.
        """

    @abstractmethod
    def end_processes(self, grace_seconds: float) -> None:
        """End the job's processes: SIGTERM and, after the grace period, SIGKILL."""

    @abstractmethod
    def final_fields(self, status: str) -> dict[str, Any]:
        """Return members that go with the final status: Completed, Failed or Stopped."""

    def survives(self) -> bool:
        """Whether the job goes on at the next start when the local AWS is stopped meanwhile."""
        return False

    @property
    def aborting(self) -> bool:
        """Whether the job ends because the local AWS does."""
        return bool(self._abort_reason)

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
        self.service.submit(self.end_processes, self.service.settings.stop_grace_seconds)

    def abort(self, reason: str) -> None:
        """End the job as failed, in the background; `done` tells when its state is written."""
        self._abort_reason = reason
        self._stop.set()
        self.service.submit(self.end_processes, _CLOSE_GRACE_SECONDS)

    def update(self, **fields: object) -> None:
        """Change the job's stored body."""
        self.body = self.service.store.update(self.kind, self.arn, **fields)

    def _run(self) -> None:
        fields: dict[str, Any] = {}
        try:
            if self.folder.exists():  # left by a job of a former, deleted state
                shutil.rmtree(self.folder)
            self.ml.mkdir(parents=True)
            fields = self.work()
        except StopRequested:
            pass
        except StorageError as error:
            fields["FailureReason"] = str(error)
        except ApiError as error:
            fields["FailureReason"] = f"ClientError: {error.message}"
        except (OSError, ValueError) as error:
            fields["FailureReason"] = f"ClientError: {error}"
        except Exception as error:
            _log.exception("%s %s failed inside the local AWS", self.kind, self.name)
            fields["FailureReason"] = f"InternalServerError: {error!r}"
        finally:
            self._end(fields)

    def _end(self, fields: dict[str, Any]) -> None:
        if self._abort_reason and self.survives():
            self.service.runs.pop(self.arn, None)
            self.done.set()
            return
        if self._abort_reason:
            fields["FailureReason"] = f"InternalServerError: {self._abort_reason}"
        elif self._stop.is_set():
            fields.pop("FailureReason", None)
        status = "Completed"
        if "FailureReason" in fields:
            status, fields["FailureReason"] = "Failed", fields["FailureReason"][:MAX_REASON]
        elif self._stop.is_set():
            status = "Stopped"
        try:
            with self.service.store.transaction():
                self.update()  # what a Stop request wrote meanwhile is to be kept
                fields |= self.final_fields(status)
                self.service.set_status(self.kind, self.arn, status, **fields)
        finally:
            self.service.runs.pop(self.arn, None)
            self.done.set()
        if status != "Failed":  # a failed job's folder is kept to look into
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.suffix != ".txt":  # all but the logs
                    path.unlink(missing_ok=True)


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
    """Return the folder of a job: `ml`, its `/opt/ml`, and `log.txt`."""
    prefix = kind.removesuffix("Job").lower()
    return service.settings.data_dir / "jobs" / f"{prefix}-{name}"


def record_process(service: Service, arn: str, pid: int) -> None:
    """Write down a process of a job, so that the next start finds it if this one is killed."""
    service.store.delete(PROCESS, str(pid))  # left by one that had the number before
    body = {"Pid": pid, "Started": containers.start_time(pid), "Job": arn}
    service.store.insert(PROCESS, str(pid), str(pid), body)


def forget_process(service: Service, pid: int) -> None:
    """Forget a process of a job that has ended."""
    service.store.delete(PROCESS, str(pid))


def end_orphans(service: Service, arn: str) -> None:
    """End what a former local AWS left running of a job."""
    for process in service.store.list(PROCESS, Job=arn):
        containers.kill_orphan(process["Pid"], process["Started"])
        forget_process(service, process["Pid"])


def fail_left_over(
    service: Service,
    kind: str,
    goes_on: Callable[[dict[str, Any]], bool] = lambda _: False,
    **fields: object,
) -> None:
    """Fail the jobs that ran when a former process was killed, and end their containers.

    Args:
        service: The service.
        kind: Kind of the jobs.
        goes_on: Tells which jobs are to be left as they are.
        **fields: Members to set beside the status.
    """
    for status in RUNNING:
        for body in service.store.list(kind, **{f"{kind}Status": status}):
            if goes_on(body):
                continue
            end_orphans(service, body[f"{kind}Arn"])
            service.set_status(
                kind,
                body[f"{kind}Arn"],
                "Failed",
                FailureReason="InternalServerError: The local AWS was killed while the job ran.",
                **fields,
            )


def end_lost(service: Service) -> None:
    """End what a former local AWS left running; before any job starts."""
    containers.kill_lost(service.settings.data_dir / "jobs")


def abort_all(service: Service) -> None:
    """Fail the jobs that run, and wait until their state is written."""
    runs = list(service.runs.values())
    for run in runs:
        run.abort("The local AWS was stopped while the job ran.")
    deadline = time.monotonic() + _CLOSE_WAIT_SECONDS
    for run in runs:
        run.done.wait(max(0.0, deadline - time.monotonic()))
