"""Container output to CloudWatch Logs, under the log groups that SageMaker uses."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_INTERVAL_SECONDS = 0.5
_CHUNK = 1 << 19
# Limits of PutLogEvents (API reference): events and bytes a call, bytes an event, and what AWS adds
# to each event's size.
_MAX_EVENTS = 10_000
_MAX_BATCH_BYTES = 1_048_576
_MAX_EVENT_BYTES = 262_144
_EVENT_OVERHEAD = 26

_log = logging.getLogger(__name__)


class LogShipper:
    """Follows a container's log file and sends its lines to a log stream.

    The container writes to the file by itself, so its output outlives this process. The stream is
    made with the first line. When CloudWatch Logs refuses, that is logged once and the container
    goes on.
    """

    def __init__(
        self,
        service: Service,
        group: str,
        stream: str,
        path: Path,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Start to follow.

        Args:
            service: The service, for its CloudWatch Logs client.
            group: Log group, for example ``/aws/sagemaker/TrainingJobs``.
            stream: Log stream, for example ``my-job/algo-1-1700000000``.
            path: File to follow; it need not be there yet.
            on_line: Called with each line, in the thread of this object.
        """
        self._service = service
        self._group = group
        self._stream = stream
        self._path = path
        self._on_line = on_line
        self._made = False
        self._broken = False
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
            ended = False
            while not ended:
                ended = self._end.wait(_INTERVAL_SECONDS)
                self._drain(file)
            self._take(b"\n" if self._rest else b"")

    def _drain(self, file: BinaryIO) -> None:
        while chunk := file.read(_CHUNK):
            self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        # A line without end must not be gathered in memory.
        if len(self._rest) > _MAX_EVENT_BYTES:
            lines.append(self._rest)
            self._rest = b""
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        if self._on_line:
            for text in texts:
                self._on_line(text)
        self._send([text for text in texts if text.strip()])

    def _send(self, texts: list[str]) -> None:
        if not texts or self._broken:
            return
        now = round(time.time() * 1000)
        try:
            logs = self._service.client("logs")
            if not self._made:
                self._make_stream()
            for batch in batches(texts):
                logs.put_log_events(
                    logGroupName=self._group,
                    logStreamName=self._stream,
                    logEvents=[{"timestamp": now, "message": text} for text in batch],
                )
        except (ClientError, BotoCoreError) as error:
            self._broken = True
            _log.warning("CloudWatch Logs takes nothing of %s: %s", self._stream, error)

    def _make_stream(self) -> None:
        logs = self._service.client("logs")
        names = {"logGroupName": self._group, "logStreamName": self._stream}
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            try:
                logs.create_log_stream(**names)
            except logs.exceptions.ResourceNotFoundException:  # the first stream of the group
                with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
                    logs.create_log_group(logGroupName=self._group)
                logs.create_log_stream(**names)
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
