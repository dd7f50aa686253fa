"""What grows in ministack's services, written row by row: log events, items, data points.

A service's state is written whole when it has changed, which is cheap as long as it is small. What
clients add to without end is therefore no part of that state: each addition is one row, written
with the state in one transaction. All rows have an owner, such as a log stream; those of an owner
that is gone are removed.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from local_aws.host.internals import module, replaced

_SCHEMA = """
create table if not exists rows (
    id integer primary key,
    service text not null,
    owner text not null,
    name text,
    value text not null
);
create unique index if not exists rows_by_name on rows (service, owner, name);
"""

_OWNER = "_rows"
"""Member of a log stream that names the owner of its events' rows."""

_SIZE = "_size"
"""Member of a log stream: how many characters its events have."""

_DERIVED = {
    *("events", "uploadSequenceToken", "firstEventTimestamp", "lastEventTimestamp"),
    *("lastIngestionTime", _SIZE),
}
"""Members of a log stream that follow from its events."""

_EVICTION_SECONDS = 3600.0

State = dict[str, Any]
Statement = tuple[str, tuple[Any, ...]]
"""SQL and its values."""


class Rows:
    """Rows that are to be written with the next save, and those that are there.

    A row with a name takes the place of the row of that name; others are added.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        """Make the table.

        Args:
            database: Where the rows are.
        """
        database.executescript(_SCHEMA)
        self._database = database
        self._lock = threading.Lock()
        self._waiting: list[Statement] = []
        self._owners: dict[str, set[str]] = defaultdict(set)  # by service

    def add(self, service: str, owner: str, value: object, name: str | None = None) -> None:
        """Write a row with the next save; the value is taken as it is now."""
        self._do(
            "insert into rows (service, owner, name, value) values (?, ?, ?, ?) "
            "on conflict (service, owner, name) do update set value = excluded.value",
            (service, owner, name, json.dumps(value)),
        )
        with self._lock:
            self._owners[service].add(owner)

    def remove(self, service: str, owner: str, name: str) -> None:
        """Remove a row with the next save."""
        self._do(
            "delete from rows where service = ? and owner = ? and name = ?", (service, owner, name)
        )

    def clear(self, service: str, owner: str) -> None:
        """Remove all rows of an owner with the next save."""
        self._do("delete from rows where service = ? and owner = ?", (service, owner))

    def take(self) -> list[Statement]:
        """Return what is to be written and forget it."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def give_back(self, taken: list[Statement]) -> None:
        """Take up what could not be written."""
        with self._lock:
            self._waiting = taken + self._waiting

    def forget_all_but(self, service: str, owners: Iterable[str]) -> None:
        """Remove the rows of owners that are gone, in the present transaction."""
        with self._lock:
            gone = self._owners[service].difference(owners)
            self._owners[service] -= gone
        self._database.executemany(
            "delete from rows where service = ? and owner = ?",
            [(service, owner) for owner in gone],
        )

    def read(self, service: str) -> dict[str, list[tuple[str | None, Any]]]:
        """Return the names and values of a service's rows by owner, oldest first."""
        found: dict[str, list[tuple[str | None, Any]]] = defaultdict(list)
        # By their number: with the index they would have to be sorted.
        rows = self._database.execute(
            "select owner, name, value from rows not indexed where service = ? order by id",
            (service,),
        ).fetchall()
        # One call of the parser is several times as fast as one for each row.
        values = json.loads(f"[{','.join(value for *_, value in rows)}]")
        for (owner, name, _), value in zip(rows, values, strict=True):
            found[owner].append((name, value))
        with self._lock:
            self._owners[service].update(found)
        return found

    def _do(self, *statement: Any) -> None:  # noqa: ANN401 - what SQLite takes
        with self._lock:
            self._waiting.append(statement)


class Log:
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
                name: {member: stream[member] for member in stream.keys() - _DERIVED}
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


