"""What stands for each container image: a folder and an environment on this machine."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
"""Media type of the manifests of https://distribution.github.io/distribution/spec/manifest-v2-2/."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
"""Media type of the manifests of the OCI image specification, BuildKit's default."""


class UnknownImage(KeyError):  # noqa: N818 - part of the package's contract under this name
    """No image has been pushed under this URI."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.uri = uri

    def __str__(self) -> str:
        return (
            f"The image {self.uri} is not known to the local AWS. Push it: set CDK_DOCKER to "
            "local-aws-docker for `cdk deploy`, or run `local-aws-docker build -t URI FOLDER` and "
            "`local-aws-docker push URI`"
        )


@dataclass(frozen=True)
class Image:
    """What a container of the image runs with.

    Attributes:
        root: Working directory, WORKDIR of the Dockerfile.
        path: Entries to put before PATH, separated by colons.
        env: The environment that the image sets.
        entrypoint: ENTRYPOINT in exec form.
        command: CMD in exec form.
        media_type: Media type of the manifest that registries have of it.
    """

    root: Path
    path: str = ""
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    media_type: str = DOCKER_MANIFEST


class Images:
    """A table of images by URI, kept in `images.json` of a folder.

    The process of the local AWS and `local-aws-docker` share the file: it is read at each look-up
    and replaced as a whole. As everywhere with images, a URI without a tag means `:latest`.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "images.json"

    def register(self, uri: str, image: Image) -> None:
        """Let an image stand for a URI, in place of any other that did."""
        with locked(self._file.with_suffix(".lock")):
            table = self._read()
            table[_with_tag(uri)] = asdict(image) | {"root": str(image.root)}
            partial = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            partial.write_text(json.dumps(table, indent=2))
            partial.replace(self._file)

    def remove(self, uri: str) -> None:
        """Let nothing stand for a URI any more; that nothing does is as good."""
        with locked(self._file.with_suffix(".lock")):
            table = self._read()
            if table.pop(_with_tag(uri), None) is None:
                return
            partial = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            partial.write_text(json.dumps(table, indent=2))
            partial.replace(self._file)

    def resolve(self, uri: str) -> Image:
        """Return the image of a URI.

        Raises:
            UnknownImage: Nothing stands for it.
        """
        entry = self._read().get(_with_tag(uri))
        if entry is None:
            raise UnknownImage(uri)
        return Image(**{**entry, "root": Path(entry["root"])})

    def uris(self) -> list[str]:
        """Return every URI, with its tag, in the order of registration."""
        return list(self._read())

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._file.exists():
            return {}
        table: dict[str, dict[str, Any]] = json.loads(self._file.read_text())
        return table


@contextmanager
def locked(file: Path, inheritable: bool = False) -> Iterator[None]:
    """Keep other threads and processes out until the end; a killed process lets go at once.

    Args:
        file: The lock; its folder is made if it is not there.
        inheritable: Whether processes started meanwhile without `close_fds` hold the lock as well.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        os.set_inheritable(lock.fileno(), inheritable)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _with_tag(uri: str) -> str:
    return uri if "@" in uri or ":" in uri.rpartition("/")[2] else f"{uri}:latest"
