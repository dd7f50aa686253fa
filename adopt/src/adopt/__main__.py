"""`poe adopt`: take over the data set of a proof of concept."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adopt import files, joins, project, table, trial
from adopt.columns import Column, Problem
from adopt.dataset import Asked, DataSet, look
from adopt.files import Measures
from adopt.project import FEATURES, MART, OWNED, SAMPLE, USE_CASE
from local import sample_data, tools
from ops import OpsError
from ops.tables import Encoding
from usecase import config, prepare, tables
from usecase.errors import UseCaseError

HISTORY, TRAFFIC = ("history",), ("traffic-1", "traffic-2")

console = Console()


def adopt(  # noqa: PLR0913, PLR0917 - an option each
    file: Annotated[Path, typer.Argument(exists=True)],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    time: Annotated[str | None, typer.Option(help="The column with the record's time.")] = None,
    facet: Annotated[
        list[str] | None, typer.Option(help="A column whose groups are to be compared; repeatable.")
    ] = None,
    identifier: Annotated[
        str | None, typer.Option("--id", help="The column that identifies a record.")
    ] = None,
    join: Annotated[
        list[str] | None,
        typer.Option(help="FILE:KEY, a table to look up by a column of FILE; repeatable."),
    ] = None,
    encoding: Encoding = None,
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Write data/ alone, for the usecase.toml there is.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace usecase.toml and features.py though edited.")
    ] = False,
) -> None:
    """Take over FILE: write usecase.toml, features.py and data/.

    FILE is Parquet, a folder of Parquet files, or CSV with header. tests/mart.toml is written for
    the tests, those of the sample go. All of it is done, or nothing. Then `uv run poe local` lives
    the model's life on that data.
    """
    if not force and not data_only and (lost := edited()):
        raise OpsError(
            f"{' and '.join(map(str, lost))}: would be replaced, with your changes; commit them, "
            "then pass --force"
        )
    problem = project.problem()
    others = tuple(map(joins.parse, join or ()))
    asked = Asked(target, time, identifier, tuple(facet or ()), encoding, others)
    check_sources([file, *(one.file for one in others)])
    with console.status("reading") as status:
        data = look(file, asked, problem, status.update)
        sample_data.FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=sample_data.FOLDER, prefix=".") as folder:
            staged = Path(folder)
            if data_only:
                status.update("comparing the data with usecase.toml")
                told = compared(data)
                write_data(data, staged)
                commit(staged, places(data))
            else:
                status.update("fitting a first model")
                measures, notes = write(data, staged, problem)
                commit(staged, [*places(data), *OWNED])
                told = [*data.notes, measures.reached, *notes]
    if not data_only:
        console.print(overview(data.columns))
    for line in told:
        console.print(f"- {line}", markup=False, soft_wrap=True, highlight=False)
    if not data_only:
        console.print("usecase.toml and src/usecase/features.py are yours now.")
        console.print("Once src/usecase/model.py has a model of yours: uv run poe retune")
    console.print("Next: uv run poe local")


def places(data: DataSet) -> list[Path]:
    """What is written of the data."""
    folders = [sample_data.FOLDER / name for name in data.findings.tables]
    return [*folders, sample_data.PARTS]


def check_sources(sources: list[Path]) -> None:
    """Check that no table is written to where one is read from.

    Raises:
        OpsError: When it is: the owner's file would be replaced.
    """
    folders = [sample_data.FOLDER / table.name(source) for source in sources]
    for source, folder in product(sources, folders):
        read, written = source.resolve(), folder.resolve()
        if read.is_relative_to(written) or written.is_relative_to(read):
            raise OpsError(
                f"{source}: overlaps with {folder}/, which this command replaces; move the source "
                "elsewhere"
            )


def compared(data: DataSet) -> list[str]:
    """Check that data is what usecase.toml and features.py were written for.

    Returns:
        What to tell of it.

    Raises:
        OpsError: When it is not; names what differs.
        UseCaseError: The same.
    """
    use_case = config.load()
    made = tuple(data.findings.tables)
    if made != use_case.data.tables:
        raise OpsError(
            f"{USE_CASE}: data.tables are {', '.join(use_case.data.tables)}, these files make "
            f"{', '.join(made)}; name the files, and the order of --join, as they were"
        )
    tables.check(data.tables, use_case.mart)
    records = prepare.clean(project.build(FEATURES, data.tables), use_case)
    prepare.split(records[: data.history[0]], use_case)
    features = len(use_case.features.names)
    return [
        f"{records.height} records with the {features} features of {USE_CASE}; it is unchanged."
    ]


def write_data(data: DataSet, staged: Path) -> None:
    """Write the parts of the data to a folder."""
    records, *others = data.findings.tables
    ends = (0, *data.history, data.records.height)
    for folder in (records, *others):
        (staged / folder).mkdir()
    for name, start, end in zip((*HISTORY, *TRAFFIC), ends, ends[1:], strict=False):
        data.records[start:end].write_parquet(staged / records / f"{name}.parquet")
    for one in data.joined:
        one.rows.write_parquet(staged / one.table / f"{HISTORY[0]}.parquet")
    parts = {
        "tables": data.findings.tables,
        "lookups": others,
        "history": HISTORY,
        "traffic": TRAFFIC,
        "id": data.id,
        "written": written(),
    }
    (staged / sample_data.PARTS.name).write_text(json.dumps(parts))


def write(data: DataSet, staged: Path, problem: Problem) -> tuple[Measures, list[str]]:
    """Write everything to a folder, and try a model on it.

    Returns:
        What was measured, and what to tell of it.

    Raises:
        OpsError: When no model can be trained on it.
    """
    write_data(data, staged)
    listed = MART.read_text(encoding="utf-8") if MART.exists() else ""
    mart = files.mart(listed, data.findings, data.tables)
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
        records = project.build(features, data.tables)
        measures, notes = trial.measure(records, data.history[0], config.load(use_case), problem)
    except UseCaseError as error:
        raise OpsError(f"no model can be trained on this data: {error}") from None
    measures = replace(measures, settings={**fit, **measures.settings})
    use_case.write_text(files.use_case(before, data.findings, measures), encoding="utf-8")
    config.load(use_case)
    parts = staged / sample_data.PARTS.name
    digests = {str(place): digest(staged / place.name) for place in (USE_CASE, FEATURES, MART)}
    parts.write_text(json.dumps(json.loads(parts.read_text()) | {"written": digests}))
    return measures, notes


def commit(staged: Path, wanted: Iterable[Path]) -> None:
    """Put what is staged in its place, all of it, or, when something fails, nothing.

    The sample's tests have nothing in their place.
    """
    with ExitStack() as undo:
        for place in wanted:
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
    known = written()
    return [
        place
        for place in OWNED
        if place.exists()
        and place.read_bytes() != first_committed(place)
        and digest(place) != known.get(str(place))
    ]


def written() -> dict[str, str]:
    """The SHA-256 of the files that this command has written here, as it wrote them."""
    if not sample_data.PARTS.exists():
        return {}
    found: dict[str, str] = json.loads(sample_data.PARTS.read_text())["written"]
    return found


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
    """Run the command line."""
    project.run(adopt, "poe adopt")


if __name__ == "__main__":
    main()
