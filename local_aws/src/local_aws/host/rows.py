"""Rows of what grows in ministack's services: log events, items, data points, executions.

A service's state is written whole when it has changed, which is cheap as long as it is small. What
clients add to without end is therefore no part of that state: each addition is one row, written
with the state in one transaction. All rows have an owner, such as a log stream; those of an owner
that is gone are removed.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

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
        self.add_text(service, owner, json.dumps(value), name)

    def add_text(self, service: str, owner: str, text: str, name: str | None = None) -> None:
        """Write a row with the next save, whose value is JSON already."""
        self._do(
            "insert into rows (service, owner, name, value) values (?, ?, ?, ?) "
            "on conflict (service, owner, name) do update set value = excluded.value",
            (service, owner, name, text),
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
