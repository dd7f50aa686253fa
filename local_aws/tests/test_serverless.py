"""Serverless endpoints with real model servers: cold starts, concurrency, limits, exclusions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, Aws, until
from model_server import SERVER_IMAGE, Held, Hosted, host, running

from local_aws.sagemaker.hosting import serverless


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path) -> Iterator[Hosted]:
    with host(aws, tmp_path) as served:
        yield served


def config(hosted: Hosted, name: str, model: str, variant: Any = None, **fields: Any) -> None:
    capacity = {"MemorySizeInMB": 2048, "MaxConcurrency": 2, **fields.pop("Capacity", {})}
    hosted.aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "V",
                "ModelName": model,
                "ServerlessConfig": capacity,
                **(variant or {}),
            }
        ],
        **fields,
    )


def endpoint(hosted: Hosted, name: str, **fields: Any) -> None:
    hosted.model(name)
    config(hosted, name, name, **fields)
    hosted.aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert hosted.wait(name)["EndpointStatus"] == "InService"


def test_the_first_request_starts_the_container_and_idleness_ends_it(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serverless, "IDLE_SECONDS", 0.5)
    endpoint(hosted, "e1")
    (variant,) = hosted.wait("e1")["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 2}
    assert "CurrentInstanceCount" not in variant
    assert running(hosted.aws) == []
    first = hosted.invoke("e1")["pid"]
    assert hosted.invoke("e1", "sleep 1")["pid"] == first  # no idleness
    assert hosted.invoke("e1")["pid"] == first
    until(lambda: running(hosted.aws) == [])
    assert hosted.invoke("e1")["pid"] != first


def test_provisioned_concurrency_keeps_the_container(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serverless, "IDLE_SECONDS", 0.2)
    endpoint(hosted, "e1", Capacity={"ProvisionedConcurrency": 1})
    (pid,) = running(hosted.aws)
    endpoint(hosted, "e2")
    hosted.invoke("e2")
    until(lambda: running(hosted.aws) == [pid])  # the other one's has been idle for so long
    assert hosted.invoke("e1")["pid"] == pid


def test_more_than_the_maximum_concurrency_is_throttled(hosted: Hosted, tmp_path: Path) -> None:
    endpoint(hosted, "e1")
    held = Held(hosted, tmp_path / "held", "e1", 2)
    with held, pytest.raises(ClientError) as caught:
        hosted.invoke("e1")
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert len({answer["pid"] for answer in held.answers}) == 1
    # One more may come once the endpoint is updated.
    change = {"VariantName": "V", "ServerlessUpdateConfig": {"MaxConcurrency": 3}}
    hosted.aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="e1", DesiredWeightsAndCapacities=[change]
    )
    (variant,) = hosted.wait("e1")["ProductionVariants"]
    assert variant["CurrentServerlessConfig"]["MaxConcurrency"] == 3


def test_a_container_that_is_still_being_started(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serverless, "COLD_START_SECONDS", 0.2)
    hosted.model("m1", Environment={"START_SECONDS": "1"})
    config(hosted, "e1", "m1")
    hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="e1")
    hosted.wait("e1")
    with pytest.raises(ClientError) as caught:
        hosted.invoke("e1")
    assert caught.value.response["Error"]["Code"] == "ModelNotReadyException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429

    def answers() -> bool:
        try:
            return bool(hosted.invoke("e1")["model"] == "m1")
        except ClientError:
            return False

    until(answers)


def test_a_container_that_does_not_start_fails_the_creation(hosted: Hosted) -> None:
    hosted.model("broken")
    config(hosted, "e1", "broken")
    hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="e1")
    described = hosted.wait("e1")
    assert described["EndpointStatus"] == "Failed"
    assert "the model is broken" in described["FailureReason"]


CAPTURE = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/capture",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}
OUTPUT = {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}
VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
EXCLUDED: list[tuple[dict[str, Any], str]] = [
    ({"DataCaptureConfig": CAPTURE}, "does not go with DataCaptureConfig"),
    ({"AsyncInferenceConfig": OUTPUT}, "does not go with AsyncInferenceConfig"),
    ({"VpcConfig": VPC}, "does not go with VpcConfig"),
    ({"variant": {"InstanceType": "ml.m5.large"}}, "both ServerlessConfig and InstanceType"),
    ({"Capacity": {"MemorySizeInMB": 1500}}, "must be one of 1024, 2048, 3072, 4096, 5120, 6144"),
    ({"Capacity": {"ProvisionedConcurrency": 3}}, "must not be above MaxConcurrency"),
]


def test_what_serverless_endpoints_cannot_have_is_refused(hosted: Hosted) -> None:
    hosted.model("m1")
    for number, (fields, text) in enumerate(EXCLUDED):
        with pytest.raises(ClientError, match=text):
            config(hosted, f"c{number}", "m1", **fields)
    image = {"Image": SERVER_IMAGE}
    for name, fields in (
        ("vpc", {"PrimaryContainer": image, "VpcConfig": VPC}),
        ("isolated", {"PrimaryContainer": image, "EnableNetworkIsolation": True}),
        ("two", {"Containers": [image, {**image, "ContainerHostname": "b"}]}),
    ):
        hosted.aws.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, **fields)
        with pytest.raises(ClientError, match="does not go with ServerlessConfig"):
            config(hosted, name, name)
    shared = {"ModelName": "m1", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    with pytest.raises(ClientError, match="must be the only variant"):
        hosted.aws.sagemaker.create_endpoint_config(
            EndpointConfigName="both",
            ProductionVariants=[{"VariantName": name, **shared} for name in ("A", "B")],
        )


def test_the_way_to_instances_is_one_way(hosted: Hosted) -> None:
    client = hosted.aws.sagemaker
    endpoint(hosted, "e1")
    hosted.config("instances", {"ModelName": "e1", "VariantName": "V"})
    with pytest.raises(ClientError, match="leave it out for serverless"):
        client.update_endpoint(
            EndpointName="e1",
            EndpointConfigName="e1",
            DeploymentConfig={
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "ALL_AT_ONCE",
                        "WaitIntervalInSeconds": 0,
                    }
                }
            },
        )
    client.update_endpoint(EndpointName="e1", EndpointConfigName="instances")
    assert hosted.wait("e1")["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert hosted.invoke("e1")["model"] == "e1"
    with pytest.raises(ClientError, match="cannot be updated to serverless"):
        client.update_endpoint(EndpointName="e1", EndpointConfigName="e1")
