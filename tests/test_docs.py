"""Every link and every command in the documentation leads somewhere, in generated projects too."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests import matrix, template
from tests.conftest import Render

CHECKER = Path(sys.executable).with_name("md-dead-link-check")
PATH = re.compile(r"`((?:src|workflows|lambdas|infra|ops|docs|tests)/[\w./-]*)`")


def links(folder: Path) -> None:
    config = template.ROOT / "pyproject.toml"
    template.run([CHECKER, "--no-color", "--untrack", "--config", config], folder)


def texts(folder: Path) -> dict[Path, str]:
    return {file: file.read_text() for file in folder.rglob("*.md")}


def test_links_of_this_repository(repository: Path) -> None:
    links(repository)


def test_commands_of_this_repository() -> None:
    makefile = (template.ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    markdown = [file for file in template.tracked() if file.suffix == ".md"]
    used = {
        target
        for file in markdown
        for target in re.findall(r"(?m)(?:^|`)make ([a-z-]+)", (template.ROOT / file).read_text())
    }
    assert {"demo", "test"} <= used <= targets


def test_figures_of_the_readme_are_measured() -> None:
    readme = (template.ROOT / "README.md").read_text()
    results = (template.ROOT / "benchmarks" / "results.md").read_text()
    block = re.search(r"<!-- figures -->\n(.*?)<!-- end -->", readme, re.DOTALL)
    assert block, "the README has its figures between <!-- figures --> and <!-- end -->"
    figures = re.findall(r"\d+\.\d+|\d+%", block[1])
    assert figures
    assert not [figure for figure in figures if figure not in results]


@pytest.mark.wide
@pytest.mark.parametrize("answers", matrix.OPPOSITES, ids=matrix.name)
def test_links_of_a_project(source: Path, tmp_path: Path, answers: matrix.Answers) -> None:
    project = template.render(source, tmp_path / "project", answers)
    template.commit(project, "The project")
    links(project)


@pytest.mark.parametrize("answers", matrix.OPPOSITES, ids=matrix.name)
def test_commands_and_paths_of_a_project(rendered: Render, answers: matrix.Answers) -> None:
    project = rendered(answers)
    tasks = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["poe"]["tasks"]
    for file, text in texts(project).items():
        assert set(re.findall(r"\bpoe ([a-z-]+)\b", text)) <= set(tasks), file
        for path in PATH.findall(text):
            assert (project / path).exists(), f"{file.name} names {path}"
