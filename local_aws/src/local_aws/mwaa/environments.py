"""The environments: what is stored of them, and the threads that keep them as they should be."""

from __future__ import annotations

import base64
import logging
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.images import containers
from local_aws.mwaa import bucket, packages
from local_aws.mwaa.airflow_process import (
    REST_SECONDS,
    Airflow,
    AirflowError,
    NoAnswerError,
    free_port,
    options_of,
)
from local_aws.mwaa.logs import Logs
from local_aws.mwaa.metrics import Heartbeat
from local_aws.mwaa.protocol import RestApiError
from local_aws.sagemaker.core.loops import attempt
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Session

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

KIND = "MwaaEnvironment"
"""Kind of the environments in the store. Beside the members of MWAA's Environment, a body has
Port, Revision, Secrets and, while it is updated, Former."""

SESSION = "AmazonMWAA-airflow"
"""How MWAA names its sessions of an environment's role."""

# What an update replaces, and what comes back if it fails.
CONFIGURATION = (
    *("AirflowConfigurationOptions", "AirflowVersion", "DagS3Path", "EnvironmentClass"),
    *("ExecutionRoleArn", "LoggingConfiguration", "MaxWebservers", "MaxWorkers", "MinWebservers"),
    *("MinWorkers", "NetworkConfiguration", "PluginsS3ObjectVersion", "PluginsS3Path"),
    *("RequirementsS3ObjectVersion", "RequirementsS3Path", "Schedulers", "SourceBucketArn"),
    *("WebserverAccessMode", "WeeklyMaintenanceWindowStart"),
)
_POLL_SECONDS = 1.0
_READY_SECONDS = 600.0
_MOST_MESSAGE = 1024  # characters of an ErrorMessage (limit of the model's shape)
_SETTLED = ("AVAILABLE", "UPDATE_FAILED")

_FAILURES = (
    *(AirflowError, bucket.BucketError, packages.InstallationError),
    *(ApiError, BotoCoreError, ClientError, OSError),
)

_log = logging.getLogger(__name__)


class Interrupted(Exception):  # noqa: N818 - not an error: the environment is to do something else
    """An environment has been deleted, or the local AWS ends, while it was being started."""


class Environments:
    """All environments, each with the thread that keeps it.

    Attributes:
        service: The service, for its store, settings, clients and roles.
    """

    def __init__(self, service: Service) -> None:
        """Take what is needed; nothing runs before `resume`.

        Args:
            service: The service.
        """
        self.service = service
        self.folder = service.settings.data_dir.resolve() / "mwaa"
        self._keepers: dict[str, _Keeper] = {}
        self._lock = threading.Lock()
        self._closing = False

    def resume(self) -> None:
        """End what a killed process has left, and start what should run."""
        containers.kill_lost(self.folder)
        for body in self.service.store.list(KIND):
            self.wake(body["Name"])

    def close(self) -> None:
        """End all processes of all environments."""
        with self._lock:
            self._closing = True
            keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.close()
        for keeper in keepers:
            keeper.join()

    def wake(self, name: str) -> None:
        """Let the thread of an environment look at what it should be, now."""
        with self._lock:
            if self._closing:
                return
            keeper = self._keepers.get(name)
            if keeper is None or not keeper.is_alive():
                keeper = self._keepers[name] = _Keeper(self.service, self.folder / name, name)
                keeper.start()
        keeper.wake.set()

    def status(self, body: Mapping[str, Any]) -> str:
        """Return an environment's status, which is MAINTENANCE while Airflow starts again."""
        keeper = self._keepers.get(body["Name"])
        runs = keeper is not None and keeper.running(0) is not None
        status = str(body["Status"])
        return "MAINTENANCE" if status in _SETTLED and not runs else status

    def call(
        self, name: str, method: str, path: str, query: Mapping[str, Any] | None, body: object
    ) -> tuple[int, Any]:
        """Call the REST API of an environment, which may be starting again.

        Raises:
            ApiError: It has never been available, or does not answer in time.
        """
        try:
            return self._running(name).call(method, path, query, body)
        except NoAnswerError as error:
            detail = f"no answer within {REST_SECONDS:.0f} seconds: {error}"
            raise RestApiError(504, {"detail": detail}) from error

    def token(self, name: str) -> str:
        """Return a token for the REST API of an environment.

        Raises:
            ApiError: It does not run, or does not answer.
        """
        try:
            return self._running(name).token()
        except NoAnswerError as error:
            raise ApiError("InternalServerException", str(error), 500) from error

    def _running(self, name: str) -> Airflow:
        keeper = self._keepers.get(name)
        airflow = keeper.running(REST_SECONDS) if keeper else None
        if airflow is None:
            raise RestApiError(503, {"detail": f"Airflow of the environment {name} does not run"})
        return airflow


