"""The instances of the asynchronous endpoint: as many as the backlog needs, also none."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from support.fake_sagemaker import ACCOUNT, BUCKET
from support.inference_endpoint import Endless, SageMaker, approve, serve

from lambdas import deploy
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
#: What Application Auto Scaling calls the endpoint's instances.
RESOURCE = f"endpoint/{NAMES.endpoint}/variant/{names.VARIANT}"


@pytest.fixture
def first(sagemaker: SageMaker) -> str:
    """A version that `ops models approve` has approved at noon, and that serves."""
    package = sagemaker.add_package(1, ApprovedAt=NOON.isoformat())
    serve(sagemaker, package, NOON)
    return package


def in_service(fake: SageMaker, instances: int) -> str:
    """Let the event be handled that the endpoint is in service; what was done."""
    fake.endpoints[NAMES.endpoint]["ProductionVariants"] = [
        {"VariantName": names.VARIANT, "DesiredInstanceCount": instances}
    ]
    event: dict[str, Any] = {"detail": {"EndpointArn": NAMES.endpoint}}
    return deploy.handler(event, Endless())["outcome"]


def alarms(session: boto3.Session) -> list[Any]:
    return [*session.client("cloudwatch").describe_alarms()["MetricAlarms"]]


@pytest.mark.usefixtures("first")
def test_answers_have_a_place_and_a_version(sagemaker: SageMaker) -> None:
    (config,) = sagemaker.configs.values()
    assert "DataCaptureConfig" not in config
    asked = config["AsyncInferenceConfig"]
    assert asked["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 4}
    assert asked["OutputConfig"] == {
        "S3OutputPath": f"s3://{BUCKET}/async/answers",
        "S3FailurePath": f"s3://{BUCKET}/async/failures",
        "NotificationConfig": {
            "SuccessTopic": f"arn:aws:sns:{names.REGION}:{ACCOUNT}:{NAMES.answers}",
            "ErrorTopic": f"arn:aws:sns:{names.REGION}:{ACCOUNT}:{NAMES.failures}",
        },
    }
    (model,) = sagemaker.models.values()
    assert model["PrimaryContainer"]["Environment"] == {"MODEL_VERSION": "1"}


@pytest.mark.usefixtures("first")
def test_it_scales_to_zero_and_back(sagemaker: SageMaker, session: boto3.Session) -> None:
    assert in_service(sagemaker, 1) == "scales from 0 to 1 instances"
    scaled = sagemaker.scaled[RESOURCE]
    assert (scaled["MinCapacity"], scaled["MaxCapacity"]) == (0, 1)
    tracked = scaled["backlog-per-instance"]["TargetTrackingScalingPolicyConfiguration"]
    dimensions = [{"Name": "EndpointName", "Value": NAMES.endpoint}]
    assert tracked["TargetValue"] == 5
    assert tracked["CustomizedMetricSpecification"] == {
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Namespace": "AWS/SageMaker",
        "Dimensions": dimensions,
        "Statistic": "Average",
    }
    (alarm,) = alarms(session)
    assert alarm["AlarmName"] == NAMES.backlog_alarm
    assert alarm["AlarmActions"] == ["arn:policy/backlog-without-capacity"]
    assert (alarm["MetricName"], alarm["Dimensions"]) == ("HasBacklogWithoutCapacity", dimensions)
    assert (alarm["Threshold"], alarm["TreatMissingData"]) == (1, "notBreaching")


@pytest.mark.usefixtures("first")
def test_deployment_without_instances_begins_with_one(
    sagemaker: SageMaker, session: boto3.Session
) -> None:
    in_service(sagemaker, 0)
    package = sagemaker.add_package(2)
    assert approve(package, NOON + timedelta(hours=1)) == "updated the endpoint"
    update = sagemaker.called("UpdateEndpoint")[-1]
    variant = sagemaker.configs[update["EndpointConfigName"]]["ProductionVariants"][0]
    assert variant["InitialInstanceCount"] == 1
    routing = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"
    # Nothing is scaled meanwhile, and nothing is left that would try to.
    assert (sagemaker.scaled, alarms(session)) == ({}, [])


@pytest.mark.usefixtures("first")
def test_without_zero_the_first_request_needs_no_alarm(
    sagemaker: SageMaker, session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_COUNT", "1")
    assert in_service(sagemaker, 1) == "ignored, the number of instances is fixed"
    monkeypatch.setenv("MAX_INSTANCES", "3")
    assert in_service(sagemaker, 1) == "scales from 1 to 3 instances"
    assert alarms(session) == []
