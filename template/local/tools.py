"""The tools beside this project, run with uv from vendor/ or from where the template came from."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from ops import OpsError

ANSWERS = Path(".copier-answers.yml")
VENDOR = Path("vendor")
TOOLS = ("adopt", "local_aws")
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
    """Where uv finds a tool for this project: what `poe handover` has brought comes first.

    Args:
        tool: Its folder in the template's repository.

    Raises:
        ToolMissingError: When this is not a project's root folder, or the template is gone.
    """
    brought = sorted(VENDOR.glob(f"{tool}-*.whl"))
    return str(brought[-1].resolve()) if brought else from_template(tool)


def from_template(tool: str) -> str:
    """Where uv finds a tool in the template; see `origin`."""
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
                f"back to {template}, or set _src_path in {ANSWERS} to where it is now; `uv run "
                f"poe handover`, once it is there, brings its tools into {VENDOR}/ for good"
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


def handover() -> None:
    """`poe handover`: put wheels of the tools into vendor/, to commit with the project.

    Who has them needs no access to the template; what the tools need comes from the package index.
    """
    try:
        sources = [from_template(tool) for tool in TOOLS]
    except OpsError as error:
        sys.exit(f"error: {error}")
    VENDOR.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VENDOR, prefix=".") as folder:
        pip = [uv(), "tool", "run", "--quiet", "pip", "wheel", "--quiet", "--no-deps"]
        command = [*pip, "--wheel-dir", folder, *sources]
        if subprocess.run(command, check=False).returncode:
            sys.exit("error: the tools cannot be built, see above")
        built = [wheel.replace(VENDOR / wheel.name) for wheel in sorted(Path(folder).iterdir())]
    for old in set(VENDOR.glob("*.whl")) - set(built):
        old.unlink()
    print("\n".join(map(str, built)))


if __name__ == "__main__":
    main()
