"""Timing in pairs: this machine is never quiet, so what is compared runs in turn."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from tests import template

Work = Callable[[], object]


def seconds(work: Work) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(times: int, works: Sequence[Work]) -> list[float]:
    """The median seconds of each work, after one call of each that does not count."""
    for work in works:
        work()
    rounds = [[seconds(work) for work in works] for _ in range(times)]
    return [median(measured) for measured in zip(*rounds, strict=True)]


def command(arguments: Sequence[str | Path], folder: Path) -> Work:
    """A whole process, as work to be timed."""
    environment = template.environment()

    def run() -> None:
        subprocess.run(
            arguments, cwd=folder, env=environment, check=True, capture_output=True, text=True
        )

    return run
