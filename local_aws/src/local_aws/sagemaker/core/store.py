"""Resources in SQLite: one JSON body per resource, updated atomically."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
create table if not exists resources (
    id integer primary key autoincrement,
    kind text not null,
    name text not null,
    arn text not null,
    body text not null,
    unique (kind, name)
);
create unique index if not exists resources_by_arn on resources (kind, arn);
create table if not exists events (
    id integer primary key autoincrement,
    detail_type text not null,
    detail text not null,
    resources text not null
);
"""


class AlreadyExists(KeyError):  # noqa: N818 - named as the API speaks of it; part of the contract
    """A resource of this kind and name is there already."""


class Store:
    """All state of the service.

    One connection behind one re-entrant lock: statements take microseconds, and it makes every
    public method atomic. A commit survives the end of the process at any instant (WAL); only a
    power failure may take the last commits back.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several calls one atomic change; may be nested.

        An exception that leaves the outermost block undoes everything; one that is caught inside it
        does not.
        """
        with self._lock:
            if self._depth == 0:
                self._db.execute("begin immediate")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("rollback")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("commit")

    def insert(self, kind: str, name: str, arn: str, body: dict[str, Any]) -> None:
        """Add a resource; sets its CreationTime and LastModifiedTime unless the body has them.

        Raises:
            AlreadyExists: The kind has a resource of this name.
        """
        now = time.time()
        body = {"CreationTime": now, "LastModifiedTime": now, **body}
        with self._lock:
            try:
                self._db.execute(
                    "insert into resources (kind, name, arn, body) values (?, ?, ?, ?)",
                    (kind, name, arn, json.dumps(body)),
                )
            except sqlite3.IntegrityError as error:
                raise AlreadyExists(arn) from error

    def get(self, kind: str, name_or_arn: str) -> dict[str, Any] | None:
        """Return a resource's body, or None."""
        with self._lock:
            row = self._db.execute(
                "select body from resources where kind = ?1 and (name = ?2 or arn = ?2)",
                (kind, name_or_arn),
            ).fetchone()
        return _load(row[0]) if row else None

    def update(self, kind: str, name_or_arn: str, **fields: object) -> dict[str, Any]:
        """Merge fields into a resource's body and set its LastModifiedTime.

        Args:
            kind: Kind of the resource.
            name_or_arn: Its name or ARN.
            **fields: Top-level members to replace; None removes the member.

        Returns:
            The new body.

        Raises:
            KeyError: There is no such resource.
        """
        with self.transaction():
            body = self.get(kind, name_or_arn)
            if body is None:
                raise KeyError(f"{kind} {name_or_arn}")
            body |= {"LastModifiedTime": time.time(), **fields}
            body = {key: value for key, value in body.items() if value is not None}
            self._db.execute(
                "update resources set body = ?3 where kind = ?1 and (name = ?2 or arn = ?2)",
                (kind, name_or_arn, json.dumps(body)),
            )
        return body

    def delete(self, kind: str, name_or_arn: str) -> bool:
        """Remove a resource; tell whether it was there."""
        with self._lock:
            cursor = self._db.execute(
                "delete from resources where kind = ?1 and (name = ?2 or arn = ?2)",
                (kind, name_or_arn),
            )
        return cursor.rowcount > 0

    def queue_event(self, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        """Write down an event that is to be sent, in the transaction of the change it tells of."""
        with self._lock:
            self._db.execute(
                "insert into events (detail_type, detail, resources) values (?, ?, ?)",
                (detail_type, json.dumps(detail), json.dumps(resources)),
            )

    def next_event(self, after: int = 0) -> tuple[int, str, dict[str, Any], list[str]] | None:
        """Return id, detail type, detail and resources of the oldest event not yet sent.

        Args:
            after: Id of the event after which to look.
        """
        with self._lock:
            row = self._db.execute(
                "select id, detail_type, detail, resources from events where id > ? "
                "order by id limit 1",
                (after,),
            ).fetchone()
        return (row[0], row[1], _load(row[2]), json.loads(row[3])) if row else None

    def event_sent(self, event_id: int) -> None:
        """Forget an event that was sent."""
        with self._lock:
            self._db.execute("delete from events where id = ?", (event_id,))

    def list_under(self, kind: str, prefix: str) -> list[dict[str, Any]]:
        """Return the bodies of a kind, newest first, whose names begin with `<prefix>/`."""
        with self._lock:
            rows = self._db.execute(
                "select body from resources where kind = ? and name > ? and name < ? "
                "order by id desc",
                (kind, f"{prefix}/", f"{prefix}0"),  # "0" comes after "/"
            ).fetchall()
        return [_load(row[0]) for row in rows]

    def list(self, kind: str, **equals: str | int | float | None) -> list[dict[str, Any]]:
        """Return the bodies of a kind, newest first, whose members equal the given values.

        A value of None selects the bodies that lack the member.
        """
        sql = "select body from resources where kind = ?"
        parameters: list[str | int | float | None] = [kind]
        for member, value in equals.items():
            sql += " and json_extract(body, ?) is ?"
            parameters += [f'$."{member}"', value]
        with self._lock:
            rows = self._db.execute(sql + " order by id desc", parameters).fetchall()
        return [_load(row[0]) for row in rows]


def _load(text: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(text)
    return body