class Items:
    """The items of DynamoDB's tables: a row each."""

    service = "dynamodb"

    def __init__(self, rows: Rows) -> None:
        """Let items be kept by row, and a page of a scan look at its own only.

        Here: a call takes as long with 10,000 items as without.

        Args:
            rows: Where to keep them.
        """
        self._rows = rows
        dynamodb = module("services.dynamodb")
        left_out = ("items", "ItemCount", "TableSizeBytes", dynamodb._INDEX_MEMBERS)
        dynamodb.get_state = replaced(
            dynamodb.get_state,
            {"k != _INDEX_MEMBERS": "k not in _kept_by_row"},
            _kept_by_row=left_out,
        )
        self._set, dynamodb._set_item = dynamodb._set_item, self.put
        self._remove, dynamodb._remove_item = dynamodb._remove_item, self.remove
        self._recount, dynamodb._items_replaced = dynamodb._items_replaced, self.replace
        self._copy, dynamodb._create_replica = dynamodb._create_replica, self._replicate
        self._orders: dict[str, list[str]] = {}  # partition keys by table, sorted
        dynamodb._scan = replaced(
            dynamodb._scan,
            {
                """
    for pk in sorted(table["items"].keys()):
        for sk in sorted(table["items"][pk].keys()):
            all_items.append(table["items"][pk][sk])
""": "\n    all_items = _ordered(table, data)\n"
            },
            _ordered=self.ordered,
        )

    def put(self, table: State, partition: str, sort: str, item: State) -> object:
        """Store an item; ministack's `_set_item`."""
        before = self._set(table, partition, sort, item)
        order = self._orders.get(_id(table))
        if order is not None:
            at = bisect_left(order, partition)
            if order[at : at + 1] != [partition]:
                order.insert(at, partition)
        self._rows.add(self.service, _id(table), item, json.dumps([partition, sort]))
        return before

    def remove(self, table: State, partition: str, sort: str) -> object:
        """Remove an item; ministack's `_remove_item`."""
        before = self._remove(table, partition, sort)
        order = self._orders.get(_id(table))
        if order is not None and before is not None and partition not in table["items"]:
            del order[bisect_left(order, partition)]
        self._rows.remove(self.service, _id(table), json.dumps([partition, sort]))
        return before

    def replace(self, table: State) -> None:
        """Take note that a table has other items now; ministack's `_items_replaced`."""
        self._recount(table)
        self._orders.pop(_id(table), None)
        self._rows.clear(self.service, _id(table))
        for partition, items in table["items"].items():
            for sort, item in items.items():
                self._rows.add(self.service, _id(table), item, json.dumps([partition, sort]))

    def ordered(self, table: State, request: Mapping[str, Any]) -> list[State]:
        """Return a table's items in the order of a scan, all of which the request may need.

        Args:
            table: The table.
            request: The Scan request.
        """
        items = table["items"]
        order = self._orders.get(_id(table))
        if order is None:
            order = self._orders[_id(table)] = sorted(items)
        limit = request.get("Limit")
        if not limit or "IndexName" in request or "TotalSegments" in request:
            return [
                items[partition][sort] for partition in order for sort in sorted(items[partition])
            ]
        key = (request.get("ExclusiveStartKey") or {}).get(table["pk_name"])
        start = module("services.dynamodb")._extract_key_val(key)
        found: list[State] = []
        further = 0  # those before the start in its partition are not counted
        for at in range(bisect_left(order, start), len(order)):
            partition = order[at]
            of_partition = [items[partition][sort] for sort in sorted(items[partition])]
            found += of_partition
            further += len(of_partition) if partition != start else 0
            if further > limit:
                break
        return found

    def restore(self, state: State) -> None:
        """Put items back into a state that was read."""
        found = self._rows.read(self.service)
        for table in state["tables"]._data.values():
            if "items" in table:  # of a folder of before items had rows
                self.replace(table)
                continue
            items: dict[str, State] = defaultdict(dict)
            for name, item in found.get(_id(table), []):
                partition, sort = json.loads(str(name))
                items[partition][sort] = item
            table["items"] = items
            self._recount(table)

    def owners(self) -> set[str]:
        """Return the owners of rows that are there."""
        return {_id(table) for table in list(module("services.dynamodb")._tables._data.values())}

    def _replicate(self, name: str, table: State, region: str) -> None:
        self._copy(name, table, region)
        account = module("core.responses").get_account_id()
        self.replace(module("services.dynamodb")._tables.get_scoped(account, region, name))


