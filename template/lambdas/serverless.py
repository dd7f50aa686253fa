"""The serverless endpoint: its memory, its concurrency, and how much of that is kept warm.

SageMaker captures nothing of it, and it takes neither network isolation nor guardrails of
deployments: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from lambdas.aws import sagemaker
from workflows import keys

if TYPE_CHECKING:
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_application_autoscaling.type_defs import (
        DeregisterScalableTargetRequestTypeDef as Target,
    )
    from types_boto3_sagemaker.type_defs import (
        DescribeEndpointOutputTypeDef,
        ProductionVariantServerlessConfigTypeDef,
        ProductionVariantTypeDef,
    )

    from lambdas.deploy import Deployment

POLICY = "provisioned-concurrency"
UTILIZATION = 0.7
"""How much of the provisioned concurrency is to be in use, on average."""


def of_model(deployment: "Deployment") -> dict[str, Any]:
    """What the model of a deployment has: the version, and where its container logs to.

    A folder of its own tells which version has made a prediction.
    """
    folder = f"{keys.CAPTURE}version={deployment.version}"
    endpoint, variant = os.environ["ENDPOINT"], os.environ["VARIANT"]
    environment = {
        "AWS_DEFAULT_REGION": sagemaker().meta.region_name,
        "INFERENCE_LOG": f"s3://{os.environ['BUCKET']}/{folder}/{endpoint}/{variant}",
        "METRIC_NAMESPACE": os.environ["METRIC_NAMESPACE"],
    }
    return {
        "PrimaryContainer": {"ModelPackageName": deployment.package, "Environment": environment}
    }


def of_config(
    deployment: "Deployment", _: "DescribeEndpointOutputTypeDef | None"
) -> dict[str, Any]:
    """What the endpoint configuration of a deployment has."""
    least, _most = bounds()
    found = variant(deployment.name, int(os.environ["MAX_CONCURRENCY"]), least)
    return {"ProductionVariants": [found]}


def variant(model: str, most: int, provisioned: int = 0) -> "ProductionVariantTypeDef":
    """A production variant.

    Args:
        model: The name of its model.
        most: How many requests it answers at the same time.
        provisioned: How many containers are kept warm.
    """
    config: ProductionVariantServerlessConfigTypeDef = {
        "MemorySizeInMB": int(os.environ["MEMORY_MB"]),
        "MaxConcurrency": most,
    }
    if provisioned:
        config["ProvisionedConcurrency"] = provisioned
    return {"VariantName": os.environ["VARIANT"], "ModelName": model, "ServerlessConfig": config}


def target() -> "Target":
    """The provisioned concurrency of the endpoint."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{os.environ['ENDPOINT']}/variant/{os.environ['VARIANT']}",
        "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency",
    }


def bounds() -> tuple[int, int]:
    """The least and the greatest provisioned concurrency; 0 for none."""
    return int(os.environ["PROVISIONED"]), int(os.environ["MAX_PROVISIONED"])


@cache
def autoscaling() -> "ApplicationAutoScalingClient":
    """The client of Application Auto Scaling."""
    return boto3.client("application-autoscaling")


def scale() -> str:
    """Let use decide how much is kept warm, if usecase.toml says so; what was done.

    To be called when the endpoint is in service.
    """
    least, most = bounds()
    if least == most:
        return "ignored, the provisioned concurrency is fixed"
    autoscaling().register_scalable_target(**target(), MinCapacity=least, MaxCapacity=most)
    autoscaling().put_scaling_policy(
        PolicyName=POLICY,
        **target(),
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": UTILIZATION,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"
            },
        },
    )
    return f"keeps {least} to {most} containers warm"


def stop_scaling() -> None:
    """Leave the provisioned concurrency as it is."""
    try:
        autoscaling().deregister_scalable_target(**target())
    except autoscaling().exceptions.ObjectNotFoundException:
        return  # it is not scaled
