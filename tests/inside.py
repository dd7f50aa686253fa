"""A Python process in the environment of a generated project, which calls the project's functions.

So a test asks through the project's own code, which knows its orchestrator and what it serves with.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import template


class ProjectError(Exception):
    """A function of the project has raised an error; the message has its type and its text."""


class Inside:
    """The process, which runs until `close`."""

    def __init__(self, project: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["uv", "run", "python", "-P", Path(__file__).with_name("called.py")],
            cwd=project,
            env=template.environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 - any JSON value
        """Call a function, as `ops.workflow.describe`, with what JSON can hold.

        Returns:
            What JSON makes of what it returns: of an object, its attributes.

        Raises:
            ProjectError: When it raises an error.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("its standard input and output are not pipes")
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ProjectError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
