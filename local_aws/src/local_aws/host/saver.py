"""Keeps state on disk: a change is there before the request that made it is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from local_aws.sagemaker.core.loops import repeat

SWEEP_SECONDS = 2.0
"""How long a change that no request has asked for, such as a schedule's, may wait for the disk."""


class Stores(Protocol):
    """What holds the state of services; their use is counted in generations."""

    def advance(self) -> int:
        """Begin a new generation and return its number."""

    def save_used(self, floor: int, *, everything: bool) -> None:
        """Write the services that were used, those before generation `floor` for the last time."""


class Saver:
    """Saves what requests have changed, several at once where they end together.

    A store that was used is read once more after each request that ran meanwhile: what a request
    has got out of it may be changed until the request ends.
    """

    def __init__(self, stores: Stores) -> None:
        """Prepare; `start` starts to save what changes outside of requests."""
        self._stores = stores
        self._counting = threading.Lock()
        self._saving = threading.Lock()
        self._asked = 0
        self._saved = 0
        self._running: dict[object, int] = {}
        self._generation = stores.advance()
        self._changed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sweep, name="saver", daemon=True)

    @property
    def waiting(self) -> int:
        """How many calls of `save` wait for the disk."""
        with self._counting:
            return self._asked - self._saved

    def start(self) -> None:
        """Start to save what changes outside of requests, once the state on disk was read."""
        self._thread.start()

    def changed(self) -> None:
        """Note that something goes on that no answer waits for."""
        self._changed = True

    @contextmanager
    def request(self) -> Iterator[None]:
        """Enter a context whose code may change state; `save` is called after it."""
        key = object()
        with self._counting:
            self._running[key] = self._generation
        try:
            yield
        finally:
            with self._counting:
                del self._running[key]

    def save(self, *, everything: bool = False) -> None:
        """Return when all changes before this call are on disk.

        They survive the end of the process at any instant; a power failure may take them back.

        Args:
            everything: Whether to read services too whose stores nobody seems to have used.

        Raises:
            OSError: They could not be written.
        """
        with self._counting:
            self._asked += 1
            mine = self._asked
        with self._saving:
            if self._saved >= mine and not everything:
                return  # another call has begun to save after this one was made
            with self._counting:
                covers = self._asked
                self._generation = self._stores.advance()
                floor = min(self._running.values(), default=self._generation)
            self._stores.save_used(floor, everything=everything)
            self._saved = covers

    def stop(self) -> None:
        """Save everything a last time and end; what was never started has nothing to save."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
            self.save(everything=True)

    def _sweep(self) -> None:
        repeat("saving the state", SWEEP_SECONDS, self._stopping, self._save_changes)

    def _save_changes(self) -> None:
        # What runs by itself may hold what it changes for long, without another use of a store.
        everything, self._changed = self._changed, False
        try:
            self.save(everything=everything)
        except BaseException:
            self._changed = self._changed or everything
            raise
