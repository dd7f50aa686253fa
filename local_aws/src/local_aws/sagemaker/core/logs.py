"""Container output to CloudWatch Logs, under the log groups that SageMaker uses."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.loops import attempt, repeat

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Acting, Service

_INTERVAL_SECONDS = 0.5
_CHUNK = 1 << 17  # bytes read at once: fewer lines than may wait, however short they are
# Limits of PutLogEvents (API reference): events and bytes a call, bytes an event, and what AWS adds
# to each event's size.
_MAX_EVENTS = 10_000
_MAX_BATCH_BYTES = 1_048_576
_MAX_EVENT_BYTES = 262_144
_EVENT_OVERHEAD = 26

_MAX_WAITING = 100_000  # lines, while CloudWatch Logs takes none
_LONGEST_WAIT = 60.0  # seconds until it is tried again

_log = logging.getLogger(__name__)


class LogShipper:
    """Follows a container's log file and sends its lines to a log stream.

    The container writes to the file by itself, so its output outlives this process, and it goes on
    when CloudWatch Logs takes nothing.
    """

    def __init__(
        self,
        service: Service | Acting,
        group: str,
        stream: str,
        path: Path,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Start to follow.

        Args:
            service: The service, for its CloudWatch Logs client.
            group: Log group, for example `/aws/sagemaker/TrainingJobs`.
            stream: Log stream, for example `my-job/algo-1-1700000000`.
            path: File to follow; it need not be there yet.
            on_line: Called with each line, in the thread of this object.
        """
        self._stream = LogStream(service, group, stream)
        self._path = path
        self._on_line = on_line
        self._rest = b""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"logs {stream}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is left and end."""
        self._end.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._path.exists():
            if self._end.wait(_INTERVAL_SECONDS):
                break
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            drain = partial(self._drain, file)
            repeat(f"following {self._path}", _INTERVAL_SECONDS, self._end, drain)
            attempt(f"following {self._path}", drain)
            self._take(b"\n" if self._rest else b"")
            self._stream.send(last=True)

    def _drain(self, file: BinaryIO) -> None:
        while chunk := file.read(_CHUNK):
            self._take(chunk)
            self._stream.send()
        self._stream.send()  # what could not be sent before

    def _take(self, chunk: bytes) -> None:
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        # A line without end must not be gathered in memory.
        if len(self._rest) > _MAX_EVENT_BYTES:
            lines.append(self._rest)
            self._rest = b""
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        self._stream.add([text for text in texts if text.strip()])
        if self._on_line:
            for text in texts:
                attempt("looking at a line", self._on_line, text)


class LogStream:
    """Lines on their way to a log stream, which is made with the first of them.

    What CloudWatch Logs does not take is sent again later, in order; when too much waits, the
    oldest is dropped.
    """

    def __init__(
        self, service: Service | Acting, group: str, name: str, *, makes_group: bool = True
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            service: The service, for its CloudWatch Logs client.
            group: Log group.
            name: Log stream.
            makes_group: Whether to make the group too. Otherwise what a group that is not there
                would get is lost.
        """
        self._service = service
        self._names = {"logGroupName": group, "logStreamName": name}
        self._makes_group = makes_group
        self._made = False
        self._waiting: deque[list[dict[str, Any]]] = deque()
        self._next_try = self._wait = 0.0

    @property
    def waits(self) -> bool:
        """Whether lines have not been sent yet."""
        return bool(self._waiting)

    def add(self, texts: list[str]) -> None:
        """Take lines, whose time is now."""
        now = round(time.time() * 1000)
        for batch in batches(texts):
            if batch:
                self._waiting.append([{"timestamp": now, "message": text} for text in batch])
        while sum(map(len, self._waiting)) > _MAX_WAITING:
            dropped = len(self._waiting.popleft())
            _log.error("%d lines of %s were never sent", dropped, self._names["logStreamName"])

    def send(self, *, last: bool = False) -> None:
        """Send what waits, unless the last attempt has failed just now.

        Args:
            last: Whether there will be no further attempt.
        """
        if not self._waiting or (time.monotonic() < self._next_try and not last):
            return
        logs = self._service.client("logs")
        try:
            if not self._made:
                self._make()
            while self._waiting:
                logs.put_log_events(**self._names, logEvents=self._waiting[0])
                self._waiting.popleft()
            self._wait = 0.0
        except (ClientError, BotoCoreError) as error:
            self._made = False  # it may have been deleted
            gone = isinstance(error, logs.exceptions.ResourceNotFoundException)
            if gone and not self._makes_group:
                self._waiting.clear()
            self._wait = min(_LONGEST_WAIT, max(_INTERVAL_SECONDS, 2 * self._wait))
            self._next_try = time.monotonic() + self._wait
            lines = sum(map(len, self._waiting))
            _log.warning(
                "CloudWatch Logs does not take %d lines of %s%s: %s",
                lines,
                self._names["logStreamName"],
                "" if last or not lines else " now",
                error,
            )

    def _make(self) -> None:
        logs = self._service.client("logs")
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            try:
                logs.create_log_stream(**self._names)
            except logs.exceptions.ResourceNotFoundException:  # the first stream of the group
                if not self._makes_group:
                    raise
                with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
                    logs.create_log_group(logGroupName=self._names["logGroupName"])
                logs.create_log_stream(**self._names)
        self._made = True


def batches(texts: list[str]) -> list[list[str]]:
    """Cut lines into what one PutLogEvents call takes, and too long lines into several."""
    batches: list[list[str]] = [[]]
    size = 0
    for text in texts:
        for piece in _pieces(text):
            need = len(piece.encode()) + _EVENT_OVERHEAD
            if size + need > _MAX_BATCH_BYTES or len(batches[-1]) == _MAX_EVENTS:
                batches.append([])
                size = 0
            batches[-1].append(piece)
            size += need
    return batches


def _pieces(text: str) -> list[str]:
    limit = (_MAX_EVENT_BYTES - _EVENT_OVERHEAD) // 4  # UTF-8 takes 4 bytes a character at most
    return [text[at : at + limit] for at in range(0, len(text), limit)]
