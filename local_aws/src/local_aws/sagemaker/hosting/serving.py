"""Model servers as local processes.

The container contract is that of "Use your own inference code with hosting services": the process
gets the argument `serve`, answers GET /ping and POST /invocations, and is ended with SIGTERM and,
30 seconds later, SIGKILL. It listens on the port in SAGEMAKER_BIND_TO_PORT, since several of them
share one machine, and should on the address in SAGEMAKER_BIND_TO_HOST, which is not AWS's: a
container has a network of its own, a process here has the machine's.
"""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.images import containers
from local_aws.sagemaker.core import images
from local_aws.sagemaker.core.logs import LogShipper
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import require
from local_aws.sagemaker.core.roles import Session
from local_aws.sagemaker.core.storage import Storage, split_uri

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

PROCESS = "ServingProcess"
"""Kind of the store's rows that name running servers, so that orphans can be ended."""

_GET_SECONDS = 2.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_RESTART_SECONDS = 1.0
_CONNECTIONS = 64
_CHUNK = 1 << 20
_LOG_TAIL = 500
_log = logging.getLogger(__name__)


class ServingError(Exception):
    """A server could not be started; the text is fit for a FailureReason."""


@dataclass(frozen=True)
class Hosted:
    """What a server is to serve, for whom.

    Attributes:
        model: The model, as `servable_model` returns it.
        role: What is served, in error messages: "production variant A", "transform job B".
        log_group: Group of its log lines in CloudWatch Logs.
        log_stream: Stream of its log lines.
        startup_seconds: How long it may take until it answers GET /ping.
        environment: The container's environment beside the model's.
        restart: Whether it is started anew when it ends by itself.
    """

    model: Mapping[str, Any]
    role: str
    log_group: str
    log_stream: str
    startup_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)
    restart: bool = True


