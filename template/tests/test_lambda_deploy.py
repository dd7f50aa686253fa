from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto.sns.models import sns_backends
from support.fake_sagemaker import ACCOUNT, BUCKET
from support.inference_endpoint import SageMaker

from lambdas import deploy
from ops import outside
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Context:
    """Lambda's context; `left` is what remains at each look."""

    def __init__(self, *left: int) -> None:
        self.left = list(left)

    def get_remaining_time_in_millis(self) -> int:
        return self.left.pop(0) if self.left else 0


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "POLL_SECONDS", 0)


def approval(package: str, time: datetime = NOON) -> dict[str, Any]:
    return {"time": f"{time:%Y-%m-%dT%H:%M:%SZ}", "detail": {"ModelPackageArn": package}}


def mails(session: boto3.Session) -> list[tuple[str, str]]:
    """Subject and text of what was published."""
    (topic,) = sns_backends[ACCOUNT][session.region_name].topics.values()
    return [(str(mail[2]), mail[1]) for mail in topic.sent_notifications]


def handle(package: str, time: datetime = NOON) -> str:
    return deploy.handler(approval(package, time), Context())["outcome"]


def approved(fake: SageMaker, version: int, time: datetime) -> str:
    """A version that `ops models approve` has approved."""
    return fake.add_package(version, ApprovedAt=time.isoformat())


def test_first_version_creates_an_endpoint_that_captures_all_data(
    sagemaker: SageMaker,
) -> None:
    package = approved(sagemaker, 1, NOON)
    assert handle(package) == "created the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == package
    config = sagemaker.configs[f"{NAMES.endpoint}-1-20260131120000000"]
    assert config["ProductionVariants"][0]["VariantName"] == names.VARIANT
    capture = config["DataCaptureConfig"]
    # By its folder a captured record tells which version has answered.
    assert capture["DestinationS3Uri"] == f"s3://{BUCKET}/capture/version=1"
    assert capture["InitialSamplingPercentage"] == 100
    assert [o["CaptureMode"] for o in capture["CaptureOptions"]] == ["Input", "Output"]
    # What is not named here would be captured as Base64.
    assert capture["CaptureContentTypeHeader"] == {
        "CsvContentTypes": ["text/csv"],
        "JsonContentTypes": ["application/json", "application/jsonlines"],
    }


def test_what_is_created_can_be_found_again_by_its_tags(sagemaker: SageMaker) -> None:
    handle(approved(sagemaker, 1, NOON))
    for operation in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        (request,) = sagemaker.called(operation)
        found = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        assert found == {"project": names.PROJECT, "made-by": outside.MAKERS["endpoint"]}


def test_next_version_updates_the_endpoint_and_can_be_turned_back(
    sagemaker: SageMaker,
) -> None:
    handle(approved(sagemaker, 1, NOON))
    sagemaker.finish()
    second = approved(sagemaker, 2, NOON + timedelta(hours=1))
    assert handle(second) == "updated the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == second
    (update,) = sagemaker.called("UpdateEndpoint")
    alarms = update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [alarm["AlarmName"] for alarm in alarms] == list(NAMES.rollback_alarms)


def raise_alarm(session: boto3.Session, name: str) -> None:
    cloudwatch = session.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        MetricName="Invocation5XXErrors",
        Namespace="AWS/SageMaker",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.5,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")


@pytest.mark.parametrize("name", NAMES.rollback_alarms)
def test_alarm_that_is_raised_already_does_not_terminate_the_deployment_that_helps(
    session: boto3.Session, sagemaker: SageMaker, name: str
) -> None:
    handle(approved(sagemaker, 1, NOON))
    sagemaker.finish()
    raise_alarm(session, name)
    second = approved(sagemaker, 2, NOON + timedelta(hours=1))
    assert handle(second) == "updated the endpoint"
    (update,) = sagemaker.called("UpdateEndpoint")
    assert "AutoRollbackConfiguration" not in update["DeploymentConfig"]
    ((subject, text),) = mails(session)
    assert subject == f"{NAMES.endpoint}: version 2 is deployed without automatic rollback"
    assert name in text


def test_alarm_of_another_endpoint_does_not_count(
    session: boto3.Session, sagemaker: SageMaker
) -> None:
    handle(approved(sagemaker, 1, NOON))
    sagemaker.finish()
    raise_alarm(session, f"another-{NAMES.rollback_alarms[0]}")
    handle(approved(sagemaker, 2, NOON + timedelta(hours=1)))
    (update,) = sagemaker.called("UpdateEndpoint")
    assert update["DeploymentConfig"]["AutoRollbackConfiguration"]
    assert mails(session) == []


