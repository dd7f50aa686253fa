"""An endpoint whose requests decide how many instances it has, in a scene that plays."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests import template
from tests.scenarios import Scene, until

FIXED = "# max_instances = 4 "
TARGET = "requests_per_instance = 10000 "


class Scaled:
    """The endpoint of a scene, of which the stacks say that it is scaled."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        (endpoint,) = scene.serving()["endpoints"]
        self.name: str = endpoint["EndpointName"]
        self._sagemaker = scene.life.client("sagemaker")
        self._cloudwatch = scene.life.client("cloudwatch")
        self._scaling = scene.life.client("application-autoscaling")

    def described(self) -> dict[str, Any]:
        """The endpoint."""
        found: dict[str, Any] = self._sagemaker.describe_endpoint(EndpointName=self.name)
        return found

    def approve(self) -> str:
        """Approve version 1 once more; the configuration that is being deployed."""
        before = self.described()["EndpointConfigName"]
        command = ["uv", "run", "python", "-c", APPROVE]
        template.run(command, self._scene.life.project, self._scene.life.environment)

        def begun() -> str | None:
            endpoint = self.described()
            config = endpoint.get("PendingDeploymentSummary", endpoint)["EndpointConfigName"]
            return None if config == before else str(config)

        return until("a deployment", begun)

    def instances(self, config: str) -> int | None:
        """How many instances there are once a configuration serves and is scaled."""
        endpoint = self.described()
        targets = self._scaling.describe_scalable_targets(ServiceNamespace="sagemaker")
        settled = endpoint["EndpointStatus"] == "InService" and targets["ScalableTargets"]
        if not settled or endpoint["EndpointConfigName"] != config:
            return None
        return int(endpoint["ProductionVariants"][0]["CurrentInstanceCount"])

    def measure(self, metric: str, value: float, minutes: range, times: int = 1) -> None:
        """Store a value of the endpoint's, so many times, for some minutes, 0 being this one."""
        now = datetime.now(UTC)
        dimensions = {"EndpointName": self.name, "VariantName": "AllTraffic"}
        data = [
            {
                "MetricName": metric,
                "Value": value,
                "Timestamp": now - timedelta(minutes=minute),
                "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions.items()],
            }
            for minute in minutes
        ] * times
        self._cloudwatch.put_metric_data(Namespace="AWS/SageMaker", MetricData=data)

    def fail(self) -> None:
        """Let most of its requests have failed, and the alarm on errors go off."""
        alarm = f"{self._scene.life.slug}-endpoint-errors"
        self.measure("Invocation5XXErrors", 1.0, range(1), times=200)
        self._cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="errors")

    def ask(self, times: int) -> None:
        """Ask for a prediction, of no row: the answer is 400, and the request counts."""
        runtime = self._scene.life.client("sagemaker-runtime")
        for _ in range(times):
            try:
                runtime.invoke_endpoint(EndpointName=self.name, ContentType="text/csv", Body=b"")
            except runtime.exceptions.ModelError:
                continue

    def expect(self, requests: float) -> None:
        """Measure the requests by another number, and at once.

        To be called until it has an effect: the event that scales the endpoint may come again.
        """
        (policy,) = self._scaling.describe_scaling_policies(ServiceNamespace="sagemaker")[
            "ScalingPolicies"
        ]
        members = ("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension")
        tracking = policy["TargetTrackingScalingPolicyConfiguration"]
        if tracking["TargetValue"] == requests:
            return
        self._scaling.put_scaling_policy(
            **{member: policy[member] for member in members},
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                **tracking,
                "TargetValue": requests,
                "ScaleInCooldown": 0,
            },
        )


#: `ops models approve` would wait for the deployment.
APPROVE = """
from ops import models
models.approve_version(models.find(1), "once more")
"""


@contextmanager
def scaled(scene: Scene, most: int, requests: int) -> Iterator[Scaled]:
    """The endpoint is scaled up to `most` instances, with so many requests of a minute for each.

    The project's files are as before, afterwards.
    """
    path = scene.life.project / "usecase.toml"
    before = path.read_text()
    if before.count(FIXED) != 1 or before.count(TARGET) != 1:
        raise AssertionError(f"{path} has no {FIXED!r} or {TARGET!r}")
    text = before.replace(FIXED, f"max_instances = {most} ")
    path.write_text(text.replace(TARGET, f"requests_per_instance = {requests} "))
    try:
        deploy = ["uv", "run", "poe", "deploy", "--require-approval", "never"]
        template.run(deploy, scene.life.project, scene.life.environment)
        yield Scaled(scene)
    finally:
        path.write_text(before)
