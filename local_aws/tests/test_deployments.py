"""Updates of endpoints with guardrails: how traffic moves, alarms, rollbacks, limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Aws, aws_client, until
from model_server import Hosted, Load, host, next_service, running, serves

from local_aws.images.containers import start_time
from local_aws.sagemaker.hosting.deployment import Step, Update, steps
from local_aws.sagemaker.hosting.endpoint_checks import servable
from local_aws.sagemaker.hosting.fleet import Fleet


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path) -> Iterator[Hosted]:
    with host(aws, tmp_path) as served:
        yield served


class Alarm:
    """An alarm of the emulator's CloudWatch."""

    def __init__(self, port: int) -> None:
        self._client = aws_client("cloudwatch", port)
        self.name = f"alarm-{time.monotonic_ns()}"
        self._client.put_metric_alarm(
            AlarmName=self.name,
            Namespace="Test",
            MetricName=self.name,
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )

    def set(self, state: str) -> None:
        self._client.set_alarm_state(AlarmName=self.name, StateValue=state, StateReason="test")


@pytest.fixture
def alarm(emulator_port: int) -> Alarm:
    return Alarm(emulator_port)


def policy(kind: str, wait: int, termination: int = 0, **sizes: Any) -> dict[str, Any]:
    traffic = {"Type": kind, "WaitIntervalInSeconds": wait, **sizes}
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": traffic,
            "TerminationWaitInSeconds": termination,
        }
    }


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def two_versions(hosted: Hosted, count: int = 1) -> None:
    """An endpoint "e1" in service with the config "old", and a config "new"."""
    for name in ("old", "new"):
        hosted.model(name)
        hosted.config(name, {"ModelName": name, "InitialInstanceCount": count})
    hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="old")
    assert hosted.wait("e1")["EndpointStatus"] == "InService"


def update(hosted: Hosted, deployment: dict[str, Any], **fields: Any) -> None:
    hosted.aws.sagemaker.update_endpoint(
        EndpointName="e1", EndpointConfigName="new", DeploymentConfig=deployment, **fields
    )


def stages(hosted: Hosted) -> list[str]:
    """The messages of the deployment's stages, as events told them."""
    kind = "SageMaker Endpoint Deployment State Change"
    return [
        detail["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0][
            "StatusMessage"
        ]
        for name, detail, _arns in hosted.aws.events
        if name == kind
    ]


def share_of_new(hosted: Hosted, count: int = 100) -> float:
    return sum(hosted.invoke("e1")["model"] == "new" for _ in range(count)) / count


@pytest.mark.parametrize(
    ("blue_green", "rolling", "count", "shares"),
    [
        ({}, {}, 1, [1.0]),
        (policy("ALL_AT_ONCE", 3), {}, 1, [1.0]),
        (policy("CANARY", 3, CanarySize=percent(25)), {}, 1, [0.25, 1.0]),
        (policy("LINEAR", 3, LinearStepSize=percent(33)), {}, 1, [0.33, 0.66, 0.99, 1.0]),
        (policy("LINEAR", 3, LinearStepSize=percent(20)), {}, 1, [0.2, 0.4, 0.6, 0.8, 1.0]),
        (
            policy("CANARY", 3, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}),
            {},
            4,
            [0.25, 1.0],
        ),
        (
            {},
            {
                "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 2},
                "WaitIntervalInSeconds": 3,
            },
            6,
            [1 / 3, 2 / 3, 1.0],
        ),
    ],
)
def test_the_steps_of_a_policy(
    blue_green: dict[str, Any], rolling: dict[str, Any], count: int, shares: list[float]
) -> None:
    found: list[Step] = list(steps(blue_green.get("BlueGreenUpdatePolicy", {}), rolling, count))
    assert [step.share for step in found] == pytest.approx(shares)
    assert {step.wait for step in found} == ({3} if blue_green or rolling else {0})


