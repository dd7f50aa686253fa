"""Somebody who has just found the README follows it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from others_tools import REPOSITORY, environment, tool

# "How many words do we read per minute?", Brysbaert 2019: 238 for English non-fiction, silently.
WORDS_PER_SECOND = 238 / 60


@pytest.mark.exhaustive
def test_a_model_is_trained_in_the_time_it_takes_to_read_the_readme(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY,
        tmp_path / "local_aws",
        ignore=shutil.ignore_patterns(".*", "uv.lock", "__pycache__"),
    )
    readme = (tmp_path / "local_aws" / "README.md").read_text()
    text = readme.partition("<!-- operations -->")[0]
    section = readme.partition("## Train a model")[2].partition("\n## ")[0]
    for name, content in re.findall(
        r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (commands,) = re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (output,) = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    # Another local AWS may have the port.
    commands = commands.replace(" start ", " start --port 0 ")
    stop = "uvx --from ./local_aws local-aws stop"
    env = environment()
    env["PATH"] = f"{Path(tool()[0]).parent}:{env['PATH']}"
    begin = time.monotonic()
    try:
        shown = bash(commands, tmp_path, env)
        seconds = time.monotonic() - begin
    finally:
        bash(stop, tmp_path, env)
    assert shown.returncode == 0, shown.stderr
    assert output in shown.stdout
    assert seconds < len(text.split()) / WORDS_PER_SECOND


def bash(commands: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
