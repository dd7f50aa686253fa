"""Seconds to make a project, against a Copier that only tells its version."""

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import timing

COPIER = Path(sys.executable).with_name("copier")


@dataclass(frozen=True)
class Generation:
    """Median seconds of whole processes.

    Attributes:
        copy: `copier copy --defaults` of the template's repository.
        version: `copier --version`.
        files: Files in the project.
    """

    copy: float
    version: float
    files: int


def measure(repository: Path, folder: Path, times: int = 15) -> Generation:
    """Make projects under a folder."""
    numbers = itertools.count()
    copy: list[str | Path] = [COPIER, "copy", "--defaults", "--quiet", repository]

    def make() -> None:
        timing.command([*copy, folder / str(next(numbers))], folder)()

    version = timing.command([COPIER, "--version"], folder)
    made, told = timing.in_turn(times, [make, version])
    return Generation(made, told, sum(path.is_file() for path in (folder / "0").rglob("*")))
