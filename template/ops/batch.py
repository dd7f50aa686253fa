"""Batch inference: score records now, see which were rejected, which version predicts."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from lambdas import batch as functions
from ops import OpsError, aws, outside, times, workflow
from ops.times import Day
from usecase import config
from usecase.config import UseCase
from usecase.predictions import parquet
from workflows import keys, names

DEPLOY = "batch-deploy"
"""The function that makes an approved version the one that predicts."""

console = Console()


@dataclass(frozen=True)
class Run:
    """What has come of a run of the batch workflow.

    Attributes:
        days: The days that were scored, in ISO 8601.
        predictions: Records that were scored.
        rejected: A row for each record that could not be: its id, its time and the reason.
    """

    days: list[str]
    predictions: int
    rejected: pl.DataFrame


def run(start: Day = None, end: Day = None) -> None:
    """Score records now: of these days, or of those since the newest that was scored."""
    with console.status("Scoring …") as status:
        result = score(start, end, lambda text: status.update(f"Scoring: {text}"))
    if not result.days:
        console.print("Nothing to score: there is no newer record.")
        return
    console.print(
        f"{result.days[0]} to {result.days[-1]}: {result.predictions} predictions, "
        f"{result.rejected.height} records rejected."
    )
    show(result.rejected)


def rejected(start: Day = None, end: Day = None) -> None:
    """Show the records of these days that could not be scored, and why."""
    found = rejections(start, end)
    console.print(f"{found.height} records rejected.")
    show(found)


def score(
    start: date | None, end: date | None, progress: Callable[[str], None] = lambda _: None
) -> Run:
    """Run the batch workflow and read its report.

    Args:
        start: The first day; `None` for the one after the newest that was scored.
        end: The last day; `None` for that of the newest record.
        progress: Called with the step that runs.

    Raises:
        OpsError: When no version is approved, or the workflow failed.
    """
    if not deployments():
        raise OpsError("no version is approved yet; first `uv run ops models approve VERSION`")
    days = {"Start": start, "End": end}
    execution = workflow.wait(
        workflow.start(names.current().batch, {k: f"{v:%Y-%m-%d}" for k, v in days.items() if v}),
        lambda state: progress(", ".join(state.running) or "starting"),
    )
    uri = f"s3://{aws.bucket()}/{keys.BATCH}{execution.id}/report/report.json"
    report: dict[str, Any] | None = aws.find_json(uri)
    if not report or not report["days"]:
        return Run([], 0, _none(config.load()))
    scored = [date.fromisoformat(report["days"][i]) for i in (0, -1)]
    return Run(report["days"], report["predictions"], rejections(*scored))


def rejections(start: date | None, end: date | None) -> pl.DataFrame:
    """The rejected records of some days: id, time and reason."""
    use_case = config.load()
    days = f"{keys.REJECTED}day="
    last = f"{days}{end or date.max}"
    found = takewhile(lambda key: key[: len(last)] <= last, aws.keys(days, f"{start or ''}"))
    none = _none(use_case)
    # Those of before there was one table for all modes are named after the record's columns.
    own = {use_case.data.id: parquet.ID, use_case.data.time: parquet.TIME}
    parts = (pl.read_parquet(aws.read(key)).rename(own, strict=False) for key in found)
    return pl.concat([none, *(part.select(none.columns) for part in parts)])


def show(records: pl.DataFrame) -> None:
    """Print a row for each rejected record."""
    if records.is_empty():
        return
    table = Table(*records.columns)
    for row in records.iter_rows():
        table.add_row(*(cell(value) for value in row))
    console.print(table)


def cell(value: object) -> str:
    """A value as it stands in a table; nothing where there is none."""
    if isinstance(value, datetime):
        return times.show(value)
    return "" if value is None else str(value)


def _none(use_case: UseCase) -> pl.DataFrame:
    kinds = parquet.columns(use_case)[parquet.REJECTED]
    return parquet.nothing(kinds).select(parquet.ID, parquet.TIME, "reason")


def deployments() -> list[str]:
    """The models that approvals have made, the one that predicts last."""
    return functions.models(names.current().prefix, aws.sagemaker())


def serving_package() -> str | None:
    """The ARN of the model package that predicts, `None` while no version is approved."""
    known = deployments()
    return functions.package_of(known[-1], aws.sagemaker()) if known else None


def wait_until_serving(package: str) -> None:
    """Wait until a version is the one that predicts.

    Args:
        package: ARN of its model package.

    Raises:
        OpsError: When it does not become that.
    """
    aws.wait_for(
        f"deployment of {package}", lambda: serving_package() == package or None, interval=0.2
    )


def predicted(use_case: UseCase, since: datetime) -> dict[str, datetime]:
    """The ids of the records, of whichever version, whose time or that of scoring is since a time.

    Args:
        use_case: Names the columns.
        since: UTC.

    Returns:
        The time of each record, by which a monitor finds it.
    """
    day = f"{keys.PREDICTIONS}{since:{parquet.DAY_FOLDER}}"
    found = aws.written(keys.PREDICTIONS)
    with aws.downloaded(key for key, written in found if key >= day or written >= since) as folder:
        return dict(parquet.made([folder], use_case).iter_rows())


def delete_models(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the models, after a question: nothing predicts until the next approval.

    The versions in the registry stay.
    """
    outside.require_consent(yes=yes)
    models = deployments()
    if not models:
        console.print("There are no models.")
        return
    console.print(f"Models {', '.join(models)}", soft_wrap=True)
    outside.ask("Delete them?", yes=yes)
    outside.remove(outside.Outside(models=models))
    console.print("The models are deleted.")
