"""Application Auto Scaling with boto3: real instances, and the local AWS's own CloudWatch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Aws, aws_client, until
from host_process import HostProcess
from model_server import Hosted, host, next_service, running

from local_aws.sagemaker.core.service import Service
from local_aws.sagemaker.hosting import async_queue, autoscaler, autoscaling

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(autoscaler, "INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr(async_queue, "METRICS_SECONDS", 0.2)
    with host(aws, tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def emulator_port(host: HostProcess) -> int:
    """Port of a whole local AWS, whose CloudWatch evaluates alarms as AWS does."""
    return host.port


@contextmanager
def serving(service: Service) -> Iterator[Any]:
    """A boto3 client of a service's Application Auto Scaling."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = autoscaling.handle(service, self.headers["X-Amz-Target"], body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield aws_client("application-autoscaling", server.server_port)
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def scaling(hosted: Hosted) -> Iterator[Any]:
    with serving(hosted.aws.service) as client:
        yield client


class CloudWatch:
    """Alarms, and what was measured in the minutes before the test."""

    def __init__(self, port: int) -> None:
        self._client = aws_client("cloudwatch", port)

    def measured(self, metric: str, value: float, minutes: range, **dimensions: str) -> None:
        """Store a value for each of some minutes, 1 being the one before this."""
        now = datetime.now(UTC)
        self._client.put_metric_data(
            Namespace="AWS/SageMaker",
            MetricData=[
                {
                    "MetricName": metric,
                    "Value": value,
                    "Timestamp": now - timedelta(minutes=minute),
                    "Dimensions": [
                        {"Name": name, "Value": given} for name, given in dimensions.items()
                    ],
                }
                for minute in minutes
            ],
        )

    def latest(self, metric: str, endpoint: str) -> float:
        """The greatest value of the last two minutes; -1 where there is none."""
        now = datetime.now(UTC)
        points = self._client.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}],
            StartTime=now - timedelta(minutes=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return max((point["Maximum"] for point in points), default=-1)

    def described(self, name: str) -> dict[str, Any]:
        alarm: dict[str, Any]
        (alarm,) = self._client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return alarm

    def state(self, name: str) -> str:
        return str(self.described(name)["StateValue"])

    def alarm_on_backlog(self, endpoint: str, action: str) -> str:
        name = f"backlog-{endpoint}"
        self._client.put_metric_alarm(
            AlarmName=name,
            MetricName="HasBacklogWithoutCapacity",
            Namespace="AWS/SageMaker",
            Statistic="Maximum",
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            TreatMissingData="missing",
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}],
            Period=60,
            AlarmActions=[action],
        )
        return name


