"""Airflow as it runs for an environment: its configuration, its processes, its REST API."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from local_aws.images import containers

LAUNCHER = Path(__file__).with_name("launcher.py")
HOST = "127.0.0.1"

REST_SECONDS = 10.0
"""How long InvokeRestApi waits for an answer (MWAA User Guide, "Using the Apache Airflow REST
API")."""

_API = "/api/v2"
# What suits one machine; an environment's own options go before it.
_OWN_OPTIONS = {
    "core.parallelism": "16",
    "dag_processor.refresh_interval": "1",
    "scheduler.scheduler_idle_sleep_time": "0.25",
    "usage_data_collection.enabled": "False",
    # Tasks may be started before the API server answers, which takes long on a busy machine.
    "workers.execution_api_retries": "60",
    "workers.execution_api_retry_wait_max": "2",
    "workers.execution_api_timeout": "30",
}
_ENV_CONNECTION = {"AIRFLOW_CONN_AWS_DEFAULT": "aws://"}  # as in MWAA's image
_WARM_UP_SECONDS = 60.0

_http = urllib3.PoolManager(num_pools=50, maxsize=16, retries=False)


class AirflowError(Exception):
    """Airflow does not start, or has ended."""


class NoAnswerError(Exception):
    """The REST API has not answered in time."""


class Airflow:
    """The processes of one environment.

    Attributes:
        port: TCP port on 127.0.0.1 of the page and the API.
    """

    def __init__(
        self,
        environment: Path,
        home: Path,
        port: int,
        variables: Mapping[str, str],
        options: Mapping[str, str],
    ) -> None:
        """Start the processes.

        Args:
            environment: The folder that has `bin/python`.
            home: AIRFLOW_HOME, which is there.
            port: TCP port on 127.0.0.1.
            variables: Their environment, but for Airflow's own.
            options: Airflow's configuration, values by `section.option`.

        Raises:
            OSError: The environment has no Python.
        """
        self.port = port
        env = {
            **variables,
            **_ENV_CONNECTION,
            **{_variable(name): value for name, value in options.items()},
            "AIRFLOW_HOME": str(home),
            "HOME": str(home),
            "PATH": f"{environment / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            # Else macOS ends forked processes that have used its frameworks.
            "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
        }
        for log in home.glob("*.log"):
            log.unlink()
        self._log = home / "launcher.log"
        with self._log.open("ab") as log_file:
            self._process = subprocess.Popen(
                # -P: no module beside the launcher is taken for one that Airflow imports.
                [environment / "bin/python", "-P", LAUNCHER],
                cwd=home,
                env=env,
                stdin=subprocess.PIPE,  # which closes when this process ends, however it does
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """Whether the processes have ended."""
        return self._process.poll() is not None

    @property
    def ready(self) -> bool:
        """Whether all parts are at work.

        Raises:
            AirflowError: They have ended; has the last lines of their logs.
        """
        if self.ended:
            raise AirflowError(f"Airflow has ended: {self._last_lines()}")
        try:
            status, health = self.call("GET", "/monitor/health")
        except NoAnswerError:
            return False
        parts = health.values() if status == 200 and isinstance(health, dict) else ()
        return bool(parts) and all(part.get("status") == "healthy" for part in parts)

    def warm_up(self) -> None:
        """Let the API that tasks use make itself ready, which the first of them would wait for."""
        url = f"http://{HOST}:{self.port}/execution/health"
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # the task itself will tell
            _http.request("GET", url, timeout=_WARM_UP_SECONDS)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        seconds: float = REST_SECONDS,
    ) -> tuple[int, Any]:
        """Call Airflow's REST API.

        Args:
            method: HTTP method.
            path: Path below the API's own, for example `/dags`.
            query: Query parameters; a list stands for several of one name.
            body: JSON value.
            seconds: How long to wait.

        Returns:
            Status and JSON value; what is no JSON as the `detail` of an object.

        Raises:
            NoAnswerError: There was no answer in time.
        """
        url = f"{_API}{path}"
        if query:
            url += f"?{urlencode({k: _text(v) for k, v in query.items()}, doseq=True)}"
        return self._request(method, url, body, seconds)

    def token(self) -> str:
        """Return a token of an admin for the REST API.

        Raises:
            NoAnswerError: There is none.
        """
        status, document = self._request("GET", "/auth/token", None, REST_SECONDS)
        if status >= 400:
            raise NoAnswerError(f"Airflow answered {status} when it was asked for a token")
        return str(document["access_token"])

    def _request(self, method: str, url: str, body: object, seconds: float) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        # A connection that is kept could be closed by the other side when it is used again.
        headers = {"Connection": "close", "Content-Type": "application/json"}
        try:
            answer = _http.request(
                method,
                f"http://{HOST}:{self.port}{url}",
                body=content,
                headers=headers,
                timeout=seconds,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise NoAnswerError(str(error)) from error
        try:
            return answer.status, json.loads(answer.data or b"{}")
        except ValueError:
            return answer.status, {"detail": answer.data.decode(errors="replace")}

    def stop(self) -> None:
        """Kill the processes, with all that they have started; see the launcher for why."""
        containers.stop(self._process, 0.0)
        if self._process.stdin:
            self._process.stdin.close()

    def _last_lines(self, count: int = 5) -> str:
        logs = [self._log, *(path for path in self._log.parent.glob("*.log") if path != self._log)]
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return " | ".join([line for line in lines if line.strip()][-count:])


def options_of(
    home: Path,
    plugins: Path,
    port: int,
    secrets: Mapping[str, str],
    given: Mapping[str, str],
) -> dict[str, str]:
    """Return the configuration of Airflow.

    Args:
        home: AIRFLOW_HOME.
        plugins: Folder of the plugins.
        port: Port of the API server.
        secrets: `fernet_key` and `secret_key`, which are kept over restarts.
        given: AirflowConfigurationOptions; where Airflow's processes are it does not say.
    """
    url = f"http://{HOST}:{port}"
    return {
        **_OWN_OPTIONS,
        **given,
        "api.base_url": url,
        "api.host": HOST,
        "api.port": str(port),
        "api.secret_key": secrets["secret_key"],
        "api.workers": "1",
        # Else the parts do not take each other's tokens.
        "api_auth.jwt_secret": secrets["secret_key"],
        "core.dags_folder": str(home / "dags"),
        "core.execution_api_server_url": f"{url}/execution/",
        "core.executor": "LocalExecutor",
        "core.fernet_key": secrets["fernet_key"],
        "core.load_examples": "False",
        "core.plugins_folder": str(plugins),
        # Whoever reaches a loopback port is the user.
        "core.simple_auth_manager_all_admins": "True",
        "database.load_default_connections": "False",
        "database.sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}",
        "logging.base_log_folder": str(home / "logs"),
    }


def free_port(wanted: int = 0) -> int:
    """Return a free TCP port of 127.0.0.1, the wanted one if it is free."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise AirflowError(f"no port of {HOST} is free")


def _variable(option: str) -> str:
    """Return the environment variable of `section.option`."""
    section, _, name = option.partition(".")
    return f"AIRFLOW__{section.upper()}__{name.upper()}"


def _text(value: object) -> object:
    """Return a query parameter as text; Python's True is not JSON's."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value
