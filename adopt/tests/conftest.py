"""What the tests share: a project to adopt into, and the command."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from adopt import __main__ as command_line
from adopt.project import OWNED
from local import tools

PROJECT = Path.cwd()

#: A test of one kind of problem is for projects of that kind.
collect_ignore = (
    []
    if tools.answers()["problem_type"] == "binary_classification"
    else ["test_binary_classification.py"]
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of which only the files are there that adopting replaces."""
    for name in (tools.ANSWERS, *OWNED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def app() -> typer.Typer:
    """The command line."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command_line.adopt)
    return app


@pytest.fixture
def run(project: Path, app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Adopts a table; returns what was printed, as wide as its lines are."""
    wide = Console(width=200, height=25, color_system=None)
    monkeypatch.setattr(command_line, "console", wide)

    def run(rows: pl.DataFrame, *arguments: str) -> str:
        file = project / "My data.csv"
        rows.write_csv(file)
        result = CliRunner().invoke(
            app, [str(file), "--target", "the target?", "--force", *arguments]
        )
        if result.exception:
            raise result.exception
        return result.output

    return run
