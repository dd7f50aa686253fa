"""Application Auto Scaling with boto3: real instances, alarms of an emulator's CloudWatch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Aws, aws_client, make_service, until
from model_server import SERVER_IMAGE, Hosted, host, running

from local_aws.sagemaker.hosting import async_queue, autoscaler, autoscaling

DIMENSION = "sagemaker:variant:DesiredInstanceCount"


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(autoscaler, "INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr(async_queue, "METRICS_SECONDS", 0.2)
    with host(aws, tmp_path) as served:
        yield served


@pytest.fixture
def scaling(hosted: Hosted) -> Iterator[Any]:
    """A boto3 client of Application Auto Scaling."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            target = self.headers["X-Amz-Target"]
            status, answer = autoscaling.handle(hosted.aws.service, target, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield aws_client("application-autoscaling", server.server_port)
    server.shutdown()
    server.server_close()


class Alarms:
    """The alarms of the emulator's CloudWatch; their states are set by hand."""

    def __init__(self, port: int) -> None:
        self._client = aws_client("cloudwatch", port)

    def set(self, name: str, state: str) -> None:
        self._client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")

    def raise_until(self, name: str, condition: Callable[[], bool]) -> None:
        """Keep an alarm raised: the emulator decides anew with each metric that it gets."""

        def met() -> bool:
            self.set(name, "ALARM")
            return condition()

        until(met)

    def described(self, name: str) -> dict[str, Any]:
        alarm: dict[str, Any]
        (alarm,) = self._client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return alarm

    def on_backlog(self, endpoint: str, action: str) -> str:
        name = f"backlog-{endpoint}"
        self._client.put_metric_alarm(
            AlarmName=name,
            MetricName="HasBacklogWithoutCapacity",
            Namespace="AWS/SageMaker",
            Statistic="Average",
            EvaluationPeriods=2,
            DatapointsToAlarm=2,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            TreatMissingData="missing",
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}],
            Period=60,
            AlarmActions=[action],
        )
        return name


@pytest.fixture
def alarms(emulator_port: int) -> Alarms:
    return Alarms(emulator_port)


def resource(endpoint: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": DIMENSION,
    }


def tracking(value: float, **fields: Any) -> dict[str, Any]:
    return {
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": value,
            "ScaleInCooldown": 0,
            "ScaleOutCooldown": 0,
            **fields,
        },
    }


def backlog(endpoint: str) -> dict[str, Any]:
    return {
        "CustomizedMetricSpecification": {
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
            "Statistic": "Average",
        }
    }


def count(hosted: Hosted, name: str) -> int:
    """How many instances an endpoint has; -1 while that is being changed."""
    described = hosted.aws.sagemaker.describe_endpoint(EndpointName=name)
    (variant,) = described["ProductionVariants"]
    stable = described["EndpointStatus"] == "InService"
    return int(variant["CurrentInstanceCount"]) if stable else -1


def asynchronous(hosted: Hosted) -> str:
    """A new asynchronous endpoint; its name differs from that of any other test's."""
    name = f"e-{time.monotonic_ns()}"
    output = {"S3OutputPath": f"s3://{hosted.aws.bucket}/out"}
    client = {"MaxConcurrentInvocationsPerInstance": 1}
    config = {"OutputConfig": output, "ClientConfig": client}
    hosted.endpoint(name, AsyncInferenceConfig=config)
    return name


