"""Airflow's logs to CloudWatch Logs, under the log groups of Amazon MWAA.

Groups as in the MWAA User Guide, "Viewing Airflow logs in Amazon CloudWatch"; streams as MWAA's
image names them (`python/mwaa/logging` of https://github.com/aws/amazon-mwaa-docker-images).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.mwaa.launcher import PARTS
from local_aws.sagemaker.core.logs import LogShipper, LogStream

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Acting

MODULES = {
    "DagProcessingLogs": "DAGProcessing",
    "SchedulerLogs": "Scheduler",
    "TaskLogs": "Task",
    "WebserverLogs": "WebServer",
    "WorkerLogs": "Worker",
}
"""The members of a LoggingConfiguration, and how their log groups' names end."""

_OF_PART = {
    "scheduler": "SchedulerLogs",
    "triggerer": "SchedulerLogs",
    "webserver": "WebserverLogs",
    "dag_processor": "DagProcessingLogs",
}
_CHUNK = 1 << 17
_DAG_PROCESSOR = "dag_processor"


def group(environment: str, module: str) -> str:
    """Return the log group of a member of an environment's LoggingConfiguration."""
    return f"airflow-{environment}-{MODULES[module]}"


class Logs:
    """The logs of one run of an environment's processes."""

    def __init__(
        self, acting: Acting, environment: str, home: Path, configuration: Mapping[str, Any]
    ) -> None:
        """Begin; what is in the folder of tasks' logs already was sent by a former process.

        Args:
            acting: The service with the environment's role.
            environment: Its name.
            home: AIRFLOW_HOME.
            configuration: LoggingConfiguration.
        """
        self._acting = acting
        self._environment = environment
        self._folder = home / "logs"
        self._levels = {
            module: logging.getLevelName(given["LogLevel"])
            for module, given in configuration.items()
            if given["Enabled"]
        }
        self._offsets = {path: path.stat().st_size for path in self._files()}
        self._streams: dict[Path, LogStream] = {}
        began = round(time.time())
        self._shippers = [
            LogShipper(
                acting,
                group(environment, _OF_PART[part]),
                f"{part}_127.0.0.1_{began}.log",
                home / f"{part}.log",
            )
            for part in PARTS
            if _OF_PART[part] in self._levels
        ]

    def follow(self) -> None:
        """Send what tasks and the DAG processor have written since the last time."""
        for path in self._files():
            size, sent = path.stat().st_size, self._offsets.get(path, 0)
            if size > sent or (path in self._streams and self._streams[path].waits):
                self._offsets[path] = self._send(path, sent)

    def close(self) -> None:
        """Send what is left, and end."""
        self.follow()
        for shipper in self._shippers:
            shipper.close()

    def _files(self) -> Iterator[Path]:
        return (path for path in self._folder.rglob("*.log") if path.is_file())

    def _send(self, path: Path, sent: int) -> int:
        """Send whole lines of a file, and return how much of it has been read."""
        name = path.relative_to(self._folder)
        processes = name.parts[0] == _DAG_PROCESSOR
        module = "DagProcessingLogs" if processes else "TaskLogs"
        with path.open("rb") as file:
            file.seek(sent)
            chunk = file.read(_CHUNK)
        whole = chunk[: chunk.rfind(b"\n") + 1] or (chunk if len(chunk) == _CHUNK else b"")
        if module in self._levels:
            stream = self._streams.get(path)
            if stream is None:
                # By date and bundle on disk, by file in the log group.
                title = f"{_DAG_PROCESSOR}_{'/'.join(name.parts[3:])}" if processes else str(name)
                target = group(self._environment, module)
                stream = LogStream(self._acting, target, title.replace(":", "_"))
                self._streams[path] = stream
            lines = whole.decode(errors="replace").splitlines()
            stream.add([text for line in lines if (text := _text(line, self._levels[module]))])
            stream.send()
        return sent + len(whole)


def _text(line: str, level: int) -> str:
    """Return a line as MWAA writes it: without the time, which is the event's; empty if below."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict):
        return line
    number = logging.getLevelName(str(event.get("level", "info")).upper())
    if isinstance(number, int) and number < level:
        return ""
    return json.dumps({key: value for key, value in event.items() if key != "timestamp"})
