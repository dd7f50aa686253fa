"""Application Auto Scaling: how many instances a variant is to have, decided every ten seconds.

Source: Application Auto Scaling User Guide, "Target tracking scaling policies" and "Step scaling
policies". Policies act as long as an alarm that names them is in the state ALARM; the alarms are
CloudWatch's, which watches metrics with periods of their own.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.loops import attempt, repeat
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.hosting.running import hosting

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
TARGET_KIND = "ScalableTarget"
POLICY_KIND = "ScalingPolicy"
ACTIVITY_KIND = "ScalingActivity"

INTERVAL_SECONDS = 10.0

_DEFAULT_COOLDOWN = 300
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proposal:
    """What a policy wants.

    Attributes:
        count: Number of instances.
        cooldown: Seconds that must have passed since the last activity.
        cause: Why, for the activity.
    """

    count: int
    cooldown: float
    cause: str


def run(service: Service) -> None:
    """Start to scale in the background, if that is not done already."""
    present = hosting(service)
    if not present.scaling:
        present.scaling = True
        service.submit(_run, service)


def _run(service: Service) -> None:
    repeat("scaling", INTERVAL_SECONDS, hosting(service).closing, partial(_scale_all, service))


def _scale_all(service: Service) -> None:
    targets = service.store.list(TARGET_KIND)
    if not targets:
        return
    try:
        raised = _raised_alarms(service)
    except (ClientError, BotoCoreError) as error:
        _log.warning("CloudWatch's alarms cannot be read: %s", error)
        return
    for target in targets:
        attempt(f"scaling {target['ResourceId']}", _scale_unless_changed, service, target, raised)


def _scale_unless_changed(
    service: Service, target: Mapping[str, Any], raised: Iterable[Mapping[str, Any]]
) -> None:
    try:
        _scale(service, target, raised)
    except ApiError as error:  # the endpoint is gone, or is being changed
        _log.info("%s is not scaled: %s", target["ResourceId"], error.message)


def _raised_alarms(service: Service) -> list[dict[str, Any]]:
    """Return the metric alarms in the state ALARM."""
    pages = service.client("cloudwatch").get_paginator("describe_alarms").paginate()
    alarms = [alarm for page in pages for alarm in page.get("MetricAlarms", [])]
    return [alarm for alarm in alarms if alarm["StateValue"] == "ALARM"]


def _scale(
    service: Service, target: Mapping[str, Any], raised: Iterable[Mapping[str, Any]]
) -> None:
    resource = target["ResourceId"]
    _, endpoint, _, variant = resource.split("/")
    described = service.store.get("Endpoint", endpoint) or {}
    if described.get("EndpointStatus") != "InService":
        return
    counts = {
        found["VariantName"]: found["DesiredInstanceCount"]
        for found in described["ProductionVariants"]
        if "DesiredInstanceCount" in found  # a serverless variant has none
    }
    if variant not in counts:
        return
    current = counts[variant]
    chosen = _chosen(service, target, current, raised)
    if chosen is None or chosen.count == current:
        return
    service.call(
        "UpdateEndpointWeightsAndCapacities",
        {
            "EndpointName": endpoint,
            "DesiredWeightsAndCapacities": [
                {"VariantName": variant, "DesiredInstanceCount": chosen.count}
            ],
        },
    )
    _record(service, target, current, chosen)


def _chosen(
    service: Service,
    target: Mapping[str, Any],
    current: int,
    raised: Iterable[Mapping[str, Any]],
) -> Proposal | None:
    """Return what is to be done: scaling out goes before scaling in, and the most before less."""
    least, most = target["MinCapacity"], target["MaxCapacity"]
    if not least <= current <= most:
        bound = ("minimum", least) if current < least else ("maximum", most)
        return Proposal(bound[1], 0, f"{bound[0]} capacity was set to {bound[1]}")
    proposals = []
    trackers = set()
    for policy in service.store.list(POLICY_KIND, ResourceId=target["ResourceId"]):
        tracking = policy.get("TargetTrackingScalingPolicyConfiguration")
        if tracking and not tracking.get("DisableScaleIn"):
            trackers.add(policy["PolicyARN"])
        for alarm in raised:
            if policy["PolicyARN"] not in alarm.get("AlarmActions", []):
                continue
            value = _value(service, alarm)
            if value is None:
                continue
            propose = _track if tracking else _step
            proposal = propose(policy, alarm, current, value)
            proposals.append((policy["PolicyARN"], proposal))
    now = time.time()
    idle = now - target.get("_LastActivity", 0.0)
    suspended = target.get("SuspendedState", {})
    out = [p for _arn, p in proposals if p.count > current and idle >= p.cooldown]
    if out and not suspended.get("DynamicScalingOutSuspended"):
        best = max(out, key=lambda proposal: proposal.count)
        return Proposal(min(best.count, most), best.cooldown, best.cause)
    lower = {arn: p for arn, p in proposals if p.count < current and idle >= p.cooldown}
    # All target tracking policies must agree to scale in.
    if lower and trackers <= lower.keys() and not suspended.get("DynamicScalingInSuspended"):
        best = max(lower.values(), key=lambda proposal: proposal.count)
        return Proposal(max(best.count, least), best.cooldown, best.cause)
    return None


def _track(
    policy: Mapping[str, Any], alarm: Mapping[str, Any], current: int, value: float
) -> Proposal:
    """Return what brings a metric per instance to its target value."""
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    fitting = math.ceil(round(max(1, current) * value / configuration["TargetValue"], 6))
    if "-AlarmHigh-" in alarm["AlarmName"]:
        count = max(current + 1, fitting)
        cooldown = configuration.get("ScaleOutCooldown", _DEFAULT_COOLDOWN)
    else:
        count = min(current - 1, fitting)
        cooldown = configuration.get("ScaleInCooldown", _DEFAULT_COOLDOWN)
    return Proposal(max(0, count), cooldown, _cause(policy, alarm))


def _step(
    policy: Mapping[str, Any], alarm: Mapping[str, Any], current: int, value: float
) -> Proposal:
    """Return what the step says in whose interval the metric's distance from the threshold lies."""
    configuration = policy["StepScalingPolicyConfiguration"]
    # The alarm has passed its threshold, though the newest period may have just begun.
    sign = -1 if alarm["ComparisonOperator"].startswith("Less") else 1
    distance = sign * max(0.0, sign * (value - alarm["Threshold"]))
    adjustment = 0
    for step in configuration["StepAdjustments"]:
        low = step.get("MetricIntervalLowerBound", -math.inf)
        high = step.get("MetricIntervalUpperBound", math.inf)
        # The upper bound belongs to the interval below the threshold, the lower one above it.
        inside = low <= distance < high if sign > 0 else low < distance <= high
        if inside:
            adjustment = step["ScalingAdjustment"]
    count = adjusted(configuration, current, adjustment)
    cooldown = configuration.get("Cooldown", _DEFAULT_COOLDOWN)
    return Proposal(max(0, count), cooldown, _cause(policy, alarm))