@pytest.fixture
def cloudwatch(emulator_port: int) -> CloudWatch:
    return CloudWatch(emulator_port)


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
    hosted: Hosted, scaling: Any, cloudwatch: CloudWatch
) -> None:
    name = asynchronous(hosted)
    scaling.register_scalable_target(**resource(name), MinCapacity=0, MaxCapacity=2)
    policy = scaling.put_scaling_policy(
        PolicyName="backlog", **resource(name), **tracking(2.0, **backlog(name))
    )
    high, low = (alarm["AlarmName"] for alarm in policy["Alarms"])
    described = cloudwatch.described(high)
    assert (described["Threshold"], described["EvaluationPeriods"]) == (2.0, 3)
    assert described["AlarmActions"] == [policy["PolicyARN"]]
    described = cloudwatch.described(low)
    assert (described["Threshold"], described["EvaluationPeriods"]) == (1.8, 15)

    # After a quarter of an hour without a backlog no instance is left.
    assert count(hosted, name) == 1
    cloudwatch.measured("ApproximateBacklogSizePerInstance", 0, range(1, 17), EndpointName=name)
    until(lambda: count(hosted, name) == 0)
    assert (cloudwatch.state(low), cloudwatch.state(high)) == ("ALARM", "OK")
    until(lambda: running(hosted.aws) == [])
    scaling.delete_scaling_policy(PolicyName="backlog", **resource(name))
    with pytest.raises(ValueError, match="not enough values"):
        cloudwatch.described(high)

    # A request waits in the queue; the alarm on a backlog without capacity starts an instance, once
    # the policy's cooldown lets it.
    from_zero = {
        "PolicyName": "from-zero",
        **resource(name),
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": 300,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    }
    step = scaling.put_scaling_policy(**from_zero)
    alarm = cloudwatch.alarm_on_backlog(name, step["PolicyARN"])
    location = hosted.aws.put("in/1", "x")
    answer = hosted.runtime.invoke_endpoint_async(EndpointName=name, InputLocation=location)
    until(lambda: cloudwatch.latest("HasBacklogWithoutCapacity", name) == 1)
    until(lambda: cloudwatch.state(alarm) == "ALARM")
    assert hosted.aws.keys("out/") == []
    assert count(hosted, name) == 0
    from_zero["StepScalingPolicyConfiguration"]["Cooldown"] = 0
    scaling.put_scaling_policy(**from_zero)
    until(lambda: count(hosted, name) == 1)
    until(lambda: bool(hosted.aws.keys("out/")))
    assert answer["OutputLocation"].endswith(hosted.aws.keys("out/")[0])

    activities = scaling.describe_scaling_activities(**resource(name))["ScalingActivities"]
    assert [activity["Description"] for activity in activities[-2:]] == [
        "Setting desired instance count to 1.",
        "Setting desired instance count to 0.",
    ]
    assert f"monitor alarm {alarm} in state ALARM" in activities[-2]["Cause"]
    (left,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert left["PolicyName"] == "from-zero"
    scaling.deregister_scalable_target(**resource(name))
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")
    assert targets["ScalableTargets"] == []


def test_what_is_kept_warm_of_a_serverless_endpoint_is_never_registered(scaling: Any) -> None:
    target = {**resource("e1"), "ScalableDimension": PROVISIONED}
    with pytest.raises(ClientError, match="scales sagemaker:variant:DesiredInstanceCount only"):
        scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    with pytest.raises(scaling.exceptions.ObjectNotFoundException, match="ProvisionedConcurrency"):
        scaling.deregister_scalable_target(**target)


def test_instances_follow_the_requests_within_bounds(
    hosted: Hosted, scaling: Any, cloudwatch: CloudWatch
) -> None:
    name = f"e-{time.monotonic_ns()}"
    hosted.endpoint(name)
    scaling.register_scalable_target(**resource(name), MinCapacity=2, MaxCapacity=3)
    until(lambda: count(hosted, name) == 2)  # the least that is allowed
    variant = {"EndpointName": name, "VariantName": "AllTraffic"}
    metric = {
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
        }
    }
    policy = scaling.put_scaling_policy(
        PolicyName="requests", **resource(name), **tracking(2.0, **metric)
    )
    high, _ = (alarm["AlarmName"] for alarm in policy["Alarms"])
    # There were so many in the minutes before, and these 30 make it the third in a row.
    cloudwatch.measured("InvocationsPerInstance", 15, range(1, 3), **variant)
    assert count(hosted, name) == 2
    for _ in range(30):
        hosted.invoke(name)
    until(lambda: count(hosted, name) == 3)  # more would be needed
    assert cloudwatch.state(high) == "ALARM"
    assert hosted.invoke(name)["model"] == name

    # Measured by this, there were few for a quarter of an hour.
    scaling.put_scaling_policy(
        PolicyName="requests", **resource(name), **tracking(1000.0, **metric)
    )
    cloudwatch.measured("InvocationsPerInstance", 0, range(1, 17), **variant)
    until(lambda: count(hosted, name) == 2)
    # Others' bounds, for one that is registered.
    scaling.register_scalable_target(**resource(name), MinCapacity=1, MaxCapacity=1)
    until(lambda: count(hosted, name) == 1)
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 1)


def test_scaling_goes_on_after_a_restart(hosted: Hosted, scaling: Any) -> None:
    name = f"e-{time.monotonic_ns()}"
    hosted.endpoint(name)
    scaling.register_scalable_target(**resource(name), MinCapacity=1, MaxCapacity=1)
    hosted.aws.service.close()
    with next_service(hosted) as service, serving(service) as client:
        client.register_scalable_target(**resource(name), MinCapacity=2, MaxCapacity=2)
        described = {"EndpointName": name}

        def instances() -> int:
            endpoint = service.call("DescribeEndpoint", described)
            return int(endpoint["ProductionVariants"][0]["CurrentInstanceCount"])

        until(lambda: instances() == 2)


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


def test_what_is_scaled_is_updated_and_deleted_as_on_aws(hosted: Hosted, scaling: Any) -> None:
    hosted.endpoint("e1")
    sagemaker = hosted.aws.sagemaker
    config = sagemaker.describe_endpoint_config(
        EndpointConfigName=sagemaker.describe_endpoint(EndpointName="e1")["EndpointConfigName"]
    )
    (variant,) = config["ProductionVariants"]
    other = {**variant, "InstanceType": "ml.c5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="other", ProductionVariants=[other])
    scaling.register_scalable_target(**resource("e1"), MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match="is a scalable target: deregister it before") as caught:
        sagemaker.update_endpoint(EndpointName="e1", EndpointConfigName="other")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    scaling.deregister_scalable_target(**resource("e1"))
    sagemaker.update_endpoint(EndpointName="e1", EndpointConfigName="other")
    until(lambda: count(hosted, "e1") == 1)
    scaling.register_scalable_target(**resource("e1"), MinCapacity=1, MaxCapacity=2)
    sagemaker.delete_endpoint(EndpointName="e1")
    until(
        lambda: (
            not scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        )
    )
