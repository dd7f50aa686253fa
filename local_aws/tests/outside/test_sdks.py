"""The SageMaker Python SDK, versions 2 and 3: what their tutorials do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_image
from cli_process import Cli, fresh_cli
from conftest import REGION, ROLE
from others_tools import environment, run, tool

pytestmark = pytest.mark.exhaustive
HERE = Path(__file__).parent


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with fresh_cli(tmp_path) as fresh:
        yield fresh


def use(cli: Cli, package: str, program: str) -> list[str]:
    """Run a program of this folder against a fresh local AWS; return what it printed."""
    env = environment(**cli.start(f"--region={REGION}")["environment"], HOME=str(cli.folder))
    toy_image.register(cli.data_dir, cli.folder)
    env["UV_CACHE_DIR"] = uv_cache()
    argv = [*tool(package), "python", str(HERE / program), toy_image.URI, ROLE]
    return run(argv, env, seconds=900).stdout.splitlines()


def uv_cache() -> str:
    return run([tool()[0], "cache", "dir"], environment()).stdout.strip()


def test_version_2(cli: Cli) -> None:
    shown = use(cli, "sagemaker==2.257.7", "use_sdk_v2.py")
    assert told(shown) == {
        "processed": "['1,2', '3,4', '1,2', '3,4', '1,2', '3,4']",
        "trained": "Completed 6.0",
        "predicted": "[['3.0'], ['7.0']]",
        "endpoints": "[]",
        "transformed": "['3.0', '7.0', '3.0', '7.0', '3.0', '7.0']",
    }


def told(shown: list[str]) -> dict[str, str]:
    """What the program says of itself among what the SDK logs."""
    lines = [line.removeprefix("TOLD ").partition(": ") for line in shown if "TOLD " in line]
    return {name: text for name, _, text in lines}


def test_version_3(cli: Cli) -> None:
    shown = use(cli, "sagemaker==3.27.0", "use_sdk_v3.py")
    assert told(shown) == {
        "processed": "['1,2', '3,4', '1,2', '3,4', '1,2', '3,4']",
        "trained": "Completed",
        "predicted": "b'3.0\\n'",
        "endpoints": "[]",
    }
