"""Programs of others, each with an environment of its own that uv keeps in its cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import uv

REPOSITORY = Path(__file__).parents[1]


def tool(*packages: str) -> list[str]:
    """Return the beginning of a command line in which these packages are installed.

    The package under test does not depend on them, nor they on what it is pinned to.
    """
    wanted = [option for package in packages for option in ("--with", package)]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [uv.find_uv_bin(), "run", "--quiet", "--no-project", "--python", python, *wanted]


def environment(**variables: str) -> dict[str, str]:
    """Return an environment like a fresh user's, with what is given; uv's cache is kept."""
    kept = {
        name: os.environ[name]
        for name in ("HOME", "PATH", "UV_CACHE_DIR", "SSL_CERT_FILE", "UV_DEFAULT_INDEX")
        if name in os.environ
    }
    return {**kept, "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true", **variables}


def run(
    argv: list[str], env: dict[str, str], *, status: int = 0, seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a program; return how it ended and what it has printed.

    Raises:
        AssertionError: It ended with another status, or not in time.
    """
    done = subprocess.run(
        argv, env=env, capture_output=True, text=True, check=False, timeout=seconds
    )
    assert done.returncode == status, f"{argv}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done
