"""What executions of state machines write to CloudWatch Logs.

AWS: "Using CloudWatch Logs to log execution history in Step Functions" in the AWS Step Functions
Developer Guide.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from local_aws.sagemaker.core.logs import LogStream
from local_aws.sagemaker.core.loops import attempt, repeat
from local_aws.sagemaker.core.service import Service

_INTERVAL_SECONDS = 0.3
_FATAL = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
_ERROR = ("Aborted", "Failed", "TimedOut")  # how the types of such events end
_DATA = ("input", "output", "parameters")

_STREAMS = 1000  # that are remembered when nothing of them waits


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
        self._streams: dict[tuple[str, str], LogStream] = {}  # by group and name
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
        repeat("writing logs of executions", _INTERVAL_SECONDS, self._end, self._write)
        attempt("writing logs of executions", self._write, True)

    def _write(self, last: bool = False) -> None:
        found: dict[tuple[str, str], list[str]] = defaultdict(list)

        def take(group: str, stream: str, text: Callable[[], str]) -> None:
            found[group, stream].append(text())

        while not self._queue.empty():
            attempt("writing an event of an execution", take, *self._queue.get())
        for (group, name), texts in found.items():
            stream = self._streams.setdefault(
                (group, name), LogStream(self._service, group, name, makes_group=False)
            )
            stream.add(texts)
        for stream in self._streams.values():
            stream.send(last=last)
        if len(self._streams) > _STREAMS:
            self._streams = {key: each for key, each in self._streams.items() if each.waits}


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
