"""The state of ministack's services: which of it is used, and how it gets to disk.

ministack saves at a clean stop only, to files, all but S3's objects, which it writes at once. Each
of its services keeps its state in module-level stores of two classes. Here it goes to SQLite: a
service's state whole when it has changed, and what grows in it by row (`growing`).
"""

from __future__ import annotations

import copy
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from local_aws.host import layers
from local_aws.host.growing import Growing
from local_aws.host.internals import module
from local_aws.host.rows import Statement

_SHARED = (
    *("athena", "cloudformation", "cloudwatch", "cloudwatch_logs", "eventbridge", "glue", "iam"),
    *("s3", "scheduler", "secretsmanager", "sns", "sqs", "ssm", "stepfunctions"),
)
"""Services whose state is just their stores: what is in them is written without being copied
first. Others change their copies before they hand them over."""

_SCHEMA = "create table if not exists services (name text primary key, state text not null)"

_BESIDE_STORES = ("dsql",)
"""Services that do not keep their state in stores, so that their use is not seen."""


class MinistackStores:
    """Notes which stores are used, and writes the services whose state has changed."""

    def __init__(self, folder: Path) -> None:
        """Begin to take notes.

        Args:
            folder: Where the state is kept, and where ministack would look for it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            folder / "services.sqlite", check_same_thread=False, isolation_level=None
        )
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.execute("pragma wal_autocheckpoint = 16384")  # pages; it waits for the disk
        self._db.execute(_SCHEMA)
        self._generation = 0
        self._used: dict[int, int] = {}  # id of a store to the generation of its last use
        self._clean: dict[int, int] = {}  # id to the generation before which its uses are on disk
        self._owners: dict[int, str | None] = {}
        self._written: dict[str, int] = {}
        self._with_bytes: set[str] = set()
        self._reading: int | None = None  # the thread that reads stores to save them
        self._share = False
        self._orphans: Callable[[], None] | None = None
        self._watch()
        self._prune_last()
        self._growing = Growing(self._db)
        self._replace_files()

    def advance(self) -> int:
        """Begin a new generation and return its number."""
        self._generation += 1
        return self._generation

    def save_used(self, floor: int, *, everything: bool) -> None:
        """Write the services whose state has changed, all of them or none.

        Args:
            floor: Uses before this generation are not looked at again.
            everything: Whether to look at all services, not only at those that were used.

        Raises:
            OSError: The state could not be written.
        """
        used = [
            store
            for store, generation in list(self._used.items())
            if everything or generation >= self._clean.get(store, 0)
        ]
        services = {self._owner(store) for store in used} | {*_BESIDE_STORES}
        states = module("app")._build_persistence_save_dict()
        self._reading = threading.get_ident()
        try:
            self._growing.collect()
        finally:
            self._reading = None
        rows = self._growing.rows.take()  # before the states, which then have all their owners
        try:
            changed = {
                name: text
                for name, read in states.items()
                if name in services
                and (text := self._text(name, read)) is not None
                and self._written.get(name) != hash(text)
            }
            if changed or rows:
                self._write(changed, rows)
        except BaseException:
            self._growing.rows.give_back(rows)
            raise
        self._clean.update(dict.fromkeys(used, floor))

    def _write(self, changed: dict[str, str], rows: Sequence[Statement]) -> None:
        try:
            self._db.execute("begin immediate")
            try:
                for sql, values in rows:
                    self._db.execute(sql, values)
                self._db.executemany(
                    "insert or replace into services values (?, ?)", changed.items()
                )
                self._growing.forget_orphans(changed)
                self._db.execute("commit")
            except BaseException:
                self._db.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise OSError(f"the state cannot be written: {error}") from error
        self._written |= {name: hash(text) for name, text in changed.items()}
        if "lambda" in changed and self._orphans:
            self._orphans()
            self._orphans = None

    def _load(self, service: str) -> Any:  # noqa: ANN401 - any service's own structures
        """Return the state of a service; None is no state."""
        row = self._db.execute("select state from services where name = ?", (service,)).fetchone()
        if row is None:
            return None
        state = json.loads(row[0], object_hook=module("core.persistence")._json_object_hook)
        self._growing.restore(service, state)
        return state

    def _text(self, name: str, read: Callable[[], Any]) -> str | None:
        """Return a service's state as JSON; None is no state."""
        encode = module("core.persistence")._json_default

        def default(value: object) -> object:
            if self._share and isinstance(value, bytes | bytearray):
                raise _NotShareable
            return encode(value)

        for attempt in range(20):
            self._reading = threading.get_ident()
            self._share = name in _SHARED and name not in self._with_bytes
            try:
                state = read()
                return None if state is None else json.dumps(state, default=default)
            except _NotShareable:
                # Other threads may run while Python code encodes bytes, and change a list in which
                # the encoder is.
                self._with_bytes.add(name)
            except RuntimeError:  # a dictionary changed its size during iteration
                if attempt == 19:
                    raise
                time.sleep(0.01)
            finally:
                self._reading = None
                self._share = False
        raise AssertionError

    def _owner(self, store: int) -> str | None:
        """Return the service that a store belongs to; None for one that is in no module."""
        if store not in self._owners:
            responses = module("core.responses")
            kinds = (responses.AccountScopedDict, responses.AccountRegionScopedDict)
            for name, module_name in module("app")._state_map.items():
                found = sys.modules.get(f"ministack.services.{module_name}")
                for value in list(vars(found).values()) if found else ():
                    if isinstance(value, kinds):
                        self._owners[id(value)] = name
            self._owners.setdefault(store, None)
        return self._owners[store]

    def _replace_files(self) -> None:
        """Load state from SQLite, and leave it to `save_used` to write it.

        Here: a change is on disk before it is answered; ministack saves at a clean stop only.
        """
        app, persistence = module("app"), module("core.persistence")
        app.load_state = persistence.load_state = self._load
        app.save_all = lambda _states: None

    def _watch(self) -> None:
        """Let stores note their use: all their methods go by their one attribute.

        Here: only what may have changed is read to be saved.
        """
        responses = module("core.responses")
        for kind in (responses.AccountScopedDict, responses.AccountRegionScopedDict):
            kind._data, kind.__deepcopy__ = self._watched(kind)

    def _watched(self, kind: Any) -> tuple[Any, Any]:  # noqa: ANN401 - ministack has no types
        """Return what takes the place of the attribute of a class of stores, and of its copying."""
        slot = kind._data
        stores = self

        def get(self: Any) -> dict[Any, Any]:  # noqa: ANN401
            if stores._reading != threading.get_ident():
                stores._used[id(self)] = stores._generation
            data: dict[Any, Any] = slot.__get__(self)
            return data

        def deep_copy(self: Any, memo: dict[int, Any]) -> Any:  # noqa: ANN401
            reads = stores._reading == threading.get_ident() and stores._share
            made = kind()
            slot.__set__(made, dict(get(self)) if reads else copy.deepcopy(get(self), memo))
            return made

        return property(get, slot.__set__), deep_copy

    def _prune_last(self) -> None:
        """Remove the former code of functions and layers when no state names it, not before.

        Here: a process that is killed in between finds the code that its state names.
        """
        functions = module("services.lambda_svc")
        prune = functions._prune_orphan_code_blobs

        def later(referenced: set[str]) -> None:
            named = referenced | layers.archives()
            self._orphans = lambda: prune(named)

        functions._prune_orphan_code_blobs = later


class _NotShareable(Exception):  # noqa: N818 - it is caught where it is raised
    """A state holds what cannot be encoded while others use it."""