def test_a_canary_gets_its_share_and_then_all(hosted: Hosted, alarm: Alarm) -> None:
    two_versions(hosted)
    watched = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm.name}]}}
    deployment = {**policy("CANARY", 4, 1, CanarySize=percent(30)), **watched}
    (old_pid,) = running(hosted.aws)
    with Load(hosted, "e1") as load:
        update(hosted, deployment)
        until(lambda: "Baking" in "".join(stages(hosted)))
        assert 0.1 < share_of_new(hosted) < 0.55  # beyond 4 standard deviations otherwise
        described = hosted.aws.sagemaker.describe_endpoint(EndpointName="e1")
        assert described["EndpointStatus"] == "Updating"
        assert described["EndpointConfigName"] == "old"
        (variant,) = described["PendingDeploymentSummary"]["ProductionVariants"]
        assert variant["VariantStatus"][0]["Status"] == "Baking"
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            update(hosted, deployment)
        described = hosted.wait("e1")
        until(lambda: start_time(old_pid) is None)
    assert load.failures == []
    assert described["EndpointConfigName"] == "new"
    assert described["LastDeploymentConfig"] == deployment
    assert share_of_new(hosted, 20) == 1.0
    canary, full = "canary capacity of 1 instance(s).", "full capacity of 1 instance(s)."
    baking = "Baking for 4 seconds (WaitIntervalInSeconds) with traffic enabled on"
    assert stages(hosted) == [
        "Launching 1 instance(s).",
        f"Activating traffic on {canary}",
        f"{baking} {canary}",
        f"Activating traffic on {full}",
        f"{baking} {full}",
        f"Baking for 1 seconds (TerminationWaitInSeconds) with traffic enabled on {full}",
    ]


@pytest.mark.parametrize("after", ["Baking", "TerminationWaitInSeconds"])
def test_an_alarm_brings_all_traffic_back(hosted: Hosted, alarm: Alarm, after: str) -> None:
    two_versions(hosted)
    watched = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm.name}]}}
    wait = 60 if after == "Baking" else 0
    with Load(hosted, "e1") as load:
        update(hosted, {**policy("ALL_AT_ONCE", wait, 60), **watched})
        until(lambda: after in "".join(stages(hosted)))
        assert share_of_new(hosted, 5) == 1.0
        alarm.set("ALARM")
        described = hosted.wait("e1")
        assert share_of_new(hosted, 20) == 0.0
    assert load.failures == []
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "old"
    assert alarm.name in described["FailureReason"]
    assert "PendingDeploymentSummary" not in described
    until(lambda: len(running(hosted.aws)) == 1)
    # While it is raised, no deployment begins.
    update(hosted, {**policy("ALL_AT_ONCE", 0), **watched})
    reason = hosted.wait("e1")["FailureReason"]
    assert "terminated before it began" in reason
    assert alarm.name in reason
    alarm.set("OK")
    update(hosted, {**policy("ALL_AT_ONCE", 0), **watched})
    described = hosted.wait("e1")
    assert described["EndpointConfigName"] == "new"
    assert "FailureReason" not in described


def test_a_rolling_update_replaces_instances_in_batches(hosted: Hosted, alarm: Alarm) -> None:
    two_versions(hosted, count=2)
    rolling = {
        "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
        "WaitIntervalInSeconds": 2,
    }
    watched = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm.name}]}}
    assert len(running(hosted.aws)) == 2
    with Load(hosted, "e1") as load:
        update(hosted, {"RollingUpdatePolicy": rolling, **watched})
        until(lambda: len(running(hosted.aws)) == 3)
        until(lambda: sum("Activating" in stage for stage in stages(hosted)) == 2)
        alarm.set("ALARM")
        described = hosted.wait("e1")
        assert alarm.name in described["FailureReason"]
        assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
        until(lambda: len(running(hosted.aws)) == 2)
        assert share_of_new(hosted, 20) == 0.0
        alarm.set("OK")
        update(hosted, {"RollingUpdatePolicy": {**rolling, "WaitIntervalInSeconds": 0}})
        assert hosted.wait("e1")["EndpointConfigName"] == "new"
        until(lambda: len(running(hosted.aws)) == 2)
    assert load.failures == []
    assert share_of_new(hosted, 20) == 1.0