def adjusted(configuration: Mapping[str, Any], current: int, adjustment: int) -> int:
    """Return the number of instances after a step's adjustment.

    Args:
        configuration: The StepScalingPolicyConfiguration.
        current: The number before.
        adjustment: The step's ScalingAdjustment.
    """
    kind = configuration["AdjustmentType"]
    if kind == "ExactCapacity":
        return adjustment
    if kind == "ChangeInCapacity":
        return current + adjustment
    # Percentages are rounded towards zero, but for those below one, which count as one.
    change = current * adjustment / 100
    change = math.copysign(1, change) if 0 < abs(change) < 1 else math.trunc(change)
    least = configuration.get("MinAdjustmentMagnitude", 0)
    if adjustment and abs(change) < least:
        change = math.copysign(least, adjustment)
    return current + int(change)


def _value(service: Service, alarm: Mapping[str, Any]) -> float | None:
    """Return the newest value of an alarm's metric, or of its metric math."""
    now = datetime.now(UTC)
    if queries := alarm.get("Metrics"):
        return _value_of_math(service, queries, alarm["EvaluationPeriods"], now)
    period = alarm["Period"]
    statistic = alarm.get("Statistic", "Average")
    points = service.client("cloudwatch").get_metric_statistics(
        Namespace=alarm["Namespace"],
        MetricName=alarm["MetricName"],
        Dimensions=alarm.get("Dimensions", []),
        StartTime=now - timedelta(seconds=period * alarm["EvaluationPeriods"] + 2 * period),
        EndTime=now + timedelta(seconds=1),
        Period=period,
        Statistics=[statistic],
    )["Datapoints"]
    if not points:
        return None
    newest = max(points, key=lambda point: point["Timestamp"])
    return float(newest[statistic])


def _value_of_math(
    service: Service, queries: Sequence[Mapping[str, Any]], count: int, now: datetime
) -> float | None:
    periods = [query["MetricStat"]["Period"] for query in queries if "MetricStat" in query]
    periods += [query["Period"] for query in queries if "Period" in query]
    span = timedelta(seconds=max(periods, default=60) * (count + 2))
    found = service.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries,
        StartTime=now - span,
        EndTime=now + timedelta(seconds=1),
        ScanBy="TimestampDescending",
    )["MetricDataResults"]
    values = [value for result in found for value in result["Values"]]
    return float(values[0]) if values else None


def _cause(policy: Mapping[str, Any], alarm: Mapping[str, Any]) -> str:
    return (
        f"monitor alarm {alarm['AlarmName']} in state ALARM triggered policy {policy['PolicyName']}"
    )


def _record(service: Service, target: Mapping[str, Any], before: int, proposal: Proposal) -> None:
    now = time.time()
    text = f"desired instance count to {proposal.count}."
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "ServiceNamespace": "sagemaker",
        "ResourceId": target["ResourceId"],
        "ScalableDimension": DIMENSION,
        "Description": f"Setting {text}",
        "Cause": proposal.cause,
        "StartTime": now,
        "EndTime": now,
        "StatusCode": "Successful",
        "StatusMessage": f"Successfully set {text} Change successfully fulfilled by sagemaker.",
    }
    key = activity["ActivityId"]
    service.store.insert(ACTIVITY_KIND, key, key, activity)
    service.store.update(TARGET_KIND, target["ResourceId"], _LastActivity=now)
    _log.info("%s: from %d to %d instances", target["ResourceId"], before, proposal.count)
