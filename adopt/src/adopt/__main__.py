"""`poe adopt`: take over the data set of a proof of concept."""

import hashlib
import importlib
import json
import runpy
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adopt import files, trial
from adopt.columns import Column, Problem
from adopt.dataset import Asked, DataSet, look
from adopt.files import Measures
from local import sample_data, tools
from ops import OpsError
from ops.tables import DataFile, Encoding
from usecase import config
from usecase.errors import UseCaseError

USE_CASE, FEATURES = Path("usecase.toml"), Path("src/usecase/features.py")
MART = Path("tests/mart.toml")
SAMPLE = (Path("tests/test_sample.py"), Path("tests/test_usecase_requests.py"))
OWNED = (FEATURES, MART, *SAMPLE, USE_CASE)
HISTORY, TRAFFIC = ("history",), ("traffic-1", "traffic-2")

console = Console()


def adopt(  # noqa: PLR0913, PLR0917 - an option each
    file: DataFile,
    target: Annotated[str, typer.Option(help="The column to predict.")],
    time: Annotated[str | None, typer.Option(help="The column with the record's time.")] = None,
    facet: Annotated[
        list[str] | None, typer.Option(help="A column whose groups are to be compared; repeatable.")
    ] = None,
    identifier: Annotated[
        str | None, typer.Option("--id", help="The column that identifies a record.")
    ] = None,
    encoding: Encoding = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace usecase.toml and features.py though edited.")
    ] = False,
) -> None:
    """Take over FILE (Parquet, or CSV with header): write usecase.toml, features.py and data/.

    tests/mart.toml is written for the tests, those of the sample go. All of it is done, or nothing.
    Then `uv run poe local` lives the model's life on that data.
    """
    if not force and (lost := edited()):
        raise OpsError(
            f"{' and '.join(map(str, lost))}: would be replaced, with your changes; commit them, "
            "then pass --force"
        )
    problem = problem_of(str(tools.answers()["problem_type"]))
    asked = Asked(target, time, identifier, tuple(facet or ()), encoding)
    data = look(file, asked, problem)
    sample_data.FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=sample_data.FOLDER, prefix=".") as staged:
        measures, notes = write(data, Path(staged), problem)
        commit(Path(staged), data.findings.table)
    console.print(overview(data.columns))
    for line in [*data.notes, measures.reached, *notes]:
        console.print(f"- {line}", markup=False, soft_wrap=True, highlight=False)
    console.print("usecase.toml and src/usecase/features.py are yours now. Next: uv run poe local")


def problem_of(problem_type: str) -> Problem:
    """What depends on the kind of problem that the project is made for."""
    found: Problem = cast("Problem", importlib.import_module(f"adopt.{problem_type}"))
    return found


def write(data: DataSet, staged: Path, problem: Problem) -> tuple[Measures, list[str]]:
    """Write everything to a folder, and try the project's model on it.

    Returns:
        What was measured, and what to tell of it.

    Raises:
        OpsError: When no model can be trained on it.
    """
    folder = staged / data.findings.table
    folder.mkdir()
    ends = (0, *data.history, data.records.height)
    for name, start, end in zip((*HISTORY, *TRAFFIC), ends, ends[1:], strict=False):
        data.records[start:end].write_parquet(folder / f"{name}.parquet")
    listed = MART.read_text(encoding="utf-8") if MART.exists() else ""
    mart = files.mart(listed, data.findings, data.records)
    (staged / MART.name).write_text(mart, encoding="utf-8")
    features = staged / FEATURES.name
    features.write_text(files.features(data.findings), encoding="utf-8")
    # A name of the data set that is too long for a line, or looks like another, gets its `noqa`.
    for command in ("format", "check --add-noqa", "format"):
        ruff = ["ruff", *command.split(), "--quiet", "--no-cache", str(features)]
        subprocess.run([sys.executable, "-m", *ruff], check=True)
    use_case = staged / USE_CASE.name
    before = USE_CASE.read_text(encoding="utf-8") if USE_CASE.exists() else ""
    truth = data.findings.target.values.head(data.history[0])
    fit = trial.leaf(truth)
    measures = Measures(problem.METRIC, settings={**fit, "metrics": [problem.METRIC]})
    use_case.write_text(files.use_case(before, data.findings, measures), encoding="utf-8")
    try:
        records = runpy.run_path(str(features))["build"]({data.findings.table: data.records})
        measures, notes = trial.measure(records, data.history[0], config.load(use_case), problem)
    except UseCaseError as error:
        raise OpsError(f"no model can be trained on this data: {error}") from None
    measures = replace(measures, settings={**fit, **measures.settings})
    use_case.write_text(files.use_case(before, data.findings, measures), encoding="utf-8")
    config.load(use_case)
    parts = {"tables": [data.findings.table], "history": HISTORY, "traffic": TRAFFIC, "id": data.id}
    written = {str(place): digest(staged / place.name) for place in (USE_CASE, FEATURES, MART)}
    (staged / sample_data.PARTS.name).write_text(json.dumps({**parts, "written": written}))
    return measures, notes


def commit(staged: Path, table: str) -> None:
    """Put what is staged in its place, all of it, or, when something fails, nothing.

    The sample's tests have nothing in their place.
    """
    with ExitStack() as undo:
        for place in (sample_data.FOLDER / table, *OWNED, sample_data.PARTS):
            new, old = staged / place.name, staged / f"old-{place.name}"
            if place.exists():
                place.rename(old)
                undo.callback(old.rename, place)
            if place not in SAMPLE:
                new.rename(place)
                undo.callback(place.rename, new)
        undo.pop_all()


def edited() -> list[Path]:
    """The files that are neither as the template nor as this command has written them.

    How the template has written them, the project's first commit with its answers knows. Without
    one they count as edited: nothing would be left of them.
    """
    written: dict[str, str] = {}
    if sample_data.PARTS.exists():
        written = json.loads(sample_data.PARTS.read_text())["written"]
    return [
        place
        for place in OWNED
        if place.exists()
        and place.read_bytes() != first_committed(place)
        and digest(place) != written.get(str(place))
    ]


def first_committed(place: Path) -> bytes | None:
    """A file as the commit has it that brought the answers; `None` if there is no such commit."""
    answers = ["log", "--diff-filter=A", "--format=%H", "--", str(tools.ANSWERS)]
    commits = git(*answers)
    return git("show", f"{commits.decode().split()[-1]}:./{place}") if commits else None


def git(*arguments: str) -> bytes | None:
    """What git prints, `None` when it fails."""
    result = subprocess.run(["git", *arguments], capture_output=True, check=False)
    return None if result.returncode else result.stdout


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def overview(found: list[Column]) -> Table:
    """What each column is, as a table."""
    shown = Table("column", "taken as", "missing", "distinct", "note")
    for column in found:
        missing = f"{column.missing / max(1, len(column.values)):.1%}" if column.missing else ""
        cells = (column.name, column.kind, missing, str(column.distinct), "; ".join(column.notes))
        style = "dim" if column.kind == "left out" else ""
        shown.add_row(*map(Text, cells), style=style)
    return shown


def main() -> None:
    """Run the command line; what a person can fix ends in one line and exit status 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(adopt)
    try:
        app(prog_name="poe adopt")
    except (OpsError, UseCaseError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
