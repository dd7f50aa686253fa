"""Items gathered in the background and passed on in batches."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection


def may_pass(error: Exception) -> bool:
    """Tell whether what a boto3 client raised may be over later: the service is away, or fails."""
    if isinstance(error, ClientError):
        status: int = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        return status >= 500
    return isinstance(error, NoConnection | HTTPClientError)


T = TypeVar("T")

_log = logging.getLogger(__name__)


class Batcher(Generic[T]):
    """Passes items to a function in batches, from a thread of its own.

    An item waits at most `interval` seconds. The function returns the items that it could not pass
    on for now; they are tried again at the next turn. An exception is logged, and the batch given
    up.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[list[T]], list[T]],
        *,
        interval: float = 1.0,
        size: Callable[[T], int] = lambda _item: 1,
        limit: int = 100_000,
    ) -> None:
        """Start the thread.

        Args:
            name: The thread's name, also used in log lines.
            send: Called with the items in the order in which they came, by one thread at a time.
            interval: seconds.
            size: What an item counts toward `limit`, for example its bytes.
            limit: Above this much waiting, new items are dropped with a log line, since memory is
                finite and the receiver may be away for good.
        """
        self._name, self._send, self._interval = name, send, interval
        self._size, self._limit = size, limit
        self._items: list[T] = []
        self._waiting = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Take an item and return at once."""
        size = self._size(item)
        with self._changed:
            if self._waiting + size > self._limit:
                _log.error("%s: more than %d waiting, an item was dropped", self._name, self._limit)
                return
            self._items.append(item)
            self._waiting += size
            self._changed.notify()

    def close(self) -> None:
        """Pass on all that is left, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                self._changed.wait_for(lambda: self._closed, timeout=self._interval)
                items, self._items = self._items, []
                closing = self._closed
            kept = self._sent(items) if items else []
            if closing:
                if kept:
                    _log.error("%s: %d items could not be passed on", self._name, len(kept))
                return
            with self._changed:
                self._items[:0] = kept
                self._waiting = sum(map(self._size, self._items))

    def _sent(self, items: list[T]) -> list[T]:
        try:
            return self._send(items)
        except Exception:
            _log.exception("%s: %d items were given up", self._name, len(items))
            return []
