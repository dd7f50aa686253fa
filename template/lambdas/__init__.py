"""The Lambda functions: a file each, with nothing but boto3 and the standard library."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

STAMP = timedelta(minutes=1)
"""An event comes within this time of the approval that it tells of."""


@dataclass(frozen=True)
class Execution:
    """An execution of a workflow.

    Attributes:
        arn: Its ARN.
        trigger: What started it; empty if that was a person.
        running: Whether it has not come to an end.
        started: When it was started, UTC.
    """

    arn: str
    trigger: str
    running: bool
    started: datetime


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