class Server:
    """The process of one model."""

    def __init__(self, service: Service, hosted: Hosted, folder: Path) -> None:
        """Prepare a server; nothing is started.

        Args:
            service: The service.
            hosted: What to serve.
            folder: The server's own folder, made when it starts.
        """
        self._service = service
        self._hosted = hosted
        self._definition: Mapping[str, Any] = hosted.model["PrimaryContainer"]
        self.image: str = self._definition["Image"]
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_status: int | None = None
        self._healthy = False
        self._stopping = threading.Event()
        self._logs: LogShipper | None = None
        self._port = _free_port()
        self._pool = urllib3.HTTPConnectionPool(
            "127.0.0.1", self._port, maxsize=_CONNECTIONS, retries=False
        )

    def start(self) -> None:
        """Brings the model and starts the process; `wait_healthy` tells when it answers.

        Raises:
            ServingError: The process could not be started.
            StorageError: The model is not there.
        """
        model = self._folder / "ml" / "model"
        model.mkdir(parents=True)
        self._fetch_model(model)
        group, stream = self._hosted.log_group, self._hosted.log_stream
        log = self._folder / "log.txt"
        self._logs = LogShipper(self._service.acting_as(self.role), group, stream, log)
        self._service.submit(self._keep_running, self._launch())

    @property
    def role(self) -> str:
        """ARN of the model's role; empty for a model without one."""
        role: str = self._hosted.model.get("ExecutionRoleArn", "")
        return role

    @property
    def exit_status(self) -> int | None:
        """The exit status of a process that ended and is not started anew."""
        return self._exit_status

    def wait_healthy(self) -> None:
        """Wait until GET /ping answers 200.

        Raises:
            ServingError: It did not in time, or the process has ended, or is being stopped.
        """
        deadline = time.monotonic() + self._hosted.startup_seconds
        while time.monotonic() < deadline and self._exit_status is None:
            response = self.get("/ping")
            if response is not None and response.status == 200:
                self._healthy = True
                return
            time.sleep(_POLL_SECONDS)
        raise ServingError(
            f"The primary container for {self._hosted.role} did not pass the ping health check. "
            f"Please check CloudWatch logs. {self.last_output()}"
        )

    def get(self, path: str) -> urllib3.BaseHTTPResponse | None:
        """Send a GET request; return None when there was no answer in two seconds."""
        try:
            return self._pool.urlopen("GET", path, timeout=_GET_SECONDS)
        except urllib3.exceptions.HTTPError:
            return None

    def invoke(
        self, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> urllib3.BaseHTTPResponse:
        """Send one request to /invocations and return the whole response.

        Raises:
            urllib3.exceptions.HTTPError: there was no response.
        """
        for attempt in (1, 2):
            try:
                return self._pool.urlopen(
                    "POST",
                    "/invocations",
                    body=body,
                    headers=headers,
                    timeout=timeout,
                    redirect=False,
                )
            except urllib3.exceptions.ProtocolError:
                # Servers close connections that were idle for some seconds, and may do so in the
                # moment in which the next request is sent; that is no failure of the model.
                if attempt == 2:
                    raise
        raise AssertionError

    def exchange(
        self, source: Path, target: Path, headers: Mapping[str, str], timeout: float
    ) -> urllib3.BaseHTTPResponse:
        """Send a file to /invocations and write the answer to another; neither is held in memory.

        Args:
            source: The request's body.
            target: Where to write the response's body.
            headers: The request's headers.
            timeout: Seconds to wait for the response, and for each further part of it.

        Raises:
            urllib3.exceptions.HTTPError: there was no response.
        """
        sent = {**headers, "content-length": str(source.stat().st_size)}
        # A connection of its own: one that was idle may be closed by the server in this moment, and
        # a request that runs for long is not to be sent twice for that.
        with (
            urllib3.HTTPConnectionPool("127.0.0.1", self._port, retries=False) as pool,
            source.open("rb") as body,
        ):
            response = pool.urlopen(
                "POST",
                "/invocations",
                body=body,
                headers=sent,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            with target.open("wb") as file:
                for part in response.stream(_CHUNK):
                    file.write(part)
        return response

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping.is_set()

    def last_output(self) -> str:
        """Return the end of the container's output and, if it ended, its exit status."""
        path = self._folder / "log.txt"
        tail = path.read_bytes()[-_LOG_TAIL:].decode(errors="replace") if path.exists() else ""
        ended = "" if self._exit_status is None else f", exit code: {self._exit_status}"
        return f"Its last output: {tail.strip()}{ended}"

    def stop(self, grace_seconds: float = _STOP_SECONDS) -> None:
        """End the process: SIGTERM, and SIGKILL after the grace period."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            containers.stop(process, grace_seconds)
            self._pool.close()
        if self._logs is not None:
            self._logs.close()

    def _launch(self) -> subprocess.Popen[bytes]:
        image = images.resolve(self._service, self.image)
        container = containers.Container(
            image=image,
            argv=[*image.entrypoint, "serve"],
            env={
                **containers.base_environment(self._service.settings, self._folder),
                **self._service.roles.credentials(Session(self.role)),
                **self._definition.get("Environment", {}),
                **self._hosted.environment,
                "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
                "SAGEMAKER_BIND_TO_PORT": str(self._port),
            },
            ml=self._folder / "ml",
            log=self._folder / "log.txt",
        )
        with self._lock:
            if self._stopping.is_set():
                raise ServingError("The server is being stopped.")
            try:
                process = containers.start(container, self._service.settings.isolation)
            except (OSError, ValueError) as error:
                raise ServingError(
                    f"The container of {self.image} did not start: {error}"
                ) from error
            self._process = process
        key = f"{process.pid}"
        started = containers.start_time(process.pid)
        self._service.store.delete(PROCESS, key)
        self._service.store.insert(PROCESS, key, key, {"Pid": process.pid, "Started": started})
        return process

    def _keep_running(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the process, and start it anew if it ends by itself after it was healthy."""
        while True:
            status = containers.wait(process)
            self._service.store.delete(PROCESS, f"{process.pid}")
            if self._stopping.is_set() or not self._healthy or not self._hosted.restart:
                self._exit_status = status
                return
            _log.warning("the server of %s ended with %d: restarting", self._hosted.role, status)
            started = None
            while started is None:
                if self._stopping.wait(_RESTART_SECONDS):
                    return
                started = self._restarted()
            process = started

    def _restarted(self) -> subprocess.Popen[bytes] | None:
        """Start the process anew; return None when it could not be started now."""
        try:
            return self._launch()
        except Exception as error:
            _log.exception("the server of %s is tried again: %s", self._hosted.role, error)
            return None

    def _fetch_model(self, folder: Path) -> None:
        source = self._definition.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = self._definition.get("ModelDataUrl") or source.get("S3Uri")
        if not uri:
            return
        if source.get("CompressionType") == "None":
            Storage(self._service, self.role).download(uri, folder)
            return
        archive = self._folder / "model.tar.gz"
        bucket, key = split_uri(uri)
        try:
            s3 = self._service.client("s3", self.role)
            body = s3.get_object(Bucket=bucket, Key=key)["Body"]
            with archive.open("wb") as file:
                shutil.copyfileobj(body, file, _CHUNK)
            with tarfile.open(archive) as packed:
                # Nothing outside the folder; Python 3.11.0 to 3.11.3 cannot see to that.
                packed.extraction_filter = getattr(
                    tarfile, "data_filter", lambda member, _path: member
                )
                packed.extractall(folder)  # noqa: S202 - the filter is set
        except (ClientError, BotoCoreError) as error:
            raise ServingError(f"Could not find model data at {uri}: {error}") from error
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ServingError(f"Failed to extract model data archive {uri}: {error}") from error
        finally:
            archive.unlink(missing_ok=True)


def servable_model(service: Service, name: str) -> dict[str, Any]:
    """Return a model with all that is needed to serve it, as its PrimaryContainer.

    Raises:
        ApiError: The model, or the model package it names, is not there, or it has several
            containers.
    """
    model = require(service, "Model", name)
    return {**model, "PrimaryContainer": _container_definition(service, model), "Containers": []}


def _container_definition(service: Service, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's only container, taken from its model package where it names one.

    Raises:
        ApiError: The model has several containers, or its package is not there.
    """
    given = model.get("Containers") or [model["PrimaryContainer"]]
    resolved: list[dict[str, Any]] = []
    for container in given:
        if "ModelPackageName" not in container:
            resolved.append(container)
            continue
        package = require(service, "ModelPackage", container["ModelPackageName"])
        for packaged in package["InferenceSpecification"]["Containers"]:
            environment = {**packaged.get("Environment", {}), **container.get("Environment", {})}
            resolved.append({**packaged, "Environment": environment})
    if len(resolved) != 1:
        raise ApiError(
            "ValidationException",
            f"Model '{model['ModelName']}' has {len(resolved)} containers; the local AWS serves "
            "models of one container",
        )
    return resolved[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
