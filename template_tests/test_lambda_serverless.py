"""How much of the endpoint is kept warm."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.inference_endpoint import Endless, SageMaker, approve, serve

from lambdas import deploy
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
#: What Application Auto Scaling calls the endpoint's variant.
RESOURCE = f"endpoint/{NAMES.endpoint}/variant/{names.VARIANT}"


def in_service() -> str:
    """Let the event of an endpoint that is in service be handled; what was done."""
    event: dict[str, Any] = {"detail": {"EndpointArn": f"{NAMES.endpoint}"}}
    return deploy.handler(event, Endless())["outcome"]


def provision(monkeypatch: pytest.MonkeyPatch, least: int, most: int) -> None:
    monkeypatch.setenv("PROVISIONED", f"{least}")
    monkeypatch.setenv("MAX_PROVISIONED", f"{most}")


def test_what_is_kept_warm_is_in_the_configuration_but_not_in_that_of_the_trial(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    provision(monkeypatch, 2, 2)
    serve(sagemaker, sagemaker.add_package(1), NOON)
    configs = [request for name, request in sagemaker.calls if name == "CreateEndpointConfig"]
    found = [config["ProductionVariants"][0]["ServerlessConfig"] for config in configs]
    assert found == [
        {"MemorySizeInMB": 2048, "MaxConcurrency": 1},
        {"MemorySizeInMB": 2048, "MaxConcurrency": 5, "ProvisionedConcurrency": 2},
    ]
    assert in_service() == "ignored, the provisioned concurrency is fixed"
    assert sagemaker.scaled == {}


def test_use_decides_how_much_is_kept_warm(
    sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    provision(monkeypatch, 1, 4)
    serve(sagemaker, sagemaker.add_package(1), NOON)
    assert in_service() == "keeps 1 to 4 containers warm"
    scaled = sagemaker.scaled[RESOURCE]
    assert (scaled["MinCapacity"], scaled["MaxCapacity"]) == (1, 4)
    assert scaled["ScalableDimension"] == "sagemaker:variant:DesiredProvisionedConcurrency"
    policy = scaled["TargetTrackingScalingPolicyConfiguration"]
    metric = policy["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerVariantProvisionedConcurrencyUtilization"
    assert 0 < policy["TargetValue"] < 1
    # A deployment ends it, and the event of its end begins it again.
    approve(sagemaker.add_package(2), NOON + timedelta(hours=1))
    assert sagemaker.scaled == {}
    assert in_service() == "ignored, the endpoint is not in service"
    sagemaker.finish()
    assert in_service() == "keeps 1 to 4 containers warm"
