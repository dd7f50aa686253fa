"""What is told of the endpoint."""

from datetime import UTC, datetime, timedelta

import pytest
from support.fake_sagemaker import ARN
from support.inference_endpoint import SageMaker, approve, serve

from lambdas import endpoint
from lambdas.mail import Mail
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_model_from_elsewhere_is_named(sagemaker: SageMaker) -> None:
    serve(sagemaker, sagemaker.add_package(7), NOON)
    for model in sagemaker.models.values():
        model["PrimaryContainer"] = {"Image": "image"}
    with pytest.raises(ValueError, match="not serve a version of the model registry"):
        endpoint.serving_package()


def ended(sagemaker: SageMaker, status: str = "IN_SERVICE") -> Mail:
    """The mail about a deployment that has ended just now."""
    return endpoint.MAILS["SageMaker Endpoint State Change"](
        {
            "EndpointName": NAMES.endpoint,
            "EndpointArn": f"{ARN}:endpoint/{NAMES.endpoint}",
            "EndpointConfigName": sagemaker.endpoints[NAMES.endpoint]["EndpointConfigName"],
            "EndpointStatus": status,
            "LastModifiedTime": (datetime.now(UTC) + timedelta(seconds=1)).timestamp() * 1000,
        }
    )


def test_rollback_is_not_told_as_a_success(sagemaker: SageMaker) -> None:
    serve(sagemaker, sagemaker.add_package(1), NOON)
    new = sagemaker.add_package(2)
    approve(new, NOON + timedelta(hours=1))
    sagemaker.roll_back("an alarm is in the state ALARM")
    mail = ended(sagemaker)
    assert mail.subject == f"{NAMES.endpoint}: version 2 was rolled back, version 1 serves"
    for part in ("an alarm is in the state ALARM", "ops models reject 2", new):
        assert part in mail.text
    # To deploy the older one again is a deployment of its own.
    again = NOON + timedelta(hours=2)
    serve(sagemaker, sagemaker.add_package(1, ApprovedAt=again.isoformat()), again)
    assert ended(sagemaker).subject == f"{NAMES.endpoint}: version 1 serves"


@pytest.mark.parametrize("rolled_back", [False, True])
def test_endpoint_that_was_scaled_is_no_news(sagemaker: SageMaker, rolled_back: bool) -> None:
    """It is in service again, later."""
    serve(sagemaker, sagemaker.add_package(1), NOON)
    if rolled_back:
        approve(sagemaker.add_package(2), NOON + timedelta(hours=1))
        sagemaker.roll_back("an alarm is in the state ALARM")
    told = ended(sagemaker)
    sagemaker.finish()
    assert ended(sagemaker).about == told.about


def test_newer_deployment_in_another_mode_is_no_rollback(sagemaker: SageMaker) -> None:
    """After a change of the mode there and back, as long as nobody has cleared up."""
    serve(sagemaker, sagemaker.add_package(1), NOON)
    serving = sagemaker.endpoints[NAMES.endpoint]["EndpointConfigName"]
    approve(sagemaker.add_package(2), NOON + timedelta(hours=1))
    sagemaker.roll_back("it is another endpoint's")
    (other,) = {*sagemaker.configs} - {serving}
    config = sagemaker.configs[other]
    for name in ("AsyncInferenceConfig", "DataCaptureConfig"):
        config.pop(name, None)
    config["ProductionVariants"][0].pop("ServerlessConfig", None)
    assert ended(sagemaker).subject == f"{NAMES.endpoint}: version 1 serves"


def test_event_that_comes_late_does_not_take_the_next_deployment_for_a_failure(
    sagemaker: SageMaker,
) -> None:
    serve(sagemaker, sagemaker.add_package(1), NOON)
    first = sagemaker.endpoints[NAMES.endpoint]["EndpointConfigName"]
    ended_at = datetime.now(UTC)
    approve(sagemaker.add_package(2), NOON + timedelta(hours=1))
    mail = endpoint.deployed(
        {
            "EndpointName": NAMES.endpoint,
            "EndpointArn": f"{ARN}:endpoint/{NAMES.endpoint}",
            "EndpointConfigName": first,
            "EndpointStatus": "IN_SERVICE",
            "LastModifiedTime": ended_at.timestamp() * 1000,
        }
    )
    assert mail.subject == f"{NAMES.endpoint}: version 1 serves"


@pytest.mark.parametrize(
    ("status", "subject"),
    [("IN_SERVICE", "version 3 serves"), ("FAILED", "deployment failed")],
)
def test_end_of_a_deployment_names_the_version(
    sagemaker: SageMaker, status: str, subject: str
) -> None:
    serve(sagemaker, sagemaker.add_package(3), NOON)
    sagemaker.endpoints[NAMES.endpoint]["FailureReason"] = "no answer to ping"
    mail = ended(sagemaker, status)
    assert mail.subject == f"{NAMES.endpoint}: {subject}"
    assert "version 3" in mail.text
    assert ("no answer to ping" in mail.text) == (status == "FAILED")
