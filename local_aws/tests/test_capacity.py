"""Weights and numbers of instances of endpoints in service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Aws, until
from model_server import Held, Hosted, Load, host, next_service, running


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path) -> Iterator[Hosted]:
    with host(aws, tmp_path) as served:
        yield served


def test_instances_and_weights_can_be_changed_and_last(hosted: Hosted) -> None:
    client = hosted.aws.sagemaker
    for name in ("m1", "m2"):
        hosted.model(name)
    hosted.config(
        "c1",
        {"VariantName": "V1", "ModelName": "m1"},
        {"VariantName": "V2", "ModelName": "m2", "InitialVariantWeight": 0.0},
    )
    client.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    hosted.wait("e1")
    changes = [
        {"VariantName": "V1", "DesiredWeight": 0.0, "DesiredInstanceCount": 2},
        {"VariantName": "V2", "DesiredWeight": 3.0},
    ]

    def change(*given: dict[str, Any]) -> None:
        client.update_endpoint_weights_and_capacities(
            EndpointName="e1", DesiredWeightsAndCapacities=list(given)
        )

    for bad, text in (
        ({"VariantName": "V3", "DesiredWeight": 1.0}, 'Variant "V3" not found'),
        ({"VariantName": "V1", "DesiredInstanceCount": 0}, "must be 1 or more"),
        (
            {"VariantName": "V1", "ServerlessUpdateConfig": {"MaxConcurrency": 1}},
            "no ServerlessUpdateConfig",
        ),
    ):
        with pytest.raises(ClientError, match=text):
            change(bad)
    with Load(hosted, "e1") as load:
        change(*changes)
        described = client.describe_endpoint(EndpointName="e1")
        assert described["EndpointStatus"] == "Updating"
        first = described["ProductionVariants"][0]
        assert (first["CurrentInstanceCount"], first["DesiredInstanceCount"]) == (1, 2)
        assert first["VariantStatus"][0]["StatusMessage"].startswith("Scaling out desired")
        first, second = hosted.wait("e1")["ProductionVariants"]
        assert (first["CurrentInstanceCount"], second["CurrentWeight"]) == (2, 3.0)
        assert len(running(hosted.aws)) == 3
        assert hosted.invoke("e1")["InvokedProductionVariant"] == "V2"
        pids = {hosted.invoke("e1", TargetVariant="V1")["pid"] for _ in range(40)}
        assert len(pids) == 2
        # An update takes the counts of its config, unless it is told to retain them.
        client.update_endpoint(
            EndpointName="e1", EndpointConfigName="c1", RetainAllVariantProperties=True
        )
        first, second = hosted.wait("e1")["ProductionVariants"]
        assert (first["CurrentInstanceCount"], second["CurrentWeight"]) == (2, 3.0)
        change({"VariantName": "V1", "DesiredInstanceCount": 1})
        hosted.wait("e1")
        until(lambda: len(running(hosted.aws)) == 2)
    assert load.failures == []
    hosted.aws.service.close()
    with next_service(hosted) as service:
        until(lambda: service.store.list("Endpoint")[0]["EndpointStatus"] == "InService")
        first, second = service.call("DescribeEndpoint", {"EndpointName": "e1"})[
            "ProductionVariants"
        ]
        assert (first["CurrentWeight"], second["CurrentWeight"]) == (0.0, 3.0)


def test_requests_under_way_end_before_their_instance(hosted: Hosted, tmp_path: Path) -> None:
    hosted.model("m1")
    hosted.config("c1", {"ModelName": "m1", "InitialInstanceCount": 2})
    hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    hosted.wait("e1")
    with Held(hosted, tmp_path / "held", "e1", 8) as held:
        change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 1}
        hosted.aws.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="e1", DesiredWeightsAndCapacities=[change]
        )
        # One gets no further requests, but is there for those that it has.
        until(lambda: len({hosted.invoke("e1")["pid"] for _ in range(10)}) == 1)
        assert len(running(hosted.aws)) == 2
    assert len(held.answers) == 8
    assert len({answer["pid"] for answer in held.answers}) == 2
    until(lambda: len(running(hosted.aws)) == 1)
