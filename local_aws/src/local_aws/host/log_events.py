"""The events of CloudWatch Logs, kept by row."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from local_aws.host.internals import module
from local_aws.host.replacing import replaced
from local_aws.host.rows import Rows, State

_OWNER = "_rows"
"""Member of a log stream that names the owner of its events' rows."""

_SIZE = "_size"
"""Member of a log stream: how many characters its events have."""

_DERIVED = {
    *("events", "uploadSequenceToken", "firstEventTimestamp", "lastEventTimestamp"),
    *("lastIngestionTime", _SIZE),
}
"""Members of a log stream that follow from its events."""


class LogEvents:
    """The events of CloudWatch Logs' streams: each row has those of one call."""

    service = "cloudwatch_logs"

    def __init__(self, rows: Rows) -> None:
        """Let events be kept by row, and let nothing but a query look at all of them.

        Here: a call takes as long with 100,000 events as without.

        Args:
            rows: Where to keep them.
        """
        self._rows = rows
        logs = module("services.cloudwatch_logs")
        logs.get_state = replaced(
            logs.get_state,
            {"copy.deepcopy(_log_groups)": "_without_events(_log_groups)"},
            _without_events=self._without_events,
        )
        size = 'sum(len(e.get("message", "")) for e in s["events"])'
        # AWS: CloudWatch Logs API Reference, LogStream: "always reported as zero" since 2019.
        logs._describe_log_streams = replaced(logs._describe_log_streams, {size: "0"})
        logs._describe_log_groups = replaced(
            logs._describe_log_groups, {size: f's.get("{_SIZE}", 0)'}
        )
        # A second copy of each event, which `_find_record` makes when it is asked for.
        logs._log_records = _NoRecords()
        self._append, logs._append_log_events = logs._append_log_events, self.append
        self._get_record, logs._get_log_record = logs._get_log_record, self._find_record

    def append(self, stream: State, events: list[State]) -> None:
        """Append events to a stream; ministack's `_append_log_events`."""
        self._append(stream, events)
        if events:
            stream[_SIZE] = stream.get(_SIZE, 0) + _size(events)
            self._rows.add(self.service, stream.setdefault(_OWNER, uuid.uuid4().hex), events)

    def restore(self, state: State) -> None:
        """Put events back into a state that was read."""
        found = self._rows.read(self.service)
        for group in state["log_groups"]._data.values():
            for stream in group["streams"].values():
                batches = [events for _, events in found.get(stream.get(_OWNER, ""), [])]
                former = stream.get("events")  # of a folder of before events had rows
                if former:
                    stream[_OWNER] = uuid.uuid4().hex
                    self._rows.add(self.service, stream[_OWNER], former)
                    batches = [former]
                events = [event for batch in batches for event in batch]
                times = [event["timestamp"] for event in events]
                ingested = [event["ingestionTime"] for event in events]
                stream[_SIZE] = _size(events)
                stream.update(
                    events=events,
                    uploadSequenceToken=str(len(batches) + 1),
                    firstEventTimestamp=min(times, default=None),
                    lastEventTimestamp=max(times, default=None),
                    lastIngestionTime=max(ingested, default=None),
                )
        state.pop("log_records", None)

    def owners(self) -> set[str]:
        """Return the owners of rows that are there."""
        groups = list(module("services.cloudwatch_logs")._log_groups._data.values())
        streams = [stream for group in groups for stream in list(group["streams"].values())]
        return {stream[_OWNER] for stream in streams if _OWNER in stream}

    def _without_events(self, groups: Any) -> Any:  # noqa: ANN401 - ministack has no types
        made = type(groups)()
        for key, group in list(groups._data.items()):
            streams = {
                name: {key: value for key, value in stream.items() if key not in _DERIVED}
                for name, stream in list(group["streams"].items())
            }
            made._data[key] = {**group, "streams": streams}
        return made

    def _find_record(self, data: State) -> object:
        logs = module("services.cloudwatch_logs")
        pointer = data.get("logRecordPointer")
        for name, group in logs._log_groups.items():
            for stream_name, stream in list(group["streams"].items()):
                for event in stream["events"]:
                    if pointer and event.get("eventId") == pointer:
                        record = logs._build_log_record(
                            ptr=pointer,
                            timestamp_ms=event["timestamp"],
                            message=event["message"],
                            log_group=name,
                            log_stream=stream_name,
                        )
                        return logs.json_response({"logRecord": logs._public_log_record(record)})
        return self._get_record(data)


def _size(events: Iterable[State]) -> int:
    return sum(len(event.get("message", "")) for event in events)


class _NoRecords:
    """Stands for the records of all log events, and has none."""

    def __setitem__(self, key: str, value: object) -> None:
        """Forget it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {}

    def get(self, key: str) -> None:
        """Return None: there are none."""

    def items(self) -> list[tuple[str, Any]]:
        """Return nothing: there are none."""
        return []

    def update(self, other: Mapping[str, Any]) -> None:
        """Forget them."""

    def clear(self) -> None:
        """Do nothing."""