def _id(table: State) -> str:
    """Return the owner of a table's rows; tables of an old folder may have no id."""
    found: str = table.setdefault("TableId", str(uuid.uuid4()))
    return found


class Points:
    """The data points of CloudWatch's metrics: a row each."""

    service = "cloudwatch"

    def __init__(self, rows: Rows) -> None:
        """Let data points be kept by row, and old ones be looked for now and then only.

        Here: a call takes as long with 100,000 data points as without.

        Args:
            rows: Where to keep them.
        """
        self._rows = rows
        self._evict_next = 0.0
        cloudwatch = module("services.cloudwatch")
        cloudwatch.get_state = replaced(
            cloudwatch.get_state, {"copy.deepcopy(_metrics)": "type(_metrics)()"}
        )
        cloudwatch._metric_bucket = self.bucket
        cloudwatch._evict_old_metrics = self.evict

    def bucket(self, key: tuple[str, str, str]) -> list[State]:
        """Return the list to which points of a metric are appended; their `_metric_bucket`."""
        responses = module("core.responses")
        owner = json.dumps([responses.get_account_id(), responses.get_region(), *key])
        points: list[State] = module("services.cloudwatch")._metrics.setdefault(
            key, _Points(self._rows, owner)
        )
        return points

    def evict(self) -> None:
        """Forget old points, but not with each request; ministack's `_evict_old_metrics`."""
        now = time.time()
        if now < self._evict_next:
            return
        self._evict_next = now + _EVICTION_SECONDS
        cloudwatch = module("services.cloudwatch")
        oldest = now - cloudwatch.TWO_WEEKS_SECONDS
        for key, points in cloudwatch._metrics.all_items():
            kept = [point for point in points if point["Timestamp"] >= oldest]
            if len(kept) == len(points):
                continue
            account, region, names = key
            owner = json.dumps([account, region, *names])
            self._rows.clear(self.service, owner)
            if kept:
                young = _Points(self._rows, owner, kept)
                cloudwatch._metrics.set_scoped(account, region, names, young)
            else:
                cloudwatch._metrics.pop_scoped(account, region, names)

    def restore(self, state: State) -> None:
        """Put data points back into a state that was read."""
        former = state["metrics"]._data  # of a folder of before points had rows
        for key, points in list(former.items()):
            account, region, names = key
            former[key] = _Points(self._rows, json.dumps([account, region, *names]), points)
        for owner, rows in self._rows.read(self.service).items():
            account, region, *names = json.loads(owner)
            points = _Points(self._rows, owner)
            list.extend(points, (point for _, point in rows))
            former[(account, region, tuple(names))] = points


class _Points(list[State]):
    """Data points of a metric; what is appended gets a row."""

    def __init__(self, rows: Rows, owner: str, points: Iterable[State] = ()) -> None:
        super().__init__()
        self._rows, self._owner = rows, owner
        for point in points:
            self.append(point)

    def append(self, point: State) -> None:
        self._rows.add(Points.service, self._owner, point)
        super().append(point)


class RowsOfServices:
    """All that is kept by row, whichever the service.

    Attributes:
        rows: The rows.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        """Let the services' growing parts be kept by row.

        Args:
            database: Where the rows are.
        """
        self.rows = Rows(database)
        self._owned: Mapping[str, Log | Items] = {
            Log.service: Log(self.rows),
            Items.service: Items(self.rows),
        }
        self._kept = {**self._owned, Points.service: Points(self.rows)}

    def restore(self, service: str, state: State) -> None:
        """Put back what is kept by row into a service's state that was read."""
        if service in self._kept:
            self._kept[service].restore(state)

    def forget_orphans(self, services: Iterable[str]) -> None:
        """Remove rows whose owners are gone, in the present transaction.

        Args:
            services: Those whose state is written.
        """
        for service in services:
            if service in self._owned:
                self.rows.forget_all_but(service, self._owned[service].owners())