def test_an_asynchronous_endpoint_scales_to_zero_and_up_again(
    hosted: Hosted, scaling: Any, alarms: Alarms
) -> None:
    name = asynchronous(hosted)
    scaling.register_scalable_target(**resource(name), MinCapacity=0, MaxCapacity=2)
    policy = scaling.put_scaling_policy(
        PolicyName="backlog", **resource(name), **tracking(2.0, **backlog(name))
    )
    high, low = (alarm["AlarmName"] for alarm in policy["Alarms"])
    described = alarms.described(high)
    assert (described["Threshold"], described["EvaluationPeriods"]) == (2.0, 3)
    assert described["AlarmActions"] == [policy["PolicyARN"]]
    assert (alarms.described(low)["Threshold"], alarms.described(low)["EvaluationPeriods"]) == (
        1.8,
        15,
    )
    alarms.set(high, "OK")
    alarms.raise_until(low, lambda: count(hosted, name) == 0)
    until(lambda: running(hosted.aws) == [])
    scaling.delete_scaling_policy(PolicyName="backlog", **resource(name))
    with pytest.raises(ValueError, match="not enough values"):
        alarms.described(high)

    # A request waits in the queue, and the alarm on a backlog without capacity starts an instance.
    step = scaling.put_scaling_policy(
        PolicyName="from-zero",
        **resource(name),
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": 300,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )
    raised = alarms.on_backlog(name, step["PolicyARN"])
    location = hosted.aws.put("in/1", "x")
    answer = hosted.runtime.invoke_endpoint_async(EndpointName=name, InputLocation=location)
    time.sleep(0.5)
    assert hosted.aws.keys("out/") == []
    target = hosted.aws.service.store.list("ScalableTarget")[0]
    assert target["_LastActivity"]  # its cooldown would have to pass first
    hosted.aws.service.store.update("ScalableTarget", target["ResourceId"], _LastActivity=0)
    alarms.raise_until(raised, lambda: count(hosted, name) == 1)
    until(lambda: bool(hosted.aws.keys("out/")))
    assert answer["OutputLocation"].endswith(hosted.aws.keys("out/")[0])

    activities = scaling.describe_scaling_activities(**resource(name))["ScalingActivities"]
    assert [activity["Description"] for activity in activities] == [
        "Setting desired instance count to 1.",
        "Setting desired instance count to 0.",
    ]
    assert f"monitor alarm {raised} in state ALARM" in activities[0]["Cause"]
    (left,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert left["PolicyName"] == "from-zero"
    scaling.deregister_scalable_target(**resource(name))
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")
    assert targets["ScalableTargets"] == []


def test_instances_follow_the_requests_within_bounds(
    hosted: Hosted, scaling: Any, alarms: Alarms
) -> None:
    name = f"e-{time.monotonic_ns()}"
    hosted.endpoint(name)
    scaling.register_scalable_target(**resource(name), MinCapacity=2, MaxCapacity=3)
    until(lambda: count(hosted, name) == 2)  # the least that is allowed
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    policy = scaling.put_scaling_policy(
        PolicyName="requests",
        **resource(name),
        **tracking(2.0, PredefinedMetricSpecification=metric),
    )
    high, low = (alarm["AlarmName"] for alarm in policy["Alarms"])
    for _ in range(30):
        hosted.invoke(name)
    time.sleep(1.2)  # metrics are sent each second
    alarms.raise_until(high, lambda: count(hosted, name) == 3)  # more would be needed
    assert hosted.invoke(name)["model"] == name
    alarms.set(high, "OK")
    alarms.raise_until(low, lambda: count(hosted, name) == 2)
    # Others' bounds, for one that is registered.
    scaling.register_scalable_target(**resource(name), MinCapacity=1, MaxCapacity=1)
    until(lambda: count(hosted, name) == 1)
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 1)


def test_scaling_goes_on_after_a_restart(
    hosted: Hosted, scaling: Any, isolation: str, emulator_port: int
) -> None:
    name = f"e-{time.monotonic_ns()}"
    hosted.endpoint(name)
    scaling.register_scalable_target(**resource(name), MinCapacity=1, MaxCapacity=1)
    old = hosted.aws.service
    old.close()
    service = make_service(old.settings.data_dir, emulator_port, isolation, lambda *_: None)
    try:
        service.images.register(SERVER_IMAGE, old.images.resolve(SERVER_IMAGE))
        until(lambda: service.store.list("Endpoint")[0]["EndpointStatus"] == "InService")
        service.store.update(
            "ScalableTarget", resource(name)["ResourceId"], MinCapacity=2, MaxCapacity=2
        )
        until(lambda: len(service.store.list("ServingProcess")) == 2)
    finally:
        service.close()


@pytest.mark.parametrize(
    ("kind", "current", "adjustment", "least", "expected"),
    [
        # Examples of "Scaling adjustment types" of the user guide.
        ("ChangeInCapacity", 3, 5, 0, 8),
        ("ExactCapacity", 3, 5, 0, 5),
        ("PercentChangeInCapacity", 10, 10, 0, 11),
        ("PercentChangeInCapacity", 4, 25, 2, 6),
        ("PercentChangeInCapacity", 8, 90, 0, 15),  # 7.2
        ("PercentChangeInCapacity", 2, 10, 0, 3),  # 0.2
        ("PercentChangeInCapacity", 2, -10, 0, 1),  # -0.2
        ("PercentChangeInCapacity", 10, -66, 0, 4),  # -6.6
    ],
)
def test_the_adjustment_of_a_step(
    kind: str, current: int, adjustment: int, least: int, expected: int
) -> None:
    configuration = {"AdjustmentType": kind, "MinAdjustmentMagnitude": least}
    assert autoscaler.adjusted(configuration, current, adjustment) == expected


def test_bad_requests(hosted: Hosted, scaling: Any) -> None:
    hosted.endpoint("e1")
    target = resource("e1")
    bounds = {"MinCapacity": 1, "MaxCapacity": 2}
    for fields, text in (
        ({**target, "MinCapacity": 1}, "MaxCapacity is required"),
        ({**target, **bounds, "MinCapacity": 3}, "not above MaxCapacity"),
        ({**target, **bounds, "MinCapacity": 0}, "only asynchronous endpoints scale to 0"),
        ({**target, **bounds, "ResourceId": "endpoint/e1"}, "ResourceId must be endpoint/"),
        ({**resource("e2"), **bounds}, "Could not find endpoint"),
        (
            {**target, **bounds, "ResourceId": "endpoint/e1/variant/Other"},
            "has no variant Other in service",
        ),
        ({**target, **bounds, "ServiceNamespace": "ecs"}, "namespace sagemaker only"),
        (
            {**target, **bounds, "ScalableDimension": "ecs:service:DesiredCount"},
            f"scales {DIMENSION} only",
        ),
    ):
        with pytest.raises(ClientError, match=text) as caught:
            scaling.register_scalable_target(**fields)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.put_scaling_policy(PolicyName="p", **target, **tracking(1.0))
    scaling.register_scalable_target(**target, **bounds)
    with pytest.raises(ClientError, match="TargetValue must be above 0"):
        scaling.put_scaling_policy(PolicyName="p", **target, **tracking(0.0))
    with pytest.raises(ClientError, match="one of PredefinedMetricSpecification and"):
        scaling.put_scaling_policy(PolicyName="p", **target, **tracking(1.0))
    with pytest.raises(ClientError, match=r"does not know.*PutScheduledAction"):
        scaling.put_scheduled_action(ScheduledActionName="a", **target)
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.delete_scaling_policy(PolicyName="p", **target)
    status, answer = autoscaling.handle(hosted.aws.service, f"{autoscaling.TARGET}Other", b"{}")
    assert (status, json.loads(answer)["__type"]) == (400, "UnknownOperationException")
