"""Deploy again: what was approved before, at the same time, or failed at first."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from moto.sns.models import sns_backends
from support.fake_sagemaker import ACCOUNT, RefusalError, Request
from support.inference_endpoint import SageMaker, approve, serve

from lambdas import deploy
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STATUS = "ModelApprovalStatus"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "POLL_SECONDS", 0)


def approved(fake: SageMaker, version: int, time: datetime) -> str:
    """A version that `ops models approve` has approved."""
    return fake.add_package(version, ApprovedAt=time.isoformat())


@pytest.fixture
def first(sagemaker: SageMaker) -> str:
    """A version that `ops models approve` has approved at noon, and that serves."""
    package = sagemaker.add_package(1, ApprovedAt=NOON.isoformat())
    serve(sagemaker, package, NOON)
    return package


def test_version_that_is_approved_again_in_studio_is_deployed(
    sagemaker: SageMaker, first: str
) -> None:
    """Studio leaves the time on record that `ops models approve` has written."""
    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    serve(sagemaker, second, NOON + HOUR)
    later = NOON + 2 * HOUR
    assert approve(first, later, STATUS) == "updated the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == first
    # Another event for the same approval has another time.
    again = approve(first, later + timedelta(seconds=3), STATUS)
    assert again == "ignored, this version is deployed"
    assert approve(second, NOON + HOUR, STATUS) == f"ignored, {first} was approved later"


def test_version_that_was_rolled_back_is_deployed_when_it_is_approved_again_in_studio(
    sagemaker: SageMaker, first: str
) -> None:
    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    approve(second, NOON + HOUR, STATUS)
    sagemaker.roll_back("an alarm is in the state ALARM")
    assert sagemaker.serving() == first
    seconds_later = NOON + HOUR + timedelta(seconds=3)
    rolled_back = "ignored, this approval was deployed and rolled back"
    assert approve(second, seconds_later, STATUS) == rolled_back
    assert approve(second, NOON + 2 * HOUR, STATUS) == "updated the endpoint"
    assert approve(second, NOON + 2 * HOUR, STATUS).startswith("ignored")


@pytest.mark.parametrize(
    "error",
    [RefusalError("Rate exceeded", "ThrottlingException"), ReadTimeoutError(endpoint_url="https")],
)
def test_version_that_could_not_be_deployed_is_not_taken_for_one_that_was_rolled_back(
    sagemaker: SageMaker, first: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The update is refused, and another version is deployed before Lambda tries again."""

    def refuse(_: Request) -> Request:
        raise error

    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    with monkeypatch.context() as refusing:
        refusing.setitem(sagemaker.operations, "UpdateEndpoint", refuse)
        with pytest.raises((ClientError, BotoCoreError)):
            approve(second, NOON + HOUR)
    assert sagemaker.serving() == first
    older = NOON + HOUR / 2
    assert approve(sagemaker.add_package(3), older) == "updated the endpoint"
    sagemaker.finish()
    assert approve(second, NOON + HOUR) == "updated the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == second


