"""The template as a commit would hold it, and projects made from it.

`python -m tests.template FOLDER key=value …` makes one with the template's own tests in it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from copier._main import Worker
from jinja2 import Environment

ROOT = Path(__file__).parents[1]

#: Tests of what no owner edits. They run within projects, and no project has them.
OWN_TESTS = Path("template_tests")

# The life of a generated project must not depend on the shell that the tests were started from.
FOREIGN = (
    *("ANSWERS", "AWS_", "COPIER_", "GIT_", "LOCAL", "MAKE", "MFLAGS", "PYTEST_", "PYTHON"),
    *("USECASE_", "UV_PROJECT", "VIRTUAL_ENV"),
)


COMPILE: Callable[..., object] = Environment.compile
CODE: dict[tuple[str, tuple[object, ...]], object] = {}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a command, without what belongs to this project or an AWS account."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in {"NAME": "tests", "EMAIL": "tests@example.com"}.items()
    }
    return kept | identity | dict(extra or {})


def run(command: Sequence[str | Path], folder: Path, extra: Mapping[str, str] | None = None) -> str:
    """Run a command and return its standard output.

    Raises:
        AssertionError: When it fails; with all that it wrote.
    """
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        shown = " ".join(str(part) for part in command)
        raise AssertionError(
            f"`{shown}` ended with status {result.returncode}:\n{result.stdout}\n{result.stderr}"
        )
    return result.stdout


def tracked() -> list[Path]:
    """The files that a commit of the working tree would hold, relative to the root."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def snapshot(folder: Path) -> Path:
    """Copy the files that a commit would hold to an empty folder."""
    for file in tracked():
        copy = folder / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, copy)
    return folder


def with_own_tests(folder: Path) -> Path:
    """Let the projects that are made from a snapshot have the template's own tests, too."""
    shutil.copytree(folder / OWN_TESTS, folder / "template" / "tests", dirs_exist_ok=True)
    return folder


def own_tests(project: Path) -> list[Path]:
    """The template's own tests among those of a project that was made with them."""
    names = {file.name.removesuffix(".jinja") for file in (ROOT / OWN_TESTS).glob("test_*")}
    return sorted(file for file in (project / "tests").glob("test_*.py") if file.name in names)


def commit(folder: Path, message: str) -> None:
    """Commit everything in a folder, which becomes a repository if it is none yet."""
    run(["git", "init", "--quiet", "--initial-branch=main"], folder)
    run(["git", "add", "--all"], folder)
    run(["git", "commit", "--quiet", "--message", message], folder)


def render(template: Path, folder: Path, answers: Mapping[str, Any]) -> Path:
    """Make a project as `copier copy --defaults` does, in this process and without `--trust`.

    In a third of the time: Jinja's code for a text is kept from one project to the next, and git is
    not asked for each file whether its index has modes of its own: there is no index yet.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compiled)
        patch.setattr(Worker, "_sync_git_index_executable_bit", lambda *_: None)
        copier.run_copy(
            str(template), folder, dict(answers), defaults=True, overwrite=True, quiet=True
        )
    return folder


def install(project: Path) -> None:
    """Install a project with the versions that the template is tested with, as its README says."""
    lock(project)
    run(["uv", "sync", "--quiet"], project)


def lock(project: Path) -> None:
    """Write the uv.lock of a project, with the versions that the template is tested with."""
    tested = (project / "tested-versions.txt").read_text().split()
    run(["uv", "lock", "--quiet", *(f"--upgrade-package={pin}" for pin in tested)], project)


def stub(
    folder: Path, questionnaire: Mapping[str, Any], files: Mapping[str, str] | None = None
) -> Path:
    """A template that is a questionnaire and a few files: rendered in a hundredth of the time."""
    answers = ".copier-answers.yml.jinja"
    recorded = (ROOT / "template" / answers).read_text()
    for name, text in ({answers: recorded} | dict(files or {})).items():
        file = folder / "template" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "copier.yml").write_text(yaml.safe_dump(dict(questionnaire), sort_keys=False))
    return folder


def compiled(environment: Environment, source: str, *options: object, **named: object) -> object:
    """What Jinja's `Environment.compile` makes of a text; Copier sets all environments up alike."""
    key = (source, (*options, *named.items()))
    if key not in CODE:
        CODE[key] = COMPILE(environment, source, *options, **named)
    return CODE[key]


def contents(project: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of every file of a project but those of git."""
    files = sorted(path for path in project.rglob("*") if path.is_file())
    named = {file.relative_to(project).as_posix(): file for file in files}
    return {
        name: (file.stat().st_mode, file.read_bytes())
        for name, file in named.items()
        if not name.startswith(".git/")
    }


def main() -> None:
    """Make a project whose tests are those of the template, too: a folder, then answers."""
    folder, *given = sys.argv[1:]
    answers = dict(answer.split("=", 1) for answer in given)
    with tempfile.TemporaryDirectory() as source:
        template = with_own_tests(snapshot(Path(source)))
        render(template, Path(folder), {key: yaml.safe_load(one) for key, one in answers.items()})


if __name__ == "__main__":
    main()
