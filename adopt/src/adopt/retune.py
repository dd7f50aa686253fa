"""`poe retune`: set the thresholds of usecase.toml anew, once the model is another one."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from adopt import files, project, trial
from adopt.first_fit import Predict
from adopt.project import FEATURES, USE_CASE
from local import sample_data
from ops import OpsError
from usecase import config, metrics, prepare
from usecase.config import UseCase
from usecase.errors import UseCaseError

console = Console()


def retune(
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
) -> None:
    """Set the gate and the decision threshold anew, for src/usecase/model.py as it is now.

    It is fitted on the history in data/, as the training fits it. What usecase.toml would have is
    shown; it is written when you say so.
    """
    use_case, problem = config.load(), project.problem()
    with console.status("reading data/") as status:
        records = prepare.clean(project.build(FEATURES, history(use_case)), use_case)
        parts = prepare.split(records, use_case)
        status.update("fitting src/usecase/model.py")
        measured = trial.fit(parts, use_case, lambda *data: fitted(use_case, *data))
        status.update("measuring it")
        entries: dict[str, Any] = {
            name: value for name, (value, _) in problem.tuned(*measured["validation"]).items()
        }
        target = replace(use_case.target, **entries)
        metric = use_case.approval.metric
        gate = trial.gate(measured["test"], target, metric, problem, "of the history")
    approval = replace(use_case.approval, threshold=gate.threshold)
    wanted = replace(use_case, target=target, approval=approval)
    shown = Table("usecase.toml", "now", "new")
    shown.add_row(f"approval.threshold ({metric})", *pair(use_case.approval, approval, "threshold"))
    for name in entries:
        shown.add_row(f"target.{name}", *pair(use_case.target, target, name))
    told = {"f1", *use_case.monitors.model_quality.metrics}
    for name, before in metrics.summary(*measured["test"], use_case.target).items():
        after = metrics.summary(*measured["test"], target)[name]
        if after != before and name in told:
            shown.add_row(f"{name} of the model with it", f"{before:.3g}", f"{after:.3g}")
    console.print(shown)
    for line in (f"src/usecase/model.py reached {gate.words}", *gate.notes):
        console.print(f"- {line}", markup=False, soft_wrap=True, highlight=False)
    if wanted == use_case:
        console.print(f"{USE_CASE} has them already.")
        return
    text = USE_CASE.read_text(encoding="utf-8")
    values = {"approval": {"threshold": gate.threshold}, "target": entries}
    text = retuned(text, values, f"src/usecase/model.py reached {gate.words}")
    with tempfile.TemporaryDirectory(dir=".", prefix=".retune-") as folder:
        new = Path(folder, USE_CASE.name)
        new.write_text(text, encoding="utf-8")
        if config.load(new) != wanted:
            raise OpsError(f"{USE_CASE}: cannot be changed line by line; write the values yourself")
        if not yes:
            agreed(f"Write them to {USE_CASE}?")
        new.replace(USE_CASE)
    console.print(f"{USE_CASE} has them now.")


def agreed(question: str) -> None:
    """Ask, and go on if the answer is yes.

    Raises:
        OpsError: When nobody is there to answer.
        Abort: When the answer is no.
    """
    try:
        answer = typer.confirm(question)
    except typer.Abort:
        raise OpsError(f"{USE_CASE}: was not written, as nobody has answered; pass --yes") from None
    if not answer:
        raise typer.Abort


def pair(now: object, new: object, name: str) -> tuple[str, str]:
    """A value as it is and as it would be."""
    return str(getattr(now, name)), str(getattr(new, name))


def history(use_case: UseCase) -> dict[str, pl.DataFrame]:
    """The tables of the first training.

    Raises:
        OpsError: When they are not there.
    """
    parts = sample_data.parts(use_case.data.tables)
    if use_case.data.tables == sample_data.TABLES:
        sample_data.write()
    return {
        table: pl.concat(
            map(pl.read_parquet, dict.fromkeys(parts.file(table, part) for part in parts.history))
        )
        for table in use_case.data.tables
    }


def fitted(use_case: UseCase, train: pl.DataFrame, validation: pl.DataFrame) -> Predict:
    """Fit the project's model.

    Raises:
        OpsError: When it cannot be fitted.
        UseCaseError: When it says why.
    """
    try:
        from usecase.model import Model  # noqa: PLC0415 - it may be anything, or broken

        model = Model.fit(train, validation, use_case, use_case.training.hyperparameters)
    except UseCaseError:
        raise
    except Exception as error:
        raise OpsError(
            f"src/usecase/model.py: cannot be fitted ({type(error).__name__}: {error})"
        ) from error
    return lambda rows: model.predict(rows.to_dict())


def retuned(text: str, values: Mapping[str, Mapping[str, object]], reached: str) -> str:
    """The text of usecase.toml with other values, all comments and all other lines as they were.

    Args:
        text: The text.
        values: The values of keys, by section; a key that is not there is added.
        reached: What takes the place of what such a comment says in [approval].
    """
    sections = files.split(text)
    for name, entries in values.items():
        for key, value in entries.items():
            before = sections.get(name, "")
            line = re.compile(rf"(?m)^({key} *= *)([^#\n]+?)( *(?:#.*)?)$")
            sections[name] = line.sub(files.beside(value), before)
            if not line.search(before):
                header, below = re.split(rf"(?m)(?<=^\[{re.escape(name)}\])", before, maxsplit=1)
                sections[name] = f"{header}\n{key} = {files.toml(value, 0)}{below}"
    said = re.compile(r"(?m)^# (?:A first fit|src/usecase/model\.py) [^\n]*\n(?:#[^\n]*\n)*")
    comment = "".join(f"# {line}\n" for line in files.wrapped(reached))
    sections["approval"] = said.sub(lambda _: comment, sections.get("approval", ""))
    return "".join(sections.values())


if __name__ == "__main__":
    project.run(retune, "poe retune")
