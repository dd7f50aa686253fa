"""The items of DynamoDB, kept by row."""

from __future__ import annotations

import json
import uuid
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from local_aws.host.internals import module
from local_aws.host.replacing import replaced
from local_aws.host.rows import Rows, State


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
