"""Keeps state on disk soon after it has changed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

SAVE_SECONDS = 0.5
"""How long a change may wait until it is on disk."""


class Saver:
    """Saves the state of services, each when it has changed.

    ministack by itself saves at a clean stop only, all but S3's objects, which it writes at once.
    """

    def __init__(
        self,
        states: Callable[[], Mapping[str, Callable[[], Any]]],
        save: Callable[[str, Any], None],
        default: Callable[[Any], Any],
    ) -> None:
        """Prepare to save; `start` starts.

        Args:
            states: Returns what reads each service's state, by name; None is no state.
            save: Writes the state of a service, atomically.
            default: Encodes what JSON does not know.
        """
        self._states = states
        self._save = save
        self._default = default
        self._changed = threading.Event()
        self._stopping = False
        self._saved: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)

    def start(self) -> None:
        """Start to save."""
        self._thread.start()

    def changed(self) -> None:
        """Note that there is something to save."""
        self._changed.set()

    def stop(self) -> None:
        """Save a last time and end."""
        self._stopping = True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._changed.wait()
            if not self._stopping:
                time.sleep(SAVE_SECONDS)  # what changes together is saved together
            self._changed.clear()
            for name, read in self._states().items():
                state = _steady(read)
                digest = hash(json.dumps(state, default=self._default))
                if state is not None and self._saved.get(name) != digest:
                    self._save(name, state)
                    self._saved[name] = digest


def _steady(read: Callable[[], Any]) -> Any:  # noqa: ANN401 - any service's own structures
    """Read a service's state, again when a request has changed it meanwhile."""
    for _ in range(20):
        try:
            return read()
        except RuntimeError:  # a dictionary changed its size during iteration
            time.sleep(0.01)
    return read()
