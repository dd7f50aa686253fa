"""Deploy again: what was approved before, what failed the first time, what is scaled."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from support.fake_sagemaker import RefusalError, Request
from support.inference_endpoint import Endless, SageMaker, approve, serve

from lambdas import capacity, deploy
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STATUS = "ModelApprovalStatus"


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


#: What Application Auto Scaling calls the endpoint's instances.
RESOURCE = f"endpoint/{NAMES.endpoint}/variant/{names.VARIANT}"


def in_service(fake: SageMaker, instances: int) -> str:
    """Bring the endpoint into service and let its event be handled; what was done."""
    fake.finish()
    endpoint = fake.endpoints[NAMES.endpoint]
    endpoint["ProductionVariants"] = [
        {"VariantName": names.VARIANT, "DesiredInstanceCount": instances}
    ]
    event: dict[str, Any] = {"detail": {"EndpointArn": f"{NAMES.endpoint}"}}
    return deploy.handler(event, Endless())["outcome"]


@pytest.fixture
def scaling(sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch) -> SageMaker:
    """A SageMaker whose endpoint is to have from two to five instances."""
    monkeypatch.setenv("INSTANCE_COUNT", "2")
    monkeypatch.setenv("MAX_INSTANCES", "5")
    return sagemaker


@pytest.mark.usefixtures("first")
def test_deployment_keeps_what_scaling_has_brought(scaling: SageMaker) -> None:
    assert in_service(scaling, 2) == "scales from 2 to 5 instances"
    scaled = scaling.scaled[RESOURCE]
    assert (scaled["MinCapacity"], scaled["MaxCapacity"]) == (2, 5)
    assert scaled["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 600
    for number, (there, kept) in enumerate([(4, 4), (9, 5), (1, 2)], 2):
        in_service(scaling, there)
        package = scaling.add_package(number)
        assert approve(package, NOON + number * HOUR) == "updated the endpoint"
        # An update is refused that finds other instances scaled, and none is scaled meanwhile.
        assert scaling.scaled == {}
        assert deploy.scale() == "ignored, the endpoint is not in service"
        config = scaling.configs[scaling.called("UpdateEndpoint")[-1]["EndpointConfigName"]]
        assert config["ProductionVariants"][0]["InitialInstanceCount"] == kept


@pytest.mark.usefixtures("first")
def test_endpoint_goes_on_scaling_when_it_cannot_be_updated(
    scaling: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_service(scaling, 2)

    def refuse(_: Request) -> Request:
        raise RefusalError("too many instances", "ResourceLimitExceeded")

    monkeypatch.setitem(scaling.operations, "UpdateEndpoint", refuse)
    outcome = approve(scaling.add_package(2), NOON + HOUR)
    assert outcome == "not deployed, too many instances"
    assert RESOURCE in scaling.scaled


@pytest.mark.usefixtures("first")
def test_scaling_ends_once_the_number_is_fixed(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setenv("MAX_INSTANCES", "3")
        in_service(sagemaker, 3)
        assert RESOURCE in sagemaker.scaled
    approve(sagemaker.add_package(2), NOON + HOUR)
    assert in_service(sagemaker, 1) == "ignored, the number of instances is fixed"
    assert sagemaker.scaled == {}


@pytest.mark.parametrize(
    ("shifting", "percent", "instances", "expected"),
    [
        ("CANARY", 10, 1, ("ALL_AT_ONCE", None)),
        ("ALL_AT_ONCE", 10, 9, ("ALL_AT_ONCE", None)),
        ("CANARY", 10, 2, ("CANARY", 1)),
        ("CANARY", 50, 3, ("CANARY", 1)),  # two of three would be more than a half
        ("CANARY", 50, 8, ("CANARY", 4)),
        ("LINEAR", 10, 11, ("LINEAR", 2)),  # one of eleven would be less than a tenth
        ("LINEAR", 25, 8, ("LINEAR", 2)),
    ],
)
def test_requests_move_in_steps_that_sagemaker_takes(
    monkeypatch: pytest.MonkeyPatch,
    shifting: str,
    percent: int,
    instances: int,
    expected: tuple[str, int | None],
) -> None:
    for name, value in {
        "SHIFT_PERCENT": f"{percent}",
        "SHIFT_WAIT_SECONDS": "120",
        "TRAFFIC_SHIFTING": shifting,
    }.items():
        monkeypatch.setenv(name, value)
    config = capacity.routing(instances)
    size = config.get("CanarySize") or config.get("LinearStepSize")
    assert (config["Type"], size and size["Value"]) == expected
    assert config["WaitIntervalInSeconds"] == (120 if size else 0)
