import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fake_sagemaker import ARN, BUCKET
from inference_endpoint import SageMaker, serve

from lambdas import deploy, endpoint
from workflows import names

pytest_plugins = ["lambda_account"]

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
    config = sagemaker.configs[f"{names.ENDPOINT}-1-20260131120000000"]
    assert config["ProductionVariants"][0]["VariantName"] == names.VARIANT
    capture = config["DataCaptureConfig"]
    # By its folder a captured record tells which version has answered.
    assert capture["DestinationS3Uri"] == f"s3://{BUCKET}/capture/version=1"
    assert capture["InitialSamplingPercentage"] == 100
    assert [o["CaptureMode"] for o in capture["CaptureOptions"]] == ["Input", "Output"]
    # What is not named here would be captured as Base64.
    assert capture["CaptureContentTypeHeader"] == {
        "CsvContentTypes": ["text/csv"],
        "JsonContentTypes": ["application/json"],
    }


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
    assert alarms == [{"AlarmName": names.ENDPOINT_ALARM}]


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


@pytest.mark.parametrize("version", [1, 2])
def test_three_events_at_once_deploy_once(sagemaker: SageMaker, version: int) -> None:
    if version == 2:
        handle(approved(sagemaker, 1, NOON - timedelta(hours=1)))
        sagemaker.finish()
    package = approved(sagemaker, version, NOON)
    start, outcomes = threading.Barrier(3), []

    def run() -> None:
        start.wait()
        outcomes.append(deploy.handler(approval(package), Context(10**6, 10**6))["outcome"])

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
    with pytest.raises(deploy.EndpointBusyError, match=names.ENDPOINT):
        deploy.handler(approval(second), Context(deploy.RESERVE_MILLISECONDS - 1))
    sagemaker.finish()
    assert handle(second) == "updated the endpoint"


def test_failed_endpoint_is_replaced_by_the_next_version_only(sagemaker: SageMaker) -> None:
    first = approved(sagemaker, 1, NOON)
    handle(first)
    sagemaker.finish("Failed")
    assert handle(first).startswith("ignored")
    second = approved(sagemaker, 2, NOON + timedelta(hours=1))
    answer = deploy.handler(approval(second), Context(10**6, 10**6))
    assert answer["outcome"] == "created the endpoint"
    sagemaker.finish()
    assert sagemaker.serving() == second


def test_version_that_was_rejected_meanwhile_is_not_deployed(sagemaker: SageMaker) -> None:
    assert handle(sagemaker.add_package(1, "Rejected")) == "ignored, it is not approved any more"
    assert not sagemaker.endpoints


def test_crash_between_the_steps_is_made_good_by_the_retry(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = approved(sagemaker, 1, NOON)
    with monkeypatch.context() as crash:
        crash.setitem(sagemaker.operations, "CreateEndpoint", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            handle(package)
    assert sagemaker.models
    assert sagemaker.configs
    assert handle(package) == "created the endpoint"


def test_refusal_for_another_reason_is_an_error(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = approved(sagemaker, 1, NOON)
    monkeypatch.setitem(
        sagemaker.operations,
        "CreateModel",
        lambda _: sagemaker._delete_endpoint({"EndpointName": "no-such-role"}),
    )
    with pytest.raises(ClientError, match="Could not find"):
        handle(package)


def test_model_from_elsewhere_is_named(sagemaker: SageMaker) -> None:
    serve(sagemaker, sagemaker.add_package(7), NOON)
    for model in sagemaker.models.values():
        model["PrimaryContainer"] = {"Image": "image"}
    with pytest.raises(ValueError, match="not serve a version of the model registry"):
        endpoint.serving_package()


@pytest.mark.parametrize(
    ("status", "subject"),
    [("IN_SERVICE", "version 3 serves"), ("FAILED", "deployment failed")],
)
def test_end_of_a_deployment_names_the_version(
    sagemaker: SageMaker, status: str, subject: str
) -> None:
    serve(sagemaker, sagemaker.add_package(3), NOON)
    sagemaker.endpoints[names.ENDPOINT]["FailureReason"] = "no answer to ping"
    mail = endpoint.MAILS["SageMaker Endpoint State Change"](
        {
            "EndpointName": names.ENDPOINT,
            "EndpointArn": f"{ARN}:endpoint/{names.ENDPOINT}",
            "EndpointConfigName": sagemaker.endpoints[names.ENDPOINT]["EndpointConfigName"],
            "EndpointStatus": status,
            "LastModifiedTime": 1592411994287.0,
        }
    )
    assert mail.subject == f"{names.ENDPOINT}: {subject}"
    assert "version 3" in mail.text
    assert ("no answer to ping" in mail.text) == (status == "FAILED")
