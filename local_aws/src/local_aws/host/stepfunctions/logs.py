"""What executions of state machines write to CloudWatch Logs.

AWS: "Using CloudWatch Logs to log execution history in Step Functions" in the AWS Step Functions
Developer Guide.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.logs import batches
from local_aws.sagemaker.core.service import Service

_INTERVAL_SECONDS = 0.3
_FATAL = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
_ERROR = ("Aborted", "Failed", "TimedOut")  # how the types of such events end
_DATA = ("input", "output", "parameters")

_log = logging.getLogger(__name__)


class StateLogs:
    """Writes events of executions to the log groups of their state machines, in the background.

    Like AWS it makes streams, not groups; what a group that is not there would get is lost.
    """

    def __init__(self, service: Service) -> None:
        """Start to write.

        Args:
            service: Has the client of CloudWatch Logs.
        """
        self._service = service
        self._queue: queue.SimpleQueue[tuple[str, str, Callable[[], str]]] = queue.SimpleQueue()
        self._streams: set[tuple[str, str]] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state logs", daemon=True)
        self._thread.start()

    def add(
        self, machine: Mapping[str, Any], execution: Mapping[str, Any], event: Mapping[str, Any]
    ) -> None:
        """Write an event if the state machine's LoggingConfiguration says so.

        Args:
            machine: The state machine, as DescribeStateMachine tells of it.
            execution: The execution, as DescribeExecution tells of it.
            event: The event, as GetExecutionHistory tells of it.
        """
        configuration = machine.get("loggingConfiguration", {})
        if not _is_written(configuration.get("level", "OFF"), event["type"]):
            return
        began = datetime.fromisoformat(execution["startDate"])
        stream = f"states/{machine['name']}/{began:%Y-%m-%d-%H-%M}/00000000"
        data = bool(configuration.get("includeExecutionData"))
        arn = execution["executionArn"]
        for destination in configuration.get("destinations", []):
            group_arn = destination["cloudWatchLogsLogGroup"]["logGroupArn"]
            group = group_arn.split(":log-group:")[1].removesuffix(":*")
            # Made when it is written: a task's event gets its parameters after it is added.
            self._queue.put((group, stream, partial(_text, event, arn, data=data)))

    def close(self) -> None:
        """Write what is left and end."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._end.wait(_INTERVAL_SECONDS)
            found: dict[tuple[str, str], list[str]] = defaultdict(list)
            while not self._queue.empty():
                group, stream, text = self._queue.get()
                found[group, stream].append(text())
            for (group, stream), texts in found.items():
                self._write(group, stream, texts)

    def _write(self, group: str, stream: str, texts: list[str]) -> None:
        logs = self._service.client("logs")
        now = round(datetime.now(UTC).timestamp() * 1000)
        where = {"logGroupName": group, "logStreamName": stream}
        try:
            if (group, stream) not in self._streams:
                with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
                    logs.create_log_stream(**where)
                self._streams.add((group, stream))
            for batch in batches(texts):
                events = [{"timestamp": now, "message": text} for text in batch]
                logs.put_log_events(**where, logEvents=events)
        except (ClientError, BotoCoreError) as error:
            self._streams.discard((group, stream))  # its group may be made again
            _log.warning("CloudWatch Logs takes nothing of %s: %s", stream, error)


def _is_written(level: str, kind: str) -> bool:
    """Tell whether a level has events of a kind (guide, "Event types by log level")."""
    if level == "ALL":
        return True
    if level == "ERROR":
        return kind.endswith(_ERROR) or kind == "FailStateEntered"
    return level == "FATAL" and kind in _FATAL


def _text(event: Mapping[str, Any], execution_arn: str, *, data: bool) -> str:
    details: dict[str, Any] = {}
    for member, value in event.items():
        if member.endswith("EventDetails"):
            details = {key: text for key, text in value.items() if data or key not in _DATA}
    for member in ("input", "output"):
        if member in details:
            details[f"{member}Details"] = {"truncated": False}
    moment = datetime.fromisoformat(event["timestamp"])
    shown = {
        "id": str(event["id"]),
        "type": event["type"],
        "details": details,
        "redrive_count": "0",
        "previous_event_id": str(event["previousEventId"]),
        "event_timestamp": str(round(moment.timestamp() * 1000)),
        "execution_arn": execution_arn,
    }
    return json.dumps(shown)