def test_change_of_something_else_than_the_approval_deploys_nothing(
    sagemaker: SageMaker,
) -> None:
    """Any change of an approved version sends an event that says Approved."""
    old, serving = sagemaker.add_package(1), sagemaker.add_package(2)
    handle(serving)
    sagemaker.finish()
    for changed in (["ApprovalDescription"], ["CustomerMetadataProperties"]):
        event = approval(old, NOON + timedelta(days=1))
        event["detail"]["UpdatedModelPackageFields"] = changed
        answer = deploy.handler(event, Context())
        assert answer["outcome"] == "ignored, something else than its approval was changed"
    assert sagemaker.serving() == serving
    event["detail"]["UpdatedModelPackageFields"] = ["ApprovalDescription", "ModelApprovalStatus"]
    assert deploy.handler(event, Context())["outcome"] == "updated the endpoint"


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("finished", [True, False])
def test_same_approval_again_changes_nothing(
    sagemaker: SageMaker, recorded: bool, finished: bool
) -> None:
    package = approved(sagemaker, 1, NOON) if recorded else sagemaker.add_package(1)
    handle(package)
    if finished:
        sagemaker.finish()
    # Another event for the same approval has another time.
    assert handle(package, NOON + timedelta(seconds=3)).startswith("ignored")
    assert len(sagemaker.called("CreateEndpoint")) == 1
    assert not sagemaker.called("UpdateEndpoint")


@pytest.mark.parametrize("finished", [True, False])
def test_older_approval_that_comes_late_is_ignored(sagemaker: SageMaker, finished: bool) -> None:
    older = approved(sagemaker, 1, NOON)
    newer = approved(sagemaker, 2, NOON + timedelta(hours=1))
    handle(newer)
    if finished:
        sagemaker.finish()
    assert handle(older, NOON + timedelta(hours=2)) == f"ignored, {newer} was approved later"


def test_older_version_that_is_approved_again_is_deployed(sagemaker: SageMaker) -> None:
    old = approved(sagemaker, 1, NOON)
    for package in (old, approved(sagemaker, 2, NOON + timedelta(hours=1))):
        handle(package)
        sagemaker.finish()
    approved(sagemaker, 1, NOON + timedelta(hours=2))
    assert handle(old, NOON + timedelta(hours=2)) == "updated the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == old


def test_other_deployment_is_waited_for(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle(approved(sagemaker, 1, NOON))
    second = approved(sagemaker, 2, NOON + timedelta(hours=1))
    monkeypatch.setattr("lambdas.deploy.time.sleep", lambda _: sagemaker.finish())
    answer = deploy.handler(approval(second), Context(10**6, 10**6))
    assert answer["outcome"] == "updated the endpoint"


def test_other_deployment_that_does_not_end_in_time_is_left_to_a_retry(
    sagemaker: SageMaker,
) -> None:
    handle(approved(sagemaker, 1, NOON))
    second = approved(sagemaker, 2, NOON + timedelta(hours=1))
    with pytest.raises(deploy.EndpointBusyError, match=NAMES.endpoint):
        deploy.handler(approval(second), Context(deploy.RESERVE_MILLISECONDS - 1))
    sagemaker.finish()
    assert handle(second) == "updated the endpoint"


def test_version_that_was_rejected_meanwhile_is_not_deployed(sagemaker: SageMaker) -> None:
    assert handle(sagemaker.add_package(1, "Rejected")) == "ignored, it is not approved any more"
    assert not sagemaker.endpoints


def test_event_that_comes_again_does_not_deploy_what_was_rolled_back(
    sagemaker: SageMaker,
) -> None:
    first = approved(sagemaker, 1, NOON)
    handle(first)
    sagemaker.finish()
    second = approved(sagemaker, 2, NOON + timedelta(hours=1))
    handle(second)
    sagemaker.roll_back("an alarm is in the state ALARM")
    assert handle(second) == "ignored, this approval was deployed and rolled back"
    assert sagemaker.serving() == first
    # Whoever approves it again means it.
    approved(sagemaker, 2, NOON + timedelta(hours=2))
    assert handle(second) == "updated the endpoint"
