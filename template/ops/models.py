"""The model registry: which versions there are, how they compare, which one may serve."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ops import aws
from ops.errors import OpsError
from usecase import config
from workflows import names

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console()


@dataclass(frozen=True)
class Version:
    """One version of the model.

    Attributes:
        arn: ARN of the model package.
        number: The version.
        approval: PendingManualApproval, Approved or Rejected.
        created: When it was registered, UTC.
        trigger: What started its training.
        metrics: Value of each metric on its own test data.
        artifact: S3 URI of its model.tar.gz.
        test_data: S3 URI of its test data.
        commit: The commit of this repository that it was trained with, else empty.
    """

    arn: str
    number: int
    approval: str
    created: datetime
    trigger: str
    metrics: dict[str, float]
    artifact: str
    test_data: str
    commit: str


def describe(arn: str) -> Version:
    """Read one version from the registry, its metrics from S3."""
    package = aws.sagemaker().describe_model_package(ModelPackageName=arn)
    properties = package.get("CustomerMetadataProperties", {})
    report = aws.read_json(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    return Version(
        arn=arn,
        number=package["ModelPackageVersion"],
        approval=package.get("ModelApprovalStatus", ""),
        created=package["CreationTime"].astimezone(UTC),
        trigger=properties.get("Trigger", ""),
        metrics=scalars(report),
        artifact=package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"],
        test_data=properties.get("TestData", ""),
        commit=package.get("MetadataProperties", {}).get("CommitId", ""),
    )


def scalars(report: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a Model Monitor model-quality report that are a single number."""
    section = next(values for name, values in report.items() if name.endswith("_metrics"))
    return {
        name: float(entry["value"])
        for name, entry in section.items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
    }


def versions(approval: str | None = None) -> list[Version]:
    """All versions, newest first.

    Args:
        approval: Only those with this approval status.
    """
    pages = aws.sagemaker().get_paginator("list_model_packages")
    found = pages.paginate(
        ModelPackageGroupName=names.MODEL_PACKAGE_GROUP,
        SortBy="CreationTime",
        SortOrder="Descending",
    )
    return [
        describe(package["ModelPackageArn"])
        for page in found
        for package in page["ModelPackageSummaryList"]
        if approval in (None, package.get("ModelApprovalStatus"))
    ]


def find(number: int) -> Version:
    """The version with this number.

    Raises:
        OpsError: When there is none; the message lists those there are.
    """
    known = versions()
    for version in known:
        if version.number == number:
            return version
    numbers = ", ".join(str(v.number) for v in reversed(known)) or "none"
    raise OpsError(f"there is no version {number} in the registry; there are: {numbers}")


def serving() -> Version | None:
    """The version that the endpoint serves."""
    arn = aws.serving_package()
    return describe(arn) if arn else None


def evaluate(version: Version, test_data: str) -> dict[str, float]:
    """Evaluate a version on test data.

    Args:
        version: The version.
        test_data: S3 URI of a folder with Parquet files.
    """
    from usecase.evaluate import evaluate_model, extract  # noqa: PLC0415 - xgboost takes a second

    with tempfile.TemporaryDirectory() as folder:
        archive, model, test = (Path(folder, name) for name in ("model.tar.gz", "model", "test"))
        where, key = aws.split_uri(version.artifact)
        aws.s3().download_file(where, key, str(archive))
        extract(archive, model)
        test.mkdir()
        prefix = aws.split_uri(test_data)[1]
        for i, found in enumerate(aws.keys(prefix)):
            aws.s3().download_file(aws.bucket(), found, str(test / f"{i}.parquet"))
        return scalars(evaluate_model(model, test, config.load()))


def approve_version(version: Version, description: str) -> None:
    """Approve a version; its approval event starts the deployment."""
    aws.sagemaker().update_model_package(
        ModelPackageArn=version.arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription=description,
        # The deployment compares these: the newest approval wins, however late its event comes.
        CustomerMetadataProperties={"ApprovedAt": datetime.now(UTC).isoformat()},
    )


