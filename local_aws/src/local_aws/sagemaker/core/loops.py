"""What goes on in the background: nothing that fails ends it, or keeps the next from its turn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


def attempt(what: str, function: Callable[..., object], *args: object) -> bool:
    """Call a function for one of several that have nothing to do with each other.

    Args:
        what: What is tried, for the log.
        function: What to call; what it raises is logged.
        *args: Its arguments.

    Returns:
        Whether it returned.
    """
    try:
        function(*args)
    except Exception:
        _log.exception("%s failed; the others go on", what)
        return False
    return True


def repeat(what: str, seconds: float, closing: threading.Event, turn: Callable[[], object]) -> None:
    """Do something again and again, until it is to end.

    Args:
        what: What is done, for the log.
        seconds: How long to wait before each turn.
        closing: Set when it is to end.
        turn: What to do; what it raises is logged.
    """
    while not closing.wait(seconds):
        attempt(what, turn)
