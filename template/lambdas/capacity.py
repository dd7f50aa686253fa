"""How many instances the endpoint has, and in what steps those of a new version take over.

An update brings the instances back to the number in the configuration, is refused where it changes
the type of instances that are scaled, and is not scaled while it lasts. So a deployment ends the
scaling, has as many instances as there are, and the scaling begins again once it is over:
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

import math
import os
from functools import cache
from typing import TYPE_CHECKING, Literal, cast

import boto3

if TYPE_CHECKING:
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_application_autoscaling.type_defs import (
        DeregisterScalableTargetRequestTypeDef as Target,
    )
    from types_boto3_sagemaker.type_defs import (
        DescribeEndpointOutputTypeDef,
        TrafficRoutingConfigTypeDef,
    )

POLICY = "requests-per-instance"


@cache
def autoscaling() -> "ApplicationAutoScalingClient":
    """The client of Application Auto Scaling."""
    return boto3.client("application-autoscaling")


def target() -> "Target":
    """The instances of the endpoint."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{os.environ['ENDPOINT']}/variant/{os.environ['VARIANT']}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def bounds() -> tuple[int, int]:
    """The least and the greatest number of instances."""
    return int(os.environ["INSTANCE_COUNT"]), int(os.environ["MAX_INSTANCES"])


def instances(endpoint: "DescribeEndpointOutputTypeDef | None") -> int:
    """How many instances a new version is to have: as many as there are, within the bounds."""
    least, most = bounds()
    variants = endpoint.get("ProductionVariants", []) if endpoint else []
    present = sum(variant.get("DesiredInstanceCount", 0) for variant in variants)
    return min(max(present, least), most)


def routing(count: int) -> "TrafficRoutingConfigTypeDef":
    """How requests move to the instances of a new version, of which there are `count`."""
    kind = cast("Literal['ALL_AT_ONCE', 'CANARY', 'LINEAR']", os.environ["TRAFFIC_SHIFTING"])
    if count == 1 or kind == "ALL_AT_ONCE":
        return {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    # SageMaker takes no more than a half, and for a linear step no less than a tenth.
    step = min(math.ceil(count * int(os.environ["SHIFT_PERCENT"]) / 100), count // 2)
    config: TrafficRoutingConfigTypeDef = {
        "Type": kind,
        "WaitIntervalInSeconds": int(os.environ["SHIFT_WAIT_SECONDS"]),
    }
    config["CanarySize" if kind == "CANARY" else "LinearStepSize"] = {
        "Type": "INSTANCE_COUNT",
        "Value": step,
    }
    return config


def scale() -> str:
    """Let requests decide how many instances there are, if usecase.toml says so; what was done.

    To be called when the endpoint is in service.
    """
    least, most = bounds()
    if least == most:
        return "ignored, the number of instances is fixed"
    autoscaling().register_scalable_target(**target(), MinCapacity=least, MaxCapacity=most)
    autoscaling().put_scaling_policy(
        PolicyName=POLICY,
        **target(),
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(os.environ["REQUESTS_PER_INSTANCE"]),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
        },
    )
    return f"scales from {least} to {most} instances"


def stop_scaling() -> None:
    """Leave the number of instances as it is."""
    try:
        autoscaling().deregister_scalable_target(**target())
    except autoscaling().exceptions.ObjectNotFoundException:
        return  # it is not scaled