@app.command("list")
def list_() -> None:
    """List all versions, newest first."""
    use_case = config.load()
    current = aws.serving_package()
    table = Table("version", "approval", "registered (UTC)", "trigger", "commit")
    table.add_column(use_case.approval.metric, justify="right")
    table.add_column("")
    for version in versions():
        table.add_row(
            str(version.number),
            version.approval,
            f"{version.created:%Y-%m-%d %H:%M}",
            version.trigger,
            version.commit[:8],
            f"{version.metrics[use_case.approval.metric]:.3f}",
            "serving" if version.arn == current else "",
        )
    console.print(table)


@app.command()
def compare(
    challenger: Annotated[
        int | None, typer.Argument(help="Version to judge. Default: the newest one pending.")
    ] = None,
    champion: Annotated[
        int | None, typer.Argument(help="Version to beat. Default: the one that serves.")
    ] = None,
) -> None:
    """Compare two versions on the test data of the newer one, which neither has seen."""
    new = find(challenger) if challenger else newest_pending()
    old = find(champion) if champion else serving()
    if old is None or old.arn == new.arn:
        console.print(f"Nothing to compare version {new.number} with: nothing else serves.")
        results = {f"version {new.number}": new.metrics}
    else:
        results = {
            f"version {version.number}": evaluate(version, new.test_data) for version in (old, new)
        }
    console.print(comparison(results))


def newest_pending() -> Version:
    """The newest version that awaits approval.

    Raises:
        OpsError: When there is none.
    """
    pending = versions(approval="PendingManualApproval")
    if not pending:
        raise OpsError("no version awaits approval; `ops models list` shows them all")
    return pending[0]


def comparison(results: dict[str, dict[str, float]]) -> Table:
    """A table with a row for each metric and a column for each version."""
    table = Table("metric")
    for heading in results:
        table.add_column(heading, justify="right")
    columns = list(results.values())
    if len(columns) > 1:
        table.add_column("difference", justify="right")
    for metric in columns[0]:
        values = [column[metric] for column in columns]
        difference = [f"{values[1] - values[0]:+.3f}"] if len(values) > 1 else []
        table.add_row(metric, *(f"{value:.3f}" for value in values), *difference)
    return table


@app.command()
def approve(
    version: Annotated[int, typer.Argument(help="The version to approve.")],
    description: Annotated[str, typer.Option(help="Why; kept in the registry.")] = "approved",
    wait: Annotated[bool, typer.Option(help="Wait until it serves.")] = True,
) -> None:
    """Approve a version, which deploys it."""
    found = find(version)
    approve_version(found, description)
    console.print(f"Version {version} is approved.")
    if wait:
        with console.status(f"Deploying version {version} …"):
            wait_until_serving(found)
        console.print(f"Version {version} serves on endpoint {names.ENDPOINT}.")


def wait_until_serving(version: Version) -> None:
    """Wait until the endpoint is in service with a version.

    Raises:
        OpsError: When the deployment failed or does not come to an end.
    """

    def probe() -> bool | None:
        if aws.serving_package() != version.arn:
            return None
        state = aws.sagemaker().describe_endpoint(EndpointName=names.ENDPOINT)
        if state["EndpointStatus"] == "Failed":
            reason = state.get("FailureReason", "")
            raise OpsError(f"deployment of version {version.number} failed: {reason}")
        return True if state["EndpointStatus"] == "InService" else None

    aws.wait_for(f"deployment of version {version.number}", probe, timeout=1800, interval=0.2)


@app.command()
def reject(
    version: Annotated[int, typer.Argument(help="The version to reject.")],
    description: Annotated[str, typer.Option(help="Why; kept in the registry.")] = "rejected",
) -> None:
    """Reject a version. A version that serves goes on serving."""
    found = find(version)
    aws.sagemaker().update_model_package(
        ModelPackageArn=found.arn, ModelApprovalStatus="Rejected", ApprovalDescription=description
    )
    console.print(f"Version {version} is rejected.")