class _Keeper(threading.Thread):
    """Keeps one environment as it is stored: starts, follows and ends its Airflow."""

    def __init__(self, service: Service, home: Path, name: str) -> None:
        super().__init__(name=f"mwaa {name}", daemon=True)
        self.wake = threading.Event()
        self._service = service
        self._home = home
        self._environment = name
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._airflow: Airflow | None = None
        self._dags = bucket.Dags(service, home / "dags")
        self._logs: Logs | None = None
        self._heartbeat: Heartbeat | None = None

    def close(self) -> None:
        """Ask it to end, with its processes."""
        self._closing.set()
        self.wake.set()

    def running(self, seconds: float) -> Airflow | None:
        """Return the processes once they answer, or None if they do not in time."""
        return self._airflow if self._ready.wait(seconds) else None

    def run(self) -> None:
        """Keep it until it is deleted, or this process ends."""
        while not self._closing.is_set():
            self.wake.clear()
            attempt(f"keeping the environment {self._environment}", self._turn)
            self.wake.wait(_POLL_SECONDS)
        self._stop()

    def _turn(self) -> None:
        body = self._service.store.get(KIND, self._environment)
        if body is None:
            self._closing.set()
        elif body["Status"] == "DELETING":
            self._stop()
            shutil.rmtree(self._home, ignore_errors=True)
            self._service.store.delete(KIND, self._environment)
            self._closing.set()
        elif body["Status"] in ("CREATING", "UPDATING"):
            self._change(body)
        elif body["Status"] != "CREATE_FAILED":
            self._keep(body)

    def _change(self, body: Mapping[str, Any]) -> None:
        """Make a new or a changed environment available."""
        try:
            revision = self._home / "revisions" / str(body["Revision"])
            bucket.fetch(self._service, body, revision)
            self._start(body)
        except Interrupted:
            return
        except _FAILURES as error:
            _log.warning("the environment %s: %s", self._environment, error)
            self._settle(body, error)
            return
        for folder in (self._home / "revisions").iterdir():
            if folder != revision:
                shutil.rmtree(folder, ignore_errors=True)
        self._settle(body, None)

    def _settle(self, body: Mapping[str, Any], error: Exception | None) -> None:
        """Store how a change has ended, unless something else is wanted meanwhile."""
        update = {**body["LastUpdate"], "Status": "FAILED" if error else "SUCCESS"}
        fields: dict[str, Any] = {"LastUpdate": update, "Former": None, "Status": "AVAILABLE"}
        if error:
            message = str(error)[:_MOST_MESSAGE] or type(error).__name__
            update["Error"] = {"ErrorCode": "INCORRECT_CONFIGURATION", "ErrorMessage": message}
            former = body.get("Former")
            fields["Status"] = "UPDATE_FAILED" if former else "CREATE_FAILED"
            if former:
                fields |= {name: former.get(name) for name in (*CONFIGURATION, "Revision")}
        store = self._service.store
        with store.transaction():
            now = store.get(KIND, self._environment)
            if now and now["Status"] == body["Status"] and now["Revision"] == body["Revision"]:
                store.update(KIND, self._environment, **fields)
        if fields["Status"] == "CREATE_FAILED":
            self._stop()

    def _keep(self, body: Mapping[str, Any]) -> None:
        """Start what has ended, and follow the bucket and the logs."""
        if self._airflow is None or self._airflow.ended:
            if self._airflow is not None:
                _log.error("Airflow of %s has ended; it is started again", self._environment)
            try:
                self._start(body)
            except Interrupted:
                return
        if self._airflow and self._logs and self._heartbeat:
            attempt("following the logs", self._logs.follow)
            attempt("sending the heartbeat", self._heartbeat.follow, self._airflow)
        self._dags.follow(body)

    # Processes

    def _start(self, body: Mapping[str, Any]) -> None:
        """Start Airflow as an environment is stored, and wait until it is ready.

        Raises:
            Interrupted: Something else is wanted meanwhile.
        """
        revision = self._home / "revisions" / str(body["Revision"])
        requirements = (revision / "requirements.txt").read_text()
        self._dags.follow(body)

        def run(command: list[str], env: dict[str, str]) -> None:
            self._run(command, env, body)

        version = body["AirflowVersion"]
        settings = self._service.settings
        environment = packages.install(settings, version, requirements, self._home, run)
        self._stop()
        port = free_port(body["Port"])
        if port != body["Port"]:
            self._service.store.update(KIND, self._environment, Port=port)
        role = body["ExecutionRoleArn"]
        credentials = self._service.roles.credentials(Session(role, SESSION))
        given = body.get("AirflowConfigurationOptions", {})
        tasks = body["LoggingConfiguration"]["TaskLogs"]["LogLevel"]
        options = options_of(
            self._home,
            revision / "plugins",
            port,
            body["Secrets"],
            {"logging.logging_level": tasks, **given},
        )
        variables = {
            **containers.base_environment(settings, self._home),
            **credentials,
            "AIRFLOW_ENV_NAME": self._environment,
            "AWS_EXECUTION_ENV": f"Amazon_MWAA_{version.replace('.', '')}",
        }
        self._airflow = Airflow(environment, self._home, port, variables, options)
        acting = self._service.acting_as(role)
        configuration = body["LoggingConfiguration"]
        self._logs = Logs(acting, self._environment, self._home, configuration)
        self._heartbeat = Heartbeat(acting, self._environment)
        try:
            self._wait(self._airflow, body)
        except BaseException:
            self._stop()
            raise

    def _wait(self, airflow: Airflow, body: Mapping[str, Any]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not airflow.ready:
            self._check_wanted(body)
            if time.monotonic() > deadline:
                raise AirflowError(f"Airflow was not ready in {_READY_SECONDS:.0f} s")
            time.sleep(0.1)
        airflow.warm_up()
        self._ready.set()

    def _stop(self) -> None:
        self._ready.clear()
        if self._airflow is not None:
            self._airflow.stop()
            self._airflow = None
        if self._logs is not None:
            self._logs.close()
            self._logs = None

    def _run(self, command: list[str], env: dict[str, str], body: Mapping[str, Any]) -> None:
        """Run a program that installs something.

        Raises:
            InstallationError: It fails; has the end of what it has printed.
            Interrupted: Something else is wanted meanwhile.
        """
        log = self._home / "installation.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=False,  # the lock on what is being built is to stay with it
            )
        try:
            while process.poll() is None:
                self._check_wanted(body)
                time.sleep(0.05)
        finally:
            containers.stop(process, 0.0)
        if process.returncode:
            raise packages.InstallationError(log.read_text(errors="replace")[-_MOST_MESSAGE:])

    def _check_wanted(self, body: Mapping[str, Any]) -> None:
        now = self._service.store.get(KIND, self._environment)
        if self._closing.is_set() or now is None or now["Status"] != body["Status"]:
            raise Interrupted


def new_secrets() -> dict[str, str]:
    """Return the keys of a new environment: they outlive its processes."""
    return {
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "secret_key": secrets.token_hex(32),
    }
