"""Checkpoints of training jobs: a folder of each host and an S3 prefix that are kept alike.

Source: "Checkpoints in Amazon SageMaker AI"
(https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from local_aws.sagemaker.core.loops import repeat
from local_aws.sagemaker.core.storage import Storage, StorageError, split_uri

if TYPE_CHECKING:
    from local_aws.sagemaker.jobs.hosts import Host

LOCAL_PATH = "/opt/ml/checkpoints"
_INTERVAL_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Checkpoints:
    """Sends what the containers write to S3 while they run.

    As on AWS all hosts share one prefix, and files keep their names: two hosts that write a file of
    the same name overwrite each other's.
    """

    def __init__(self, storage: Storage, config: Mapping[str, str], hosts: Sequence[Host]) -> None:
        """Take note of where they are.

        Args:
            storage: Moves the files.
            config: The job's CheckpointConfig.
            hosts: The job's hosts.
        """
        self._storage = storage
        self._uri = config["S3Uri"]
        path = config.get("LocalPath", LOCAL_PATH)
        self._folders = [host.local_path(path) for host in hosts]
        self._sent: dict[Path, tuple[int, int]] = {}
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def restore(self) -> None:
        """Bring what is in S3 to all hosts.

        Raises:
            StorageError: S3 refused.
        """
        self._sent.clear()
        for folder in self._folders:
            self._storage.download(self._uri, folder, may_be_empty=True)
            self._sent |= {path: _state(path) for path in folder.rglob("*") if path.is_file()}

    def start(self) -> None:
        """Begin to send, in the background."""
        self._end.clear()
        self._thread = threading.Thread(target=self._follow, name="checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is left and end.

        Raises:
            StorageError: S3 refused.
        """
        self.end()
        self._send()

    def end(self) -> None:
        """End without sending what is left."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _follow(self) -> None:
        repeat(f"sending checkpoints to {self._uri}", _INTERVAL_SECONDS, self._end, self._try)

    def _try(self) -> None:
        try:
            self._send()
        except (StorageError, OSError) as error:  # a file may go while it is looked at
            _log.warning("checkpoints for %s, tried again soon: %s", self._uri, error)

    def _send(self) -> None:
        bucket, prefix = split_uri(self._uri)
        for folder in self._folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and self._sent.get(path) != (state := _state(path)):
                    key = f"{prefix.rstrip('/')}/{path.relative_to(folder).as_posix()}"
                    self._storage.put(path, bucket, key.lstrip("/"))
                    self._sent[path] = state


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
