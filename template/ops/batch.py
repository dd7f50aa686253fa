"""Batch inference: score records now, see which were rejected, which version predicts."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer
from rich.console import Console

from lambdas import batch as functions
from lambdas.aws import split_uri
from ops import OpsError, aws, destroy, outside, workflow
from ops.tables import DataFile, body_of, show
from ops.times import Day
from usecase import config
from usecase.config import UseCase
from usecase.predictions import parquet
from usecase.serve_batch import CSV, JSON_LINES
from workflows import keys, names

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        DescribeTransformJobResponseTypeDef as TransformJob,
    )

DEPLOY = "batch-deploy"
"""The function that makes an approved version the one that predicts."""
CONTENT_TYPES = {".csv": CSV, ".jsonl": JSON_LINES, ".parquet": JSON_LINES}
WAIT = 3600  # seconds for a transform job

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


def invoke(file: DataFile) -> None:
    """Let the model answer FILE (.csv without header, .jsonl or .parquet), and print the answers.

    A transform job does it, as for the batches. The table of predictions does not have them.
    """
    content_type = CONTENT_TYPES.get(file.suffix.lower())
    if content_type is None:
        raise OpsError(f"{file}: its name must end in {' or '.join(CONTENT_TYPES)}")
    model = require_deployments()[-1]
    name = f"{names.current().prefix}-invoke-{uuid.uuid4().hex[:8]}"
    place = f"s3://{aws.bucket()}/{keys.BATCH}{name}"
    body: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": model,
        "BatchStrategy": "MultiRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{place}/rows"}},
            "ContentType": content_type,
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": place,
            "Accept": content_type,
            "AssembleWith": "Line",
        },
        "TransformResources": {
            "InstanceType": config.load().instances.inference,
            "InstanceCount": 1,
        },
        "Tags": [{"Key": "project", "Value": names.current().prefix}],
    }
    with console.status("Uploading …") as status:
        bucket, key = split_uri(f"{place}/rows")
        aws.s3().put_object(Bucket=bucket, Key=key, Body=body_of(file))
        aws.sagemaker().create_transform_job(**body)

        def ended() -> "TransformJob | None":
            job = aws.sagemaker().describe_transform_job(TransformJobName=name)
            status.update(f"{name}: {job['TransformJobStatus']}")
            return None if job["TransformJobStatus"] in ("InProgress", "Stopping") else job

        job = aws.wait_for(name, ended, timeout=WAIT)
    if job["TransformJobStatus"] != "Completed":
        log = "its log is /aws/sagemaker/TransformJobs"
        raise OpsError(f"{name} has failed: {job.get('FailureReason', 'it was stopped')}; {log}")
    print(aws.read(f"{key}.out").decode(), end="")


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
    show(result.rejected, console)


def rejected(start: Day = None, end: Day = None) -> None:
    """Show the records of these days that could not be scored, and why."""
    found = rejections(start, end)
    console.print(f"{found.height} records rejected.")
    show(found, console)


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
    require_deployments()
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


def _none(use_case: UseCase) -> pl.DataFrame:
    kinds = parquet.columns(use_case)[parquet.REJECTED]
    return parquet.nothing(kinds).select(parquet.ID, parquet.TIME, "reason")


def deployments() -> list[str]:
    """The models that approvals have made, the one that predicts last."""
    return functions.models(names.current().prefix, aws.sagemaker())


def require_deployments() -> list[str]:
    """The same.

    Raises:
        OpsError: When there is none.
    """
    if not (found := deployments()):
        raise OpsError("no version is approved yet; first `uv run ops models approve VERSION`")
    return found


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
    destroy.require_consent(yes=yes)
    models = deployments()
    if not models:
        console.print("There are no models.")
        return
    console.print(f"Models {', '.join(models)}", soft_wrap=True)
    destroy.ask("Delete them?", yes=yes)
    outside.remove(outside.Outside(models=models))
    console.print("The models are deleted.")
