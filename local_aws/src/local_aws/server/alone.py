"""SageMaker alone: its control plane and runtime on a port, beside an S3 of somebody else.

Where nobody's EventBridge and CloudWatch are named, what they would get is kept in the data folder:
events in `events.jsonl`, metrics in `metrics.jsonl`, and logs where they are written anyway.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from local_aws.images.images import Images
from local_aws.sagemaker.application import (
    Application,
    Receive,
    Scope,
    Send,
    error_body,
    headers_of,
    is_for_sagemaker,
    respond,
)
from local_aws.sagemaker.assembly import SageMaker
from local_aws.sagemaker.core.events import copies, iso
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.server.listener import listen, until_it_listens
from local_aws.settings import Settings

HEALTH = "/_ministack/health"
"""Where the whole local AWS tells that it is up; what waits for one waits for the other."""

FOREIGN_SOURCE = "local.sagemaker"
"""Source of events on somebody else's EventBridge, which keeps `aws.` to AWS's own services."""

_JSON = {"content-type": "application/json"}
_log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run SageMaker alone until SIGTERM or SIGINT.

    Args:
        settings: Where and how; `endpoints` has an S3.
    """
    asyncio.run(_Server(settings).run())


class Alone(SageMaker):
    """SageMaker with the services that others have, and files in place of those that nobody has."""

    def __init__(self, settings: Settings) -> None:
        """Open the state; nothing runs before `resume`.

        Args:
            settings: What it is started with.
        """
        self._files = {
            "cloudwatch": MetricsFile(settings.data_dir / "metrics.jsonl"),
            "logs": NoLogs(),
        }
        self._events = _Lines(settings.data_dir / "events.jsonl")
        super().__init__(settings, self._tell_once_or_twice, Images(settings.data_dir))

    def client(self, name: str, role: str = "") -> Any:  # noqa: ANN401 - made at run time
        """Return the client of a service, or what stands for it."""
        if name in self._files and name not in self.settings.endpoints:
            return self._files[name]
        return super().client(name, role)

    def _tell_once_or_twice(self, *event: Any) -> None:  # noqa: ANN401 - see `_tell`
        for _ in range(copies(self.settings.duplicate_events)):
            self._tell(*event)

    def _tell(self, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        """Write an event down in EventBridge's form, and pass it on to an EventBridge if given."""
        now = datetime.now(UTC)
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": "aws.sagemaker",
            "account": self.settings.account,
            "time": iso(now.timestamp()),
            "region": self.settings.region,
            "resources": resources,
            "detail": detail,
        }
        self._events.append(event)
        if "events" not in self.settings.endpoints:
            return
        entry = {
            "Time": now,
            "Source": FOREIGN_SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": resources,
        }
        answer = self.client("events").put_events(Entries=[entry])
        for refused in answer["Entries"]:
            if "ErrorCode" in refused:
                _log.warning("EventBridge refused %s: %s", detail_type, refused)


class MetricsFile:
    """Takes metrics as CloudWatch's client does, and writes them down."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is made with the first metric."""
        self._lines = _Lines(path)

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse all but metrics: there are no alarms."""
        raise ApiError(
            "ValidationException",
            f"SageMaker runs alone here, without CloudWatch's {name}: start it with "
            "--endpoint cloudwatch=URL to have alarms",
        )

    def put_metric_data(self, *, Namespace: str, MetricData: list[dict[str, Any]]) -> None:  # noqa: N803 - boto3's
        """Write each datum on a line of its own."""
        for datum in MetricData:
            self._lines.append({"Namespace": Namespace, **datum})


class NoLogs:
    """Takes logs as CloudWatch Logs' client does; their lines are in files already."""

    class exceptions:  # noqa: N801 - boto3's
        """What the real client raises."""

        class ResourceAlreadyExistsException(Exception):  # noqa: N818 - boto3's
            """Never here."""

    def create_log_group(self, **_: object) -> None:
        """Do nothing."""

    def create_log_stream(self, **_: object) -> None:
        """Do nothing."""

    def put_log_events(self, **_: object) -> None:
        """Do nothing."""


class _Lines:
    """A file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def append(self, value: Mapping[str, Any]) -> None:
        line = json.dumps(value, default=_time) + "\n"
        with self._lock, self._path.open("a") as file:
            file.write(line)


def _time(value: datetime) -> str:
    return value.isoformat()


class _Server:
    """The process: the service behind its application, and nothing else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._service = Alone(settings)
        self._sagemaker = Application(self._service)

    async def run(self) -> None:
        resume = asyncio.create_task(self._resume())
        await listen(self, self._settings.port, self._service.close)
        resume.cancel()

    async def _resume(self) -> None:
        await until_it_listens(self._settings.port)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._sagemaker.pool, self._service.resume)
        self._sagemaker.resumed.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = headers_of(scope)
        if is_for_sagemaker(headers, scope["path"]):
            await self._sagemaker(scope, receive, send)
        elif scope["path"] == HEALTH:
            body = json.dumps({"services": {"sagemaker": "running"}}).encode()
            await respond(send, 200, _JSON, body)
        else:
            asked = headers.get("x-amz-target") or f"{scope['method']} {scope['path']}"
            message = f"SageMaker runs alone here and does not know {asked}"
            await respond(send, 501, _JSON, error_body("NotImplemented", message))
