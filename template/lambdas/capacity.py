"""The instances of the endpoint: how many there are, how those of a new version take over.

An update brings the instances back to the number in the configuration, is refused where it changes
the type of instances that are scaled, and is not scaled while it lasts. So a deployment ends the
scaling, has as many instances as there are, and the scaling begins again once it is over:
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

import logging
import math
import os
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

import boto3

from lambdas.aws import cloudwatch
from lambdas.mail import Mail, send

if TYPE_CHECKING:
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_application_autoscaling.type_defs import (
        DeregisterScalableTargetRequestTypeDef as Target,
    )
    from types_boto3_sagemaker.type_defs import (
        DescribeEndpointOutputTypeDef,
        TrafficRoutingConfigTypeDef,
    )

    from lambdas.deploy import Deployment

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
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


def of_model(_: "Deployment") -> dict[str, Any]:
    """What the model of a deployment has besides the version."""
    return {"EnableNetworkIsolation": True}


def of_config(
    deployment: "Deployment", endpoint: "DescribeEndpointOutputTypeDef | None"
) -> dict[str, Any]:
    """What the endpoint configuration of a deployment has: instances, and capture of all data."""
    return {
        "ProductionVariants": [
            {
                "VariantName": os.environ["VARIANT"],
                "ModelName": deployment.name,
                "InitialInstanceCount": instances(endpoint),
                "InstanceType": os.environ["INSTANCE_TYPE"],
                "InitialVariantWeight": 1.0,
            }
        ],
        "DataCaptureConfig": {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            # A folder of its own tells which version has made a prediction, also while the
            # instances of two versions answer.
            "DestinationS3Uri": f"{os.environ['CAPTURE_URI']}/version={deployment.version}",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            # What is not listed here would be captured as Base64.
            "CaptureContentTypeHeader": {
                "CsvContentTypes": [CSV],
                "JsonContentTypes": [JSON, JSON_LINES],
            },
        },
    }


def of_update(
    deployment: "Deployment", endpoint: "DescribeEndpointOutputTypeDef"
) -> dict[str, Any]:
    """How one version takes over from the other: new instances, to which the requests move."""
    config: dict[str, Any] = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing(instances(endpoint)),
            # The old instances stay this long, for an alarm to bring traffic back to them.
            "TerminationWaitInSeconds": int(os.environ["BAKE_SECONDS"]),
        }
    }
    alarms = os.environ["ALARMS"].split()
    found = cloudwatch().describe_alarms(AlarmNames=alarms)["MetricAlarms"]
    raised = ", ".join(a["AlarmName"] for a in found if a["StateValue"] == "ALARM")
    if not raised:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
        return {"DeploymentConfig": config}
    # SageMaker terminates a deployment whose alarm is in ALARM when it begins: the version that
    # is to put things right could not be deployed.
    log.warning("%s: without automatic rollback, as %s is in ALARM", deployment.package, raised)
    name = os.environ["ENDPOINT"]
    text = f"""\
Version {deployment.version} is being deployed to {name} without automatic rollback, as these alarms
are in the state ALARM already: {raised}.

SageMaker would terminate a deployment that they watch. Look at the endpoint yourself; if the
version does no better, approve another one:
  uv run ops models list

{deployment.package}
"""
    subject = f"{name}: version {deployment.version} is deployed without automatic rollback"
    send(Mail(f"without rollback {deployment.name}", subject, text))
    return {"DeploymentConfig": config}


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
