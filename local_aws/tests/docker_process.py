"""`local-aws-docker` as tests call it, and what they build with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from local_aws.images.images import Image

PROGRAM = Path(sys.executable).with_name("local-aws-docker")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class Docker:
    """The command with a data folder of its own."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        self.data_dir = data_dir
        self.env = os.environ | {"LOCAL_AWS_DATA_DIR": str(data_dir)} | env

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env=self.env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, cwd: Path | None = None, status: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PROGRAM, *arguments],
            env=self.env,
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def image(self, name: str) -> Image:
        """Return what has been built under a name, as `inspect` shows it."""
        (shown,) = json.loads(self.run("inspect", name).stdout)
        return Image(**{**shown, "root": Path(shown["root"])})

    def layers(self) -> set[str]:
        folder = self.data_dir / "images"
        return {entry.name for entry in folder.iterdir() if entry.is_dir()}


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files by their paths in a folder."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def context(tmp_path: Path, dockerfile: str, files: dict[str, str] | None = None) -> Path:
    """Write a build context whose Dockerfile goes on after FROM."""
    dockerfile = f"FROM python:{VERSION}\n{dockerfile}"
    return write(tmp_path / "context", {"Dockerfile": dockerfile, **(files or {})})


def run_image(image: Image, *arguments: str) -> str:
    """Run an image with nothing of this process's environment."""
    done = subprocess.run(
        [*image.entrypoint, *(arguments or image.command)],
        cwd=image.root,
        env={**image.env, "PATH": f"{image.path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