def test_an_update_that_a_stop_interrupted_is_rolled_back(hosted: Hosted) -> None:
    two_versions(hosted)
    update(hosted, policy("CANARY", 60, CanarySize=percent(50)))
    until(lambda: "Baking" in "".join(stages(hosted)))
    old = hosted.aws.service
    begin = time.monotonic()
    old.close()
    assert time.monotonic() - begin < 20
    with next_service(hosted) as service:
        until(lambda: serves(service))
        described = service.call("DescribeEndpoint", {"EndpointName": "e1"})
        assert described["EndpointStatus"] == "InService"
        assert described["EndpointConfigName"] == "old"
        assert "stopped during the update" in described["FailureReason"]
        assert len(service.store.list("ServingProcess")) == 1


def test_a_deployment_that_takes_too_long_is_rolled_back(hosted: Hosted) -> None:
    two_versions(hosted)
    service = hosted.aws.service
    green = Fleet(service, "e1", servable(service, "new"), None)
    # Requests may not ask for less than ten minutes, so not by one.
    limited = policy("CANARY", 60, CanarySize=percent(50))["BlueGreenUpdatePolicy"]
    limited["MaximumExecutionTimeoutInSeconds"] = 2
    pending = {"EndpointConfigName": "new", "ProductionVariants": green.summary()}
    service.set_status("Endpoint", "e1", "Updating", PendingDeploymentSummary=pending)
    Update(service, "e1", green, {"BlueGreenUpdatePolicy": limited}, {}).run()
    described = hosted.wait("e1")
    assert "took longer than 2 seconds" in described["FailureReason"]
    assert described["EndpointConfigName"] == "old"
    assert share_of_new(hosted, 10) == 0.0
    assert len(running(hosted.aws)) == 1


BAD_DEPLOYMENTS: list[tuple[dict[str, Any], str]] = [
    (policy("CANARY", 0), "of type CANARY needs CanarySize"),
    (policy("CANARY", 0, CanarySize=percent(51)), "CanarySize must be at most 50%"),
    (policy("LINEAR", 0, LinearStepSize=percent(9)), "LinearStepSize must be between 10% and 50%"),
    (policy("ALL_AT_ONCE", 0, CanarySize=percent(9)), "CanarySize is for traffic routing of type"),
    (
        policy("CANARY", 0, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}),
        "CanarySize must be at most 50% of the variant's total instance count, 1",
    ),
    (
        {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "absent"}]}},
        "alarms that do not exist: absent",
    ),
    (
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "ALL_AT_ONCE",
                    "WaitIntervalInSeconds": 600,
                },
                "MaximumExecutionTimeoutInSeconds": 600,
            }
        },
        "MaximumExecutionTimeoutInSeconds must be larger than",
    ),
    (
        {
            **policy("ALL_AT_ONCE", 0),
            "RollingUpdatePolicy": {"MaximumBatchSize": percent(50), "WaitIntervalInSeconds": 0},
        },
        "BlueGreenUpdatePolicy and RollingUpdatePolicy, and only one",
    ),
]


def test_senseless_deployments_are_refused(hosted: Hosted) -> None:
    two_versions(hosted)
    for deployment, text in BAD_DEPLOYMENTS:
        with pytest.raises(ClientError, match=text):
            update(hosted, deployment)
    assert hosted.wait("e1")["EndpointConfigName"] == "old"


def test_a_deployment_config_can_be_kept(hosted: Hosted) -> None:
    two_versions(hosted)
    deployment = policy("CANARY", 0, CanarySize=percent(50))
    update(hosted, deployment)
    assert hosted.wait("e1")["EndpointConfigName"] == "new"
    hosted.aws.events.clear()
    hosted.aws.sagemaker.update_endpoint(
        EndpointName="e1", EndpointConfigName="old", RetainDeploymentConfig=True
    )
    assert hosted.wait("e1")["LastDeploymentConfig"] == deployment
    until(lambda: any("canary" in stage for stage in stages(hosted)))
