"""The log of what roles do: `calls.jsonl` of the data folder, one JSON object a line.

Each line has the `time` (ISO 8601, UTC), the `role` (its ARN), its `session`, the `action`, the
`resource` that decided, and whether it is `allowed`: null where that cannot be told, and then, or
where a decision rests on it, `unknown` names what was not evaluated.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from local_aws.sagemaker.core.roles import Session

_NAME = "calls.jsonl"
_FORMER = "calls.1.jsonl"
_MAX_BYTES = 64 * 1024**2
_log = logging.getLogger(__name__)


class Decision(NamedTuple):
    """What policies say of one action.

    Attributes:
        allowed: Whether it is allowed; None when what decides is not known here.
        resource: The resource that decided.
        explicit: Whether a statement denies it, rather than none allowing it.
        unknown: What was not evaluated and could matter: condition keys, policies.
    """

    allowed: bool | None
    resource: str
    explicit: bool = False
    unknown: tuple[str, ...] = ()


class CallLog:
    """The log of a data folder; what is older than the last 64 to 128 MB goes."""

    def __init__(self, data_dir: Path) -> None:
        """Name the folder; the file is made with the first call."""
        self._path = data_dir / _NAME
        self._lock = threading.Lock()
        self._broken = False

    def write(self, session: Session, action: str, decision: Decision) -> None:
        """Write one call down; a full disk is told of once, and holds no call up."""
        entry: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "role": session.role,
            "session": session.name,
            "action": action,
            "resource": decision.resource,
            "allowed": decision.allowed,
        }
        if decision.unknown:
            entry["unknown"] = list(decision.unknown)
        try:
            with self._lock:
                self._append(json.dumps(entry) + "\n")
        except OSError as error:
            if not self._broken:
                _log.error("calls of roles cannot be written down: %s", error)
            self._broken = True
        else:
            self._broken = False

    def _append(self, line: str) -> None:
        with self._path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # the disk was full, or the process killed
                    line = "\n" + line
            size += file.write(line.encode())
        if size > _MAX_BYTES:
            self._path.replace(self._path.with_name(_FORMER))


def read(data_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the calls of a data folder, oldest first.

    A line that is being written, or was when the disk was full or the process killed, is left out.
    """
    for name in (_FORMER, _NAME):
        path = data_dir / name
        if not path.exists():
            continue
        with path.open(errors="replace") as file:
            for line in file:
                try:
                    call: dict[str, Any] = json.loads(line)
                except ValueError:
                    continue
                yield call


def table(data_dir: Path) -> list[tuple[str, str, str, str, int]]:
    """Return who called what on what, whether that is allowed, and how often, in that order.

    Allowed is `yes`, `no` or `?`.
    """
    shown = {True: "yes", False: "no", None: "?"}
    counts: dict[tuple[str, str, str, str], int] = {}
    for call in read(data_dir):
        role = call["role"].rpartition(":role/")[2]
        key = (role, call["action"], call["resource"], shown[call["allowed"]])
        counts[key] = counts.get(key, 0) + 1
    return sorted((*key, count) for key, count in counts.items())