def test_update_whose_answer_was_lost_keeps_its_configuration(
    sagemaker: SageMaker, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = sagemaker.operations["UpdateEndpoint"]

    def lose(request: Request) -> Request:
        update(request)
        raise ReadTimeoutError(endpoint_url="https")

    second = sagemaker.add_package(2, ApprovedAt=(NOON + HOUR).isoformat())
    monkeypatch.setitem(sagemaker.operations, "UpdateEndpoint", lose)
    with pytest.raises(ReadTimeoutError):
        approve(second, NOON + HOUR)
    assert sagemaker.serving() == first
    assert approve(second, NOON + HOUR) == "ignored, this approval is deployed"
    sagemaker.finish()
    assert sagemaker.serving() == second
    assert f"{NAMES.endpoint}-2-20260131130000000" in sagemaker.configs


@pytest.mark.parametrize("operation", ["CreateEndpoint", "UpdateEndpoint"])
def test_quota_that_is_too_low_is_told_with_what_to_do(
    session: boto3.Session, sagemaker: SageMaker, operation: str
) -> None:
    if operation == "UpdateEndpoint":
        approve(approved(sagemaker, 1, NOON), NOON)
        sagemaker.finish()
    reason = "The account-level service limit 'ml.m5.large for endpoint usage' is 0 Instances."

    def refuse(_: object) -> dict[str, Any]:
        raise RefusalError(reason, "ResourceLimitExceeded")

    sagemaker.operations[operation] = refuse
    package = approved(sagemaker, 2, NOON + timedelta(hours=1))
    for _ in range(2):
        assert approve(package, NOON) == f"not deployed, {reason}"
    assert not [name for name in sagemaker.configs if name.startswith(f"{NAMES.endpoint}-2-")]
    (topic,) = sns_backends[ACCOUNT][session.region_name].topics.values()
    ((_, text, subject, *_),) = topic.sent_notifications
    assert subject == f"{NAMES.endpoint}: version 2 could not be deployed"
    for part in (
        reason,
        "Quotas[?QuotaName=='ml.m5.large for endpoint usage'].QuotaCode",
        "aws service-quotas request-service-quota-increase --service-code sagemaker",
        "uv run ops models approve 2",
    ):
        assert part in text


def test_log_of_the_endpoint_expires(session: boto3.Session, sagemaker: SageMaker) -> None:
    for version in (1, 2):
        approve(approved(sagemaker, version, NOON + timedelta(hours=version)), NOON)
        sagemaker.finish()
    (group,) = session.client("logs").describe_log_groups()["logGroups"]
    assert group["logGroupName"] == f"/aws/sagemaker/Endpoints/{NAMES.endpoint}"
    assert group["retentionInDays"] == 90


@pytest.mark.parametrize(("seconds", "deployed"), [(2, True), (3600, False)])
def test_approval_is_known_by_its_time_when_the_event_does_not_name_the_status(
    sagemaker: SageMaker, seconds: int, deployed: bool
) -> None:
    """AWS does not say what an event has when an approved version is approved again."""
    package = approved(sagemaker, 1, NOON)
    approve(package, NOON + timedelta(seconds=seconds), "CustomerMetadataProperties")
    assert bool(sagemaker.endpoints) == deployed


@pytest.mark.parametrize("version", [1, 2])
def test_three_events_at_once_deploy_once(sagemaker: SageMaker, version: int) -> None:
    if version == 2:
        approve(approved(sagemaker, 1, NOON - timedelta(hours=1)), NOON)
        sagemaker.finish()
    package = approved(sagemaker, version, NOON)
    start, outcomes = threading.Barrier(3), []

    def run() -> None:
        start.wait()
        outcomes.append(approve(package, NOON))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = "created the endpoint" if version == 1 else "updated the endpoint"
    assert sorted(outcomes) == sorted([done, *["ignored, this approval is deployed"] * 2])
    sagemaker.finish()
    assert sagemaker.serving() == package
    assert len(sagemaker.models) == len(sagemaker.configs) == version


def test_failed_endpoint_is_replaced_by_the_next_version_only(sagemaker: SageMaker) -> None:
    first = approved(sagemaker, 1, NOON)
    approve(first, NOON)
    sagemaker.finish("Failed")
    assert approve(first, NOON).startswith("ignored")
    second = approved(sagemaker, 2, NOON + timedelta(hours=1))
    assert approve(second, NOON) == "created the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == second


def test_crash_between_the_steps_is_made_good_by_the_retry(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = approved(sagemaker, 1, NOON)
    with monkeypatch.context() as crash:
        crash.setitem(sagemaker.operations, "CreateEndpoint", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            approve(package, NOON)
    assert sagemaker.models
    assert sagemaker.configs
    assert approve(package, NOON) == "created the endpoint"


def test_refusal_for_another_reason_is_an_error(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = approved(sagemaker, 1, NOON)
    delete = sagemaker.operations["DeleteEndpoint"]
    refused = {"EndpointName": "no-such-role"}
    monkeypatch.setitem(sagemaker.operations, "CreateModel", lambda _: delete(refused))
    with pytest.raises(ClientError, match="Could not find"):
        approve(package, NOON)


def test_version_that_another_one_was_faster_than_is_deployed_after_it(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the endpoint free, the older one updates it first."""
    approve(approved(sagemaker, 1, NOON), NOON)
    sagemaker.finish()
    older = approved(sagemaker, 2, NOON + timedelta(hours=1))
    newer = approved(sagemaker, 3, NOON + timedelta(hours=2))
    update = sagemaker.operations["UpdateEndpoint"]

    def be_slower(request: dict[str, Any]) -> dict[str, Any]:
        sagemaker.operations["UpdateEndpoint"] = update
        update({**request, "EndpointConfigName": faster})
        return update(request)

    with monkeypatch.context() as config_only:
        config_only.setitem(sagemaker.operations, "UpdateEndpoint", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            approve(older, NOON)
    faster = f"{NAMES.endpoint}-2-20260131130000000"
    sagemaker.operations["UpdateEndpoint"] = be_slower
    monkeypatch.setattr("lambdas.deploy.time.sleep", lambda _: sagemaker.finish())
    assert approve(newer, NOON) == "updated the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == newer
