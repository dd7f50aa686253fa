"""The versions of the model: what is known of them, and who decides which one serves."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dashboard.identity import Person
from dashboard.remembered import forget, remembered
from ops import OpsError, aws, models, rollback
from ops.models import Version
from workflows import names

MOST = 20  # so many versions are shown, the newest ones
WORKERS = 8
PENDING = "PendingManualApproval"


@remembered(15)
def versions() -> list[Version]:
    """The newest versions, newest first.

    Raises:
        OpsError: When there are none because the project is not deployed.
    """
    found = aws.sagemaker().list_model_packages(
        ModelPackageGroupName=names.current().model_package_group,
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=MOST,
    )["ModelPackageSummaryList"]
    if not found:
        aws.require_stacks()
    with ThreadPoolExecutor(WORKERS) as pool:
        return [*pool.map(models.describe, [each["ModelPackageArn"] for each in found])]


@remembered(15)
def serving() -> Version | None:
    """The version that serves."""
    return models.serving()


@remembered(3600)
def evaluation(uri: str) -> dict[str, Any]:
    """What the evaluation of a version has found; empty of one from before it was kept.

    Args:
        uri: Its `evaluation`.
    """
    return aws.find_json(f"{uri}/evaluation.json") or {}


@remembered(3600)
def statistics(uri: str) -> dict[str, Any]:
    """The section of a version's metrics in statistics.json; empty where it is not there.

    Args:
        uri: Its `evaluation`.
    """
    return section(aws.find_json(f"{uri}/statistics.json") or {})


def section(document: Mapping[str, Any]) -> dict[str, Any]:
    """The section of the metrics in the content of a statistics.json."""
    return next((found for name, found in document.items() if name.endswith("_metrics")), {})


@remembered(15)
def said(arn: str) -> str:
    """Why, and by whom, a version was approved or rejected; empty where that is not on record."""
    return (
        aws.sagemaker().describe_model_package(ModelPackageName=arn).get("ApprovalDescription", "")
    )


def judge(older: Version, newer: Version, person: Person) -> dict[str, Any]:
    """What statistics.json has of the older version on the test data of the newer one, by a job.

    Raises:
        OpsError: When the person may not start it, or it fails.
    """
    _require(person)
    return models.judge(older, newer)


def approve(version: Version, reason: str, person: Person) -> None:
    """Approve a version, which deploys it.

    Args:
        version: As it was shown to the person.
        reason: Why.
        person: Is on record with it.

    Raises:
        OpsError: When the person may not, gives no reason, or others were faster.
    """
    text = _decided(version, reason, person)
    models.approve_version(version, text)
    forget()


def reject(version: Version, reason: str, person: Person) -> None:
    """Reject a version. The arguments, and what it raises, are those of `approve`."""
    text = _decided(version, reason, person)
    rollback.reject_version(version, text)
    forget()


def roll_back(shown: Version, reason: str, person: Person) -> Version:
    """Reject the version that serves, and have the one before deployed again.

    Args:
        shown: The version that served when the person decided.
        reason: Why.
        person: Is on record with it.

    Returns:
        The version that will serve.

    Raises:
        OpsError: When the person may not, gives no reason, others were faster, or there is none.
    """
    text = _signed(reason, person)
    bad, good = rollback.choose(None)
    if bad.number != shown.number:
        raise OpsError(f"version {bad.number} has replaced version {shown.number}: look again")
    rollback.roll_back(bad, good, text)
    forget()
    return good


def _decided(version: Version, reason: str, person: Person) -> str:
    text = _signed(reason, person)
    now = models.find(version.number)
    if now.approval != version.approval:
        forget()
        raise OpsError(f"version {now.number} is {now.approval} meanwhile: look again")
    return text


def _signed(reason: str, person: Person) -> str:
    """A reason with the name of who gives it, as the registry keeps it."""
    _require(person)
    text = f"{reason.strip()} ({person.name})"
    if not reason.strip():
        raise OpsError("say why: the reason is kept with the decision")
    if len(text) > rollback.REASON_LENGTH:
        most = rollback.REASON_LENGTH - len(text) + len(reason.strip())
        raise OpsError(f"the reason is too long: it can have {most} characters")
    return text


def _require(person: Person) -> None:
    if not person.may_approve:
        raise OpsError(f"{person.name} may look but not decide: that takes the group of approvers")
