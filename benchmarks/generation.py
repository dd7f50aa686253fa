"""Seconds to make a project, against a Copier that only tells its version; and its size."""

import itertools
import sys
from collections.abc import Mapping
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
        rooms: Files and lines of the project, by its topmost folders; empty for those in none.
    """

    copy: float
    version: float
    rooms: Mapping[str, tuple[int, int]]

    @property
    def files(self) -> int:
        """Files in the project."""
        return sum(files for files, _ in self.rooms.values())

    @property
    def lines(self) -> int:
        """Lines in the project."""
        return sum(lines for _, lines in self.rooms.values())


def measure(repository: Path, folder: Path, times: int = 15) -> Generation:
    """Make projects under a folder."""
    numbers = itertools.count()
    copy: list[str | Path] = [COPIER, "copy", "--defaults", "--quiet", repository]

    def make() -> None:
        timing.command([*copy, folder / str(next(numbers))], folder)()

    version = timing.command([COPIER, "--version"], folder)
    made, told = timing.in_turn(times, [make, version])
    return Generation(made, told, rooms(folder / "0"))


def rooms(project: Path) -> dict[str, tuple[int, int]]:
    """Files and lines of a project, by its topmost folders."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(path for path in project.rglob("*") if path.is_file()):
        room = path.relative_to(project).parts[0] if path.parent != project else ""
        files, lines = found.get(room, (0, 0))
        found[room] = files + 1, lines + len(path.read_bytes().splitlines())
    return found
