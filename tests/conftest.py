"""Fixtures: the template, and projects made from it once a session."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import matrix, template

Render = Callable[[matrix.Answers], Path]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template in a folder without git, which Copier reads faster than a repository."""
    return template.snapshot(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a repository with one commit, as people get it."""
    folder = template.snapshot(tmp_path_factory.mktemp("repository"))
    template.commit(folder, "The template")
    return folder


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Render:
    """Gives the project of a combination of answers; each is made once."""
    return renderer(tmp_path_factory, source)


@pytest.fixture(scope="session")
def rendered_whole(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """As `rendered`; among the tests of the project are those of template_tests/ as well."""
    source = template.snapshot(tmp_path_factory.mktemp("template"))
    return renderer(tmp_path_factory, template.with_own_tests(source))


def renderer(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Render:
    """Makes projects of a template, one of each combination of answers."""
    projects: dict[str, Path] = {}

    def project(answers: matrix.Answers) -> Path:
        key = repr(sorted(answers.items()))
        if key not in projects:
            folder = tmp_path_factory.mktemp("rendered") / "project"
            projects[key] = template.render(source, folder, answers)
        return projects[key]

    return project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A project with default answers as `make demo` makes it: installed and committed."""
    folder = tmp_path_factory.mktemp("project") / "flight-delays"
    return make_project(repository, folder)


@pytest.fixture
def environment(project: Path) -> Iterator[Callable[[Path], Path]]:
    """Gives `bin` of the default project's environment with all that another project asks for.

    At the end it is as before: beside another framework, importing a framework takes seconds.
    """
    folder = project / ".venv" / "bin"

    def install(other: Path) -> Path:
        into: list[str | Path] = ["uv", "pip", "install", "--quiet", "--python", folder / "python"]
        wanted = ["--requirements", "pyproject.toml", "--group", "dev"]
        if (other / "tests" / "test_usecase_contributions.py").exists():
            wanted.append("shap")  # what the template's own tests compare with
        template.run([*into, *wanted, "--constraints", "tested-versions.txt"], other)
        template.lock(other)  # what trains is hashed, uv.lock with it
        return folder

    yield install
    template.run(["uv", "sync", "--quiet"], project)


def make_project(
    repository: Path,
    folder: Path,
    answers: Mapping[str, object] | None = None,
    edit: Callable[[Path], object] | None = None,
) -> Path:
    """Make, install and commit a project with answers other than the defaults, maybe edited."""
    copier = Path(sys.executable).with_name("copier")
    given = [
        f"--data={key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in (answers or {}).items()
    ]
    template.run([copier, "copy", "--defaults", "--quiet", *given, repository, folder], repository)
    if edit:
        edit(folder)
    template.install(folder)
    template.commit(folder, "Start from Kakehashi")
    return folder
