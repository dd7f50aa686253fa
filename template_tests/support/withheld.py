"""A use case with `[log]`, and the key of its hashes."""

import hashlib
import hmac
from pathlib import Path

from support.examples import TARGET

from usecase.config import Approval, Data, Features, UseCase
from usecase.hosting import Log
from usecase.problem import METRICS
from workflows import keys

KEY = bytes(range(32))
USE_CASE = UseCase(
    data=Data(tables=("t",), id="id", time="at"),
    target=TARGET,
    features=Features(numeric=("a", "b"), categorical=("c", "d")),
    approval=Approval(next(iter(METRICS)), 0.5),
    log=Log(drop=("b", "d"), hash=("c",)),
)


def hashed(value: str) -> str:
    """What the table has in place of a value."""
    return hmac.new(KEY, value.encode(), hashlib.sha256).hexdigest()


def leave_key(base: Path, key: bytes = KEY) -> None:
    """Leave the key as the job's input brings it, below what stands for /opt/ml."""
    path = base / "processing" / "input" / "files" / keys.LOG_KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key)
