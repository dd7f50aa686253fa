"""Who follows docs/model.md has a model of another kind, and all else goes on."""

import re
import shlex
import textwrap
from pathlib import Path

import pytest

from tests import conftest, template

pytestmark = pytest.mark.slow
BLOCK = re.compile(r"^   ```(\w+)\n(.*?)^   ```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"\[training\.hyperparameters\]\n(?:.+\n)*")


@pytest.fixture(scope="module")
def other(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the recipe has been followed; its model does not tell why."""
    folder = tmp_path_factory.mktemp("other") / "project"
    project = conftest.make_project(repository, folder, {"explain": "contributions"})
    follow(project)
    retuned = template.run(["uv", "run", "poe", "retune", "--yes"], project)
    assert "usecase.toml has them now" in retuned
    return project


def follow(project: Path) -> None:
    """Bring a model of another kind, as the document says."""
    text = (template.ROOT / "docs" / "model.md").read_text()
    blocks = [(kind, textwrap.dedent(body)) for kind, body in BLOCK.findall(text)]
    assert [kind for kind, _ in blocks] == ["console", "python", "toml", "toml"]
    commands, model, hyperparameters, types = (body for _, body in blocks)
    for command in commands.splitlines():
        template.run(shlex.split(command), project)
    (project / "src/usecase/model.py").write_text(model)
    use_case = project / "usecase.toml"
    use_case.write_text(SECTION.sub(hyperparameters, use_case.read_text()))
    with (project / "pyproject.toml").open("a") as file:
        file.write(f"\n{types}")


def test_it_passes_the_checks(other: Path) -> None:
    template.run(["uv", "run", "poe", "check"], other)


def test_it_keeps_the_contract(other: Path) -> None:
    tests = ["uv", "run", "pytest", "tests/test_contract.py"]
    assert "skipped" not in template.run(tests, other)
    installed = template.run(["uv", "pip", "list"], other)
    assert "xgboost" not in installed
    assert "pandas" in installed


@pytest.mark.exhaustive
def test_it_passes_all_tests(other: Path) -> None:
    assert "skipped" not in template.run(["uv", "run", "poe", "test"], other)
