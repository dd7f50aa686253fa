"""The tools beside this project, run with uv from where the template came from."""

import os
import sys
from pathlib import Path

import yaml

from ops import OpsError

ANSWERS = Path(".copier-answers.yml")
HOSTS = {"gh": "https://github.com", "gl": "https://gitlab.com"}  # Copier's short forms


class ToolMissingError(OpsError):
    """A tool is not where the template came from, so it has not been started either."""


def answers() -> dict[str, object]:
    """The answers this project was made with.

    Raises:
        ToolMissingError: When the file that keeps them is not here.
    """
    if not ANSWERS.exists():
        raise ToolMissingError(f"{ANSWERS} is missing: run this in the project's root folder")
    found: dict[str, object] = yaml.safe_load(ANSWERS.read_text())
    return found


def origin(tool: str) -> str:
    """Where uv finds a tool for this project.

    Args:
        tool: Its folder in the template's repository.

    Raises:
        ToolMissingError: When this is not a project's root folder, or the template is gone.
    """
    made_with = answers()
    return source(tool, str(made_with.get("_src_path", "")), str(made_with.get("_commit", "")))


def source(tool: str, template: str, version: str) -> str:
    """Where uv finds a tool.

    Args:
        tool: Its folder in the template's repository.
        template: `_src_path` of the answers: a folder or a git URL.
        version: `_commit` of the answers: a tag, a commit, or `git describe`'s tag-n-gcommit.

    Raises:
        ToolMissingError: When the template is a folder that is not here.
    """
    if ":" not in template:
        folder = Path(template, tool)
        if not folder.is_dir():
            raise ToolMissingError(
                f"{tool} comes with the template, and {folder} is not here: bring the template "
                f"back to {template}, or set _src_path in {ANSWERS} to where it is now"
            )
        return str(folder.resolve())
    host, _, path = template.partition(":")
    url = f"{HOSTS[host]}/{path}" if host in HOSTS else template.removeprefix("git+")
    revision = version.rpartition("-g")[2]
    return f"git+{url}@{revision}#subdirectory={tool}"


def uv() -> str:
    """The command uv: `uv run` tells its children where it is."""
    return os.environ.get("UV", "uv")


def main() -> None:
    """`poe adopt`, `poe retune`: run a module of the tool adopt in this environment."""
    try:
        tool = origin("adopt")
    except OpsError as error:
        sys.exit(f"error: {error}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the image's commands do
    command = [uv(), "run", "--quiet", "--with", tool, "python", "-m", *sys.argv[1:]]
    os.execvp(command[0], command)  # noqa: S606 - the tool takes this process's place


if __name__ == "__main__":
    main()
