"""The project that adopt runs in."""

import importlib
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import polars as pl
import typer

from adopt.columns import Problem
from local import tools
from ops import OpsError
from usecase.errors import UseCaseError

USE_CASE, FEATURES = Path("usecase.toml"), Path("src/usecase/features.py")
MART = Path("tests/mart.toml")
SAMPLE = (Path("tests/test_sample.py"), Path("tests/test_usecase_requests.py"))
OWNED = (FEATURES, MART, *SAMPLE, USE_CASE)


def problem() -> Problem:
    """What depends on the kind of problem that the project is made for."""
    found = importlib.import_module(f"adopt.{tools.answers()['problem_type']}")
    return cast("Problem", found)


def takes_text() -> bool:
    """Whether the model that the project began with takes free text."""
    return tools.answers().get("framework") == "scikit_learn"


def build(features: Path, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Build the features of tables.

    Args:
        features: The file with the code.
        tables: The tables that it takes, by name.

    Raises:
        OpsError: When they are not what it takes.
    """
    try:
        records: pl.DataFrame = runpy.run_path(str(features))["build"](tables)
    except (pl.exceptions.PolarsError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OpsError(
            f"{FEATURES}: does not fit this data ({type(error).__name__}: {reason})"
        ) from error
    return records


def run(command: Callable[..., None], name: str) -> None:
    """Run a command line; what a person can fix ends in one line and exit status 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app(prog_name=name)
    except (OpsError, UseCaseError) as error:
        sys.exit(f"error: {error}")
