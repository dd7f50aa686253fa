"""Jobs that are one run of one image: its files, its command, its logs, why it failed.

The image runs once on every host of the job, all at the same time.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from local_aws.images import containers
from local_aws.sagemaker.core import images
from local_aws.sagemaker.core.logs import LogShipper
from local_aws.sagemaker.core.roles import Session
from local_aws.sagemaker.core.storage import StorageError
from local_aws.sagemaker.jobs import hosts, jobs
from local_aws.sagemaker.jobs.hosts import Host
from local_aws.sagemaker.jobs.jobs import MAX_REASON, Run, StopRequested

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_aws.images.images import Image
    from local_aws.sagemaker.core.service import Service

MAX_RUNTIME = "MaxRuntimeExceeded"

_log = logging.getLogger(__name__)


class ContainerRun(Run):
    """One run of a job's image on the job's hosts.

    A subclass says what its kind of job does before and after the containers.

    Attributes:
        hosts: The hosts, the first one first.
        exceeded: The limit of time that has ended the job, if one has: `MaxRuntimeExceeded`.
    """

    log_group: ClassVar[str]

    def __init__(
        self, service: Service, body: dict[str, Any], instances: Mapping[str, Any]
    ) -> None:
        super().__init__(service, body, body["RoleArn"])
        self.hosts = hosts.of_job(self.folder, instances.get("InstanceCount", 1))
        self.exceeded = ""
        self._failed: Host | None = None
        self._attempts = 1
        self._runtime = 0.0
        self._lock = threading.Lock()

    # What a kind of job adds

    @abstractmethod
    def image_uri(self) -> str:
        """Return the URI of the image to run."""

    @abstractmethod
    def prepare(self, host: Host) -> None:
        """Lay out a host's `/opt/ml` and bring the inputs in."""

    @abstractmethod
    def command(self, image: Image) -> list[str]:
        """Return the container's program and arguments."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the container's environment, beside what every container has."""

    @abstractmethod
    def finish(self, exit_code: int) -> dict[str, Any]:
        """Take the outputs out of each `/opt/ml`; return members for the job's body."""

    def containers_start(self) -> None:
        """Do what has to be done just before the containers start."""

    def see_line(self, line: str) -> None:
        """Take note of a line of any host's output."""

    def failure_text(self, host: Host) -> str:  # noqa: ARG002 - for those that override it
        """Return what a host's container itself tells of its failure."""
        return ""

    def time_limits(self) -> dict[str, float]:
        """Return the seconds that the containers may still run, by what their end is called."""
        condition = self.body.get("StoppingCondition", {})
        return {MAX_RUNTIME: condition.get("MaxRuntimeInSeconds", 86400) - self._runtime}

    # The run

    def work(self) -> dict[str, Any]:
        """Run the containers between bringing the inputs in and taking the outputs out."""
        for host in self.hosts:
            host.ml.mkdir(parents=True, exist_ok=True)
            self.prepare(host)
        self._run_containers()
        failed = self._failed
        exit_code = failed.exit_code or 0 if failed else 0
        fields = self._take_outputs(exit_code)
        if failed:
            fields["FailureReason"] = self._algorithm_error(failed)
        return fields

    def start_over(self) -> None:
        """Leave nothing of the containers' files; new hosts have nothing of the old ones'.

        Only the logs are kept: `log.txt` as `log-1.txt` and so on.
        """
        for host in self.hosts:
            if host.log.exists():
                host.log.rename(host.log.with_stem(f"{host.log.stem}-{self._attempts}"))
            shutil.rmtree(host.ml, ignore_errors=True)
            shutil.rmtree(host.home, ignore_errors=True)
            host.process = host.exit_code = None
        self._attempts += 1
        self._failed = None

    def end_processes(self, grace_seconds: float) -> None:
        """End the containers: SIGTERM and, after the grace period, SIGKILL."""
        with self._lock:
            processes = [host.process for host in self.hosts if host.process is not None]
        containers.stop_all(processes, grace_seconds)

    def write_json(self, host: Host, path: str, value: object) -> None:
        """Write a configuration file of the container contract; the path is below `/opt/ml`."""
        target = host.ml / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(value))

    def share(self, source: Mapping[str, Any], host: Host) -> tuple[int, int]:
        """Return a host's share of an S3 source, as `Storage.download` takes it."""
        if source.get("S3DataDistributionType") == "ShardedByS3Key":
            return host.index, len(self.hosts)
        return 0, 1

    def _run_containers(self) -> None:
        image = images.resolve(self.service, self.image_uri())
        hosts.assign_addresses(self, len(self.hosts))
        limit, seconds = min(self.time_limits().items(), key=lambda item: item[1])
        timer = threading.Timer(max(seconds, 0), self._time_out, [limit])
        timer.daemon = True
        begun = time.monotonic()
        shippers: list[LogShipper] = []
        others = [threading.Thread(target=self._wait, args=[host]) for host in self.hosts[1:]]
        try:
            self._start_containers(image)
            timer.start()
            shippers += [self._shipper(host) for host in self.hosts]
            for thread in others:
                thread.start()
            self._wait(self.hosts[0])
            for thread in others:
                thread.join()
        finally:
            timer.cancel()
            self._runtime += time.monotonic() - begun
            for shipper in shippers:
                shipper.close()

    def _start_containers(self, image: Image) -> None:
        settings = self.service.settings
        names = [host.name for host in self.hosts]
        addresses = dict(zip(names, self.addresses, strict=True))
        own, argv = self.environment(), self.command(image)
        self.containers_start()
        try:
            for host in self.hosts:
                host.home.mkdir(exist_ok=True)
                role = Session(self.storage.role_arn)
                credentials = self.service.roles.credentials(role)
                env = {**containers.base_environment(settings, host.home), **credentials, **own}
                container = containers.Container(image, argv, env, host.ml, host.log, addresses)
                with self._lock:
                    if self.stopping:
                        raise StopRequested
                    host.process = containers.start(container, settings.isolation)
                jobs.record_process(self.service, self.arn, host.process.pid)
        except BaseException:
            self.end_processes(0)  # those that have started already
            for host in self.hosts:
                if host.process is not None:
                    jobs.forget_process(self.service, host.process.pid)
            raise

    def _shipper(self, host: Host) -> LogShipper:
        stream = f"{self.name}/{host.name}-{round(time.time())}"
        see = partial(self._see, host)
        service = self.service.acting_as(self.storage.role_arn)
        return LogShipper(service, self.log_group, stream, host.log, see)

    def _see(self, host: Host, line: str) -> None:
        if line.strip():
            host.lines.append(line)
        self.see_line(line)

    def _wait(self, host: Host) -> None:
        """Wait for a host's container; one that fails ends the others."""
        assert host.process is not None  # noqa: S101 - it was started
        host.exit_code = containers.wait(host.process)
        jobs.forget_process(self.service, host.process.pid)
        with self._lock:
            first = host.exit_code != 0 and self._failed is None
            if first:
                self._failed = host
        if first and len(self.hosts) > 1:
            self.end_processes(self.service.settings.stop_grace_seconds)

    def _take_outputs(self, exit_code: int) -> dict[str, Any]:
        try:
            return self.finish(exit_code)
        except StorageError as error:
            if exit_code == 0:
                raise
            # The container's own failure is the reason to tell, not that its outputs are missing.
            _log.warning("%s %s: %s", self.kind, self.name, error)
            return {}

    def _time_out(self, limit: str) -> None:
        self.exceeded = limit
        self._stop.set()
        self.end_processes(self.service.settings.stop_grace_seconds)

    def _algorithm_error(self, host: Host) -> str:
        head, tail = "AlgorithmError: ", f", exit code: {host.exit_code}"
        room = MAX_REASON - len(head) - len(tail)
        told = self.failure_text(host).strip()[:room]
        return head + (told or "\n".join(host.lines)[-room:]) + tail


def read_text(path: Path) -> str:
    """Return a text that a container may have written; empty if it has not."""
    return path.read_text(errors="replace") if path.is_file() else ""
