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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from local_aws import containers
from local_aws.sagemaker.jobs import resolve_image
from local_aws.sagemaker.logs import LogShipper
from local_aws.sagemaker.protocol import ApiError
from local_aws.sagemaker.resources import require
from local_aws.sagemaker.storage import Storage, split_uri

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

PROCESS = "ServingProcess"
"""Kind of the store's rows that name running servers, so that orphans can be ended."""

_HEALTH_CHECK_SECONDS = 240
_PING_SECONDS = 2.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_RESTART_SECONDS = 1.0
_CONNECTIONS = 64
_LOG_TAIL = 500
_log = logging.getLogger(__name__)


class ServingError(Exception):
    """A server could not be started; the text is the endpoint's FailureReason."""


class Server:
    """The process of one production variant."""

    def __init__(
        self,
        service: Service,
        endpoint: str,
        variant: Mapping[str, Any],
        fleet_id: str,
        folder: Path,
    ) -> None:
        """Prepares a server; nothing is started.

        Args:
            service: the service.
            endpoint: the endpoint's name, for its log group.
            variant: the production variant, as in the endpoint config.
            fleet_id: stands for the instance in the log stream's name.
            folder: the server's own folder, made when it starts.

        Raises:
            ApiError: the model, or the model package it names, is not there.
        """
        self.variant: str = variant["VariantName"]
        self.weight: float = variant.get("InitialVariantWeight", 1.0)
        self.serverless = "ServerlessConfig" in variant
        self._service = service
        self._model = require(service, "Model", variant["ModelName"])
        self._definition = container_definition(service, self._model)
        self._image: str = self._definition["Image"]
        self._config = variant
        self._timeout: float = variant.get(
            "ContainerStartupHealthCheckTimeoutInSeconds", _HEALTH_CHECK_SECONDS
        )
        self._folder = folder
        self._group = f"/aws/sagemaker/Endpoints/{endpoint}"
        self._stream = f"{self.variant}/i-{fleet_id}"
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

    @property
    def summary(self) -> dict[str, Any]:
        """The variant's ProductionVariantSummary."""
        deployed = {"SpecifiedImage": self._image, "ResolvedImage": self._image}
        summary: dict[str, Any] = {
            "VariantName": self.variant,
            "DeployedImages": [{**deployed, "ResolutionTime": time.time()}],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
        }
        if self.serverless:
            config = self._config["ServerlessConfig"]
            return {**summary, "CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
        count = self._config.get("InitialInstanceCount", 1)
        return {**summary, "CurrentInstanceCount": count, "DesiredInstanceCount": count}

    def start(self) -> None:
        """Brings the model and starts the process; `wait_healthy` tells when it answers.

        Raises:
            ServingError: the process could not be started.
            StorageError: the model is not there.
        """
        model = self._folder / "ml" / "model"
        model.mkdir(parents=True)
        self._fetch_model(model)
        self._logs = LogShipper(self._service, self._group, self._stream, self._folder / "log.txt")
        self._service.submit(self._keep_running, self._launch())

    def wait_healthy(self) -> None:
        """Waits until GET /ping answers 200.

        Raises:
            ServingError: it did not in ContainerStartupHealthCheckTimeoutInSeconds, or the process
                has ended.
        """
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline and self._exit_status is None:
            try:
                response = self._pool.urlopen("GET", "/ping", timeout=_PING_SECONDS)
            except urllib3.exceptions.HTTPError:
                response = None
            if response is not None and response.status == 200:
                self._healthy = True
                return
            time.sleep(_POLL_SECONDS)
        ended = "" if self._exit_status is None else f", exit code: {self._exit_status}"
        raise ServingError(
            f"The primary container for production variant {self.variant} did not pass the ping "
            f"health check. Please check CloudWatch logs for this endpoint. Its last output: "
            f"{self._log_tail()}{ended}"
        )

    def invoke(
        self, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> urllib3.BaseHTTPResponse:
        """Sends one request to /invocations and returns the whole response.

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

    def stop(self) -> None:
        """Ends the process: SIGTERM, and SIGKILL after 30 seconds."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            containers.stop(process, _STOP_SECONDS)
            self._pool.close()
        if self._logs is not None:
            self._logs.close()

    def _launch(self) -> subprocess.Popen[bytes]:
        image = resolve_image(self._service, self._image)
        container = containers.Container(
            image=image,
            argv=[*image.entrypoint, "serve"],
            env={
                **containers.base_environment(self._service.settings, self._folder),
                **self._definition.get("Environment", {}),
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
                    f"The container of {self._image} did not start: {error}"
                ) from error
            self._process = process
        key = f"{process.pid}"
        started = containers.start_time(process.pid)
        self._service.store.delete(PROCESS, key)
        self._service.store.insert(PROCESS, key, key, {"Pid": process.pid, "Started": started})
        return process

    def _keep_running(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the process, and starts it anew if it ends by itself after it was healthy."""
        while True:
            status = containers.wait(process)
            self._service.store.delete(PROCESS, f"{process.pid}")
            if self._stopping.is_set() or not self._healthy:
                self._exit_status = status
                return
            _log.warning("%s/%s ended with %d: restarting", self._group, self._stream, status)
            if self._stopping.wait(_RESTART_SECONDS):
                return
            try:
                process = self._launch()
            except (ServingError, ApiError) as error:
                _log.error("%s/%s was not restarted: %s", self._group, self._stream, error)
                return

    def _fetch_model(self, folder: Path) -> None:
        source = self._definition.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = self._definition.get("ModelDataUrl") or source.get("S3Uri")
        if not uri:
            return
        if source.get("CompressionType") == "None":
            role = self._model.get("ExecutionRoleArn", "")
            Storage(self._service, role).download(uri, folder)
            return
        archive = self._folder / "model.tar.gz"
        bucket, key = split_uri(uri)
        try:
            body = self._service.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
            with archive.open("wb") as file:
                shutil.copyfileobj(body, file, 1 << 20)
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

    def _log_tail(self) -> str:
        path = self._folder / "log.txt"
        if not path.exists():
            return ""
        return path.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()


def container_definition(service: Service, model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's only container, taken from its model package where it names one.

    Raises:
        ApiError: the model has several containers, or its package is not there.
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
