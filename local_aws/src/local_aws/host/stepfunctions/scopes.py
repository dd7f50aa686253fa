"""What ends as one in a state machine's execution, and what waits no longer than that."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_POLL_SECONDS = 0.05


class EndedError(BaseException):
    """Nobody waits for what runs here; no Exception, so that no state takes it for its failure."""


class Scope:
    """What ends as one: an execution, the branches of a state, an attempt with a time limit.

    Attributes:
        execution: The execution that it belongs to.
        failure: What the first of several branches failed with.
    """

    def __init__(self, execution: dict[str, Any], parent: Scope | None = None) -> None:
        self.execution = execution
        self.failure: Exception | None = None
        self._parent = parent
        self._over = False

    def end(self, failure: Exception | None = None) -> None:
        """End what runs in here; the first failure is kept."""
        self.failure = self.failure or failure
        self._over = True

    @property
    def ended(self) -> bool:
        """Whether nobody waits for what runs in here any more."""
        if self._over or self.execution["status"] != "RUNNING":
            return True
        return self._parent is not None and self._parent.ended

    def check(self) -> None:
        """Raise EndedError if it has ended."""
        if self.ended:
            raise EndedError

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond the end, which raises EndedError."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _POLL_SECONDS))
        self.check()


# Copied into the threads that ministack starts for branches and items.
_current: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("scope", default=None)


def current() -> Scope | None:
    """Return the scope in which this thread runs a state, if it does."""
    return _current.get()


@contextmanager
def entered(scope: Scope | None) -> Iterator[None]:
    """Run states in a scope, or in none."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def sleep(seconds: float) -> None:
    """Wait, but not beyond the end of the scope in which this thread runs."""
    scope = current()
    if scope:
        scope.sleep(seconds)
    else:
        time.sleep(max(seconds, 0))
