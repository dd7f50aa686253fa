"""Python environments on this machine: uv, the interpreters that it finds, and finished folders."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from local_aws.images.images import locked
from local_aws.images.recipe import PYTHON_PREFIX
from local_aws.settings import installing

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Layers:
    """The layers of a data folder: a folder each, with a file beside it once it is complete."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or made yet."""
        self._folder = folder

    def get(self, digest: str, make: Callable[[Path], None]) -> Path:
        """Return a layer, made if it is not there; one process at a time makes layers.

        Args:
            digest: Its name, which changes with all that it is made from.
            make: Makes it in an empty folder, with Python under `prefix`. What it raises removes
                the folder.
        """
        root, done = self._folder / digest, self._folder / f"{digest}.done"
        if not self._usable(root, done):
            # A RUN that outlives a build which was killed keeps the lock until it ends.
            with locked(self._folder / "build.lock", inheritable=True):
                if not self._usable(root, done):
                    done.unlink(missing_ok=True)
                    self._make(root, make)
                    done.touch()
        return root

    def _usable(self, root: Path, done: Path) -> bool:
        # A link to a Python that has since been removed from the machine does not exist either.
        return done.exists() and Path(prefix(root), "bin/python").exists()

    def _make(self, root: Path, make: Callable[[Path], None]) -> None:
        if root.exists():  # of a build that was killed
            shutil.rmtree(root)
        root.mkdir(parents=True)
        try:
            make(root)
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)
            raise


def prefix(root: Path) -> str:
    """Return where a layer has Python: as in the official images."""
    return f"{root}{PYTHON_PREFIX}"


def uv_program() -> str:
    """Return the path of uv."""
    # Imported here, as an image that is there already needs no uv.
    from uv import find_uv_bin  # noqa: PLC0415 - see above

    return find_uv_bin()


def host_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what uv runs with.

    Args:
        given: What tells it how to reach package indexes; None for this process's own.
    """
    kept = installing() if given is None else given
    return {
        **kept,
        "PATH": os.environ.get("PATH", _SYSTEM_PATH),
        "UV_PYTHON_DOWNLOADS": "never",
    }


def find_python(*arguments: str) -> str | None:
    """Return the path of an interpreter, or None if this machine has none.

    Args:
        *arguments: What `uv python find` is to look for, and where.
    """
    return output([uv_program(), "python", "find", "--system", *arguments])


def output(command: list[str]) -> str | None:
    """Return what a program prints, or None if it fails."""
    done = subprocess.run(
        command, env=host_environment(), capture_output=True, text=True, check=False
    )
    return None if done.returncode else done.stdout.strip()
