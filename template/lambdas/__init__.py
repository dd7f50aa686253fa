"""The Lambda functions: a file each, with boto3, the standard library and `workflows/keys.py`.

Here is what they, and the commands, have in common: executions, metrics, approvals.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from botocore.exceptions import ClientError

Status = Literal["running", "succeeded", "failed", "stopped"]

IMAGE_ADVICE = "Train a new version, or bring the image back to ECR and approve this one again"
"""What to do about a version whose image cannot be used."""
STAMP = timedelta(minutes=1)
"""An event comes within this time of the approval that it tells of."""


@dataclass(frozen=True)
class Execution:
    """An execution of a workflow. A list of executions tells nothing but the first four of it.

    Attributes:
        reference: What it is found by: its ARN.
        status: Whether it runs, and if not, how it has ended.
        started: When it was started, UTC.
        trigger: What started it; empty if that was a person.
        reason: Why it failed, else empty.
        running: The steps that run now.
        parameters: The parameters it was started with.
    """

    reference: str
    status: Status
    started: datetime
    trigger: str
    reason: str = ""
    running: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The last part of the reference, which names the execution's folder in S3."""
        return self.reference.replace(":", "/").rpartition("/")[2]


def metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a report on a model's quality that are a single number.

    Args:
        report: A statistics.json, in the format of Model Monitor.
    """
    sections = (values for key, values in report.items() if key.endswith("_metrics"))
    return {
        name: float(entry["value"])
        for name, entry in next(sections, {}).items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
    }


def deployment_name(project: str, version: int, approved: datetime) -> str:
    """The name of what an approval makes on AWS: of the version, and the time to the millisecond.

    Args:
        project: What the names begin with.
        version: The version.
        approved: When it was approved, UTC.
    """
    return f"{project}-{version}-{approved:%Y%m%d%H%M%S%f}"[:-3]


def approval_in(project: str, name: str) -> tuple[datetime, int] | None:
    """The time of the approval, UTC, and the version in a name that `deployment_name` has made.

    `None` of any other name. The newer of two approvals is the greater one.
    """
    parts = re.fullmatch(rf"{re.escape(project)}-(\d+)-(\d{{17}})", name)
    if parts is None:
        return None
    return datetime.strptime(parts[2], "%Y%m%d%H%M%S%f").replace(tzinfo=UTC), int(parts[1])


def is_approval(event: Mapping[str, Any], approved: datetime | None) -> bool:
    """Whether an event of an approved model package tells of its approval.

    Any change of an approved package sends such an event, with what was changed in
    UpdatedModelPackageFields. Who edits the description of an old version means no deployment.

    Args:
        event: An event "SageMaker Model Package State Change".
        approved: When the package was approved, if `ops models approve` has left that on record.
    """
    changed = event["detail"].get("UpdatedModelPackageFields")
    if not changed or "ModelApprovalStatus" in changed:
        return True
    # AWS does not say whether the status is among them when an approved version is approved again.
    # `ops models approve` leaves the time on record with the same request.
    if approved is None or "CustomerMetadataProperties" not in changed:
        return False
    return abs(datetime.fromisoformat(event["time"]) - approved) < STAMP


def time_of_approval(event: Mapping[str, Any], recorded: datetime | None) -> tuple[datetime, bool]:
    """When a package was approved that an event tells of, UTC, and whether that is on record.

    The record of `ops models approve` is out of date when the version was approved again without
    it, in SageMaker Studio. Else it comes before the time of the event, of which one approval can
    have several.

    Args:
        event: An event "SageMaker Model Package State Change".
        recorded: When the package was approved, if `ops models approve` has left that on record.
    """
    told = datetime.fromisoformat(event["time"]).astimezone(UTC)
    changed = event["detail"].get("UpdatedModelPackageFields") or []
    if recorded is None or ("ModelApprovalStatus" in changed and told - recorded > STAMP):
        return told, False
    return recorded, True


def other_mode(properties: Mapping[str, str], mode: str) -> str | None:
    """The inference mode that a version was trained for, if it is another than `mode`.

    Its image answers, and runs, what that mode asks of it. Versions from before this was on record
    do not tell.

    Args:
        properties: The version's metadata in the registry.
        mode: That of the project.
    """
    recorded = properties.get("InferenceMode", mode)
    return None if recorded == mode else recorded


def mode_refusal(version: int, mode: str) -> str:
    """Why a version that was trained for another inference mode cannot serve, and what to do.

    Args:
        version: The version.
        mode: The one that it was trained for.
    """
    return (
        f"version {version} was trained for another inference mode, {mode}: train a new version "
        "(`uv run ops train`) and approve that, or one that has served in this mode before"
    )


def is_image_error(error: ClientError) -> bool:
    """Whether SageMaker makes no model of a version because of its image: it is gone, say."""
    told = error.response["Error"]
    return (
        error.operation_name == "CreateModel"
        and told["Code"] == "ValidationException"
        and "image" in told["Message"].lower()
    )


def recorded_approval(package: Mapping[str, Any]) -> datetime | None:
    """When a package was approved, UTC, if `ops models approve` has left that on record.

    Args:
        package: As DescribeModelPackage shows it.
    """
    recorded = package.get("CustomerMetadataProperties", {}).get("ApprovedAt")
    return datetime.fromisoformat(recorded).astimezone(UTC) if recorded else None
