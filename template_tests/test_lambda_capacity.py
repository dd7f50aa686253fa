"""The instances of the endpoint: how many there are, and how new ones take over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.fake_sagemaker import RefusalError, Request
from support.inference_endpoint import Endless, SageMaker, approve, serve

from lambdas import capacity, deploy
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def first(sagemaker: SageMaker) -> str:
    """A version that `ops models approve` has approved at noon, and that serves."""
    package = sagemaker.add_package(1, ApprovedAt=NOON.isoformat())
    serve(sagemaker, package, NOON)
    return package


def test_what_is_captured_as_text_is_what_the_server_understands() -> None:
    """Capture would write other content types as Base64."""
    assert names.CONTENT_TYPES == (capacity.CSV, capacity.JSON, capacity.JSON_LINES)


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
