"""What trains: whether it has changed is told by its digest."""

import hashlib
from pathlib import Path

from usecase.errors import UseCaseError

ROOT = Path(__file__).parents[1]
TRAINS = ("src/usecase", "workflows", "usecase.toml", "Dockerfile", "uv.lock")
"""Folders and files of which another content takes another training."""


def digest(root: Path = ROOT) -> str:
    """The SHA-256, in hexadecimal digits, of the names and the content of what trains.

    Args:
        root: The root folder of the project.

    Raises:
        UseCaseError: When some of it is missing.
    """
    found = hashlib.sha256()
    for name in TRAINS:
        path = root / name
        if not path.exists():
            raise UseCaseError(f"{name}: is missing, and belongs to what trains; bring it back")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            # What Python or an editor leaves behind is nobody's code.
            if file.is_file() and file.suffix != ".pyc" and file.name[0] != ".":
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                found.update(f"{content}  {file.relative_to(root).as_posix()}\n".encode())
    return found.hexdigest()
