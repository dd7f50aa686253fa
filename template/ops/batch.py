"""Batch inference: score records now, see which were rejected, which version predicts."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from ops import aws, workflow
from usecase import config, predictions
from usecase.config import UseCase
from usecase.predictions import parquet
from workflows import names

console = Console()
Day = Annotated[datetime | None, typer.Option(help="UTC, included.", formats=["%Y-%m-%d"])]


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
        console.print("Nothing to score: no version is approved, or there is no newer record.")
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
        OpsError: When the workflow failed.
    """
    days = {"Start": start, "End": end}
    execution = workflow.wait(
        workflow.start(names.BATCH, {k: f"{v:%Y-%m-%d}" for k, v in days.items() if v}),
        lambda state: progress(", ".join(state.running) or "starting"),
    )
    uri = f"s3://{aws.bucket()}/batch/{execution.id}/report/report.json"
    report: dict[str, Any] | None = aws.find_json(uri)
    if not report or not report["days"]:
        return Run([], 0, _none(config.load()))
    scored = [date.fromisoformat(report["days"][i]) for i in (0, -1)]
    return Run(report["days"], report["predictions"], rejections(*scored))


def rejections(start: date | None, end: date | None) -> pl.DataFrame:
    """The rejected records of some days: id, time and reason."""
    use_case = config.load()

    def within(key: str) -> bool:
        day = key.partition("day=")[2].partition("/")[0]
        first, last = f"{start or date.min:%Y-%m-%d}", f"{end or date.max:%Y-%m-%d}"
        return first <= day <= last

    parts = [pl.read_parquet(aws.read(key)) for key in aws.keys("rejected/") if within(key)]
    none = _none(use_case)
    return pl.concat([none, *(part.select(none.columns) for part in parts)])


def show(records: pl.DataFrame) -> None:
    """Print a row for each rejected record."""
    if records.is_empty():
        return
    table = Table(*records.columns)
    for row in records.iter_rows():
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(table)


def _none(use_case: UseCase) -> pl.DataFrame:
    kinds = parquet.columns(use_case)[parquet.REJECTED]
    return parquet.nothing(kinds).select(use_case.data.id, use_case.data.time, "reason")


def models() -> list[str]:
    """The models that approvals have made, the newest approval last."""
    pages = aws.sagemaker().get_paginator("list_models")
    found = [
        model["ModelName"]
        for page in pages.paginate(NameContains=f"{names.PROJECT}-")
        for model in page["Models"]
    ]
    mine = [name for name in found if re.fullmatch(rf"{names.PROJECT}-\d+-\d{{17}}", name)]
    return sorted(mine, key=lambda name: name.rpartition("-")[2])


def serving_package() -> str | None:
    """The ARN of the model package that predicts, `None` while no version is approved."""
    known = models()
    if not known:
        return None
    model = aws.sagemaker().describe_model(ModelName=known[-1])
    return model["PrimaryContainer"].get("ModelPackageName")


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


def predicted_ids(use_case: UseCase, hours: float) -> set[str]:
    """The ids of the records whose time, or that of their prediction, is within the last hours."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    with tempfile.TemporaryDirectory() as folder:
        for i, (key, written) in enumerate(aws.written("predictions/")):
            day = key.partition("day=")[2].partition("/")[0]
            if day >= f"{since:%Y-%m-%d}" or written >= since:
                Path(folder, f"{i:06}.parquet").write_bytes(aws.read(key))
        return set(predictions.read(Path(folder), use_case).rows["inference_id"])


def delete_models() -> None:
    """Delete the models; the versions in the registry stay. The next approval makes one again."""
    for name in models():
        aws.sagemaker().delete_model(ModelName=name)
        console.print(f"Model {name} is deleted.")
