"""What the documentation asks of endpoint configs and deployments, beyond the service model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.resources import require
from local_aws.sagemaker.hosting import autoscaler
from local_aws.sagemaker.hosting.serving import servable_model
from local_aws.sagemaker.hosting.variant import MODEL

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_MEMORY_STEP = 1024
# Members of a production variant that need instances.
_NEEDS_INSTANCES = (
    "InstanceType",
    "InitialInstanceCount",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "ManagedInstanceScaling",
    "RoutingConfig",
    "VolumeSizeInGB",
)


def check_config(service: Service, request: Mapping[str, Any]) -> None:
    """Check a CreateEndpointConfig request.

    Raises:
        ApiError: ValidationException, naming the member.
    """
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        _refuse(f"The names of production variants must be unique: {', '.join(names)}")
    for variant in variants:
        if "ServerlessConfig" in variant:
            _check_serverless(service, request, variant)
        elif "ModelName" in variant and not {"InstanceType", "InstancePools"} & variant.keys():
            _refuse(f"Variant '{variant['VariantName']}' needs InstanceType or ServerlessConfig")
    if asynchronous := request.get("AsyncInferenceConfig"):
        if len(variants) > 1:
            _refuse("AsyncInferenceConfig allows one production variant only")
        for member in ("S3OutputPath", "S3FailurePath"):
            path = asynchronous["OutputConfig"].get(member)
            if (member == "S3OutputPath" or path) and not str(path).startswith("s3://"):
                _refuse(f"AsyncInferenceConfig.OutputConfig.{member} must be s3://bucket/prefix")


def _check_serverless(
    service: Service, request: Mapping[str, Any], variant: Mapping[str, Any]
) -> None:
    """Feature exclusions of "Deploy models with Amazon SageMaker Serverless Inference"."""
    name = variant["VariantName"]
    if len(request["ProductionVariants"]) > 1 or request.get("ShadowProductionVariants"):
        _refuse(f"Variant '{name}' has ServerlessConfig: it must be the only variant")
    for member in ("AsyncInferenceConfig", "DataCaptureConfig", "ExplainerConfig", "VpcConfig"):
        if request.get(member):
            _refuse(f"Variant '{name}' has ServerlessConfig, which does not go with {member}")
    if request.get("EnableNetworkIsolation"):
        _refuse(f"Variant '{name}' has ServerlessConfig, which does not go with network isolation")
    for member in _NEEDS_INSTANCES:
        if member in variant:
            _refuse(f"Variant '{name}' has both ServerlessConfig and {member}; give one of them")
    if "ModelName" not in variant:
        _refuse(f"Variant '{name}' has ServerlessConfig and needs ModelName")
    model = require(service, "Model", variant["ModelName"])
    for member in ("VpcConfig", "EnableNetworkIsolation"):
        if model.get(member):
            text = f"Model '{model['ModelName']}' has {member}, which does not go with"
            _refuse(f"{text} ServerlessConfig of variant '{name}'")
    containers = model.get("Containers") or [model["PrimaryContainer"]]
    if len(containers) > 1 or containers[0].get("Mode") == "MultiModel":
        _refuse(
            f"Model '{model['ModelName']}' has several containers or models, which does not go "
            f"with ServerlessConfig of variant '{name}'"
        )
    config = variant["ServerlessConfig"]
    if config["MemorySizeInMB"] % _MEMORY_STEP:
        sizes = ", ".join(str(size * _MEMORY_STEP) for size in range(1, 7))
        _refuse(f"ServerlessConfig.MemorySizeInMB must be one of {sizes}")
    check_concurrency(config)


def check_concurrency(config: Mapping[str, Any]) -> None:
    """Check a ServerlessConfig's ProvisionedConcurrency against its MaxConcurrency.

    Raises:
        ApiError: ValidationException.
    """
    if config.get("ProvisionedConcurrency", 1) > config["MaxConcurrency"]:
        _refuse("ServerlessConfig.ProvisionedConcurrency must not be above MaxConcurrency")


def servable(service: Service, name: str) -> dict[str, Any]:
    """Return an endpoint config that can be served here, with the models of its variants.

    So an endpoint goes on with what it was deployed with when the config or a model is deleted.

    Raises:
        ApiError: It or a model is not there, or has what is not served; the message names it.
    """
    config = require(service, "EndpointConfig", name)
    for member in ("ShadowProductionVariants", "ExplainerConfig"):
        if config.get(member):
            _refuse(f"Endpoint config '{name}' has {member}, which the local AWS does not run")
    for variant in config["ProductionVariants"]:
        if "ModelName" not in variant:
            _refuse(
                f"Variant '{variant['VariantName']}' of endpoint config '{name}' names no model; "
                "the local AWS does not run inference components"
            )
    variants = [
        {**variant, MODEL: servable_model(service, variant["ModelName"])}
        for variant in config["ProductionVariants"]
    ]
    return {**config, "ProductionVariants": variants}


def check_switch(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Check that an endpoint may go from one config to another.

    Raises:
        ApiError: ValidationException: "If you try to update your real-time endpoint to serverless,
            you receive a ValidationError message" (developer guide).
    """
    if is_serverless(after) and not is_serverless(before):
        _refuse("An endpoint with instances cannot be updated to serverless; create another")
    if ("AsyncInferenceConfig" in before) != ("AsyncInferenceConfig" in after):
        _refuse(
            "An endpoint cannot be updated from real-time to asynchronous inference or back; "
            "create another"
        )


def check_scaled(
    service: Service, endpoint: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Check that an endpoint may go from one config to another while it is scaled.

    Source: "Update endpoints that use auto scaling" of the developer guide.

    Raises:
        ApiError: ValidationException: a variant that is scaled goes, or gets other instances.
    """
    types = [
        {each["VariantName"]: each.get("InstanceType") for each in config["ProductionVariants"]}
        for config in (before, after)
    ]
    for name, instance_type in types[0].items():
        resource = f"endpoint/{endpoint}/variant/{name}"
        if types[1].get(name) != instance_type and service.store.get(
            autoscaler.TARGET_KIND, resource
        ):
            _refuse(
                f"Variant {name} of endpoint {endpoint} is a scalable target: deregister it before "
                "it is removed or gets instances of another type"
            )


def is_serverless(config: Mapping[str, Any]) -> bool:
    """Whether an endpoint config is that of a serverless endpoint."""
    return any("ServerlessConfig" in variant for variant in config["ProductionVariants"])


def check_deployment(
    service: Service, deployment: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """Check a DeploymentConfig for an endpoint config.

    Raises:
        ApiError: ValidationException, naming the member.
    """
    blue_green = deployment.get("BlueGreenUpdatePolicy")
    rolling = deployment.get("RollingUpdatePolicy")
    if blue_green and rolling:
        _refuse("Give one of BlueGreenUpdatePolicy and RollingUpdatePolicy, and only one")
    if is_serverless(config):
        _refuse("DeploymentConfig is for endpoints with instances; leave it out for serverless")
    if blue_green:
        _check_blue_green(blue_green, config)
    if rolling:
        _check_size(rolling["MaximumBatchSize"], 0.05, "MaximumBatchSize", config)
        wait = rolling["WaitIntervalInSeconds"]
        if wait >= rolling.get("MaximumExecutionTimeoutInSeconds", wait + 1):
            _refuse("MaximumExecutionTimeoutInSeconds must be larger than WaitIntervalInSeconds")
    names = alarm_names(deployment)
    if missing := names - _alarms(service, names).keys():
        _refuse(f"AutoRollbackConfiguration names alarms that do not exist: {_listed(missing)}")


def _check_blue_green(policy: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    traffic = policy["TrafficRoutingConfiguration"]
    for kind, member, least in (("CANARY", "CanarySize", 0.0), ("LINEAR", "LinearStepSize", 0.1)):
        if traffic["Type"] != kind:
            if member in traffic:
                _refuse(f"{member} is for traffic routing of type {kind}")
            continue
        if member not in traffic:
            _refuse(f"Traffic routing of type {kind} needs {member}")
        _check_size(traffic[member], least, member, config)
    waits = traffic["WaitIntervalInSeconds"] + policy.get("TerminationWaitInSeconds", 0)
    if waits >= policy.get("MaximumExecutionTimeoutInSeconds", waits + 1):
        _refuse(
            "MaximumExecutionTimeoutInSeconds must be larger than the total of "
            "TerminationWaitInSeconds and WaitIntervalInSeconds"
        )


def _check_size(
    size: Mapping[str, Any], least: float, member: str, config: Mapping[str, Any]
) -> None:
    count = sum(v.get("InitialInstanceCount", 1) for v in config["ProductionVariants"])
    share = fraction(size, count)
    if not least <= share <= 0.5:
        bounds = f"between {least:.0%} and 50%" if least else "at most 50%"
        _refuse(f"{member} must be {bounds} of the variant's total instance count, {count}")


def fraction(size: Mapping[str, Any], count: int) -> float:
    """Return a CapacitySize as a share of `count` instances."""
    value: int = size["Value"]
    return value / count if size["Type"] == "INSTANCE_COUNT" else value / 100


def alarm_names(deployment: Mapping[str, Any]) -> set[str]:
    """Return the alarms that a DeploymentConfig has watched."""
    alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    return {alarm["AlarmName"] for alarm in alarms}


def alarms_raised(service: Service, names: set[str], role: str) -> set[str]:
    """Those of the alarms that are in the state ALARM, or are not there any more.

    Args:
        service: The service.
        names: The alarms' names.
        role: ARN of the model's role, with which SageMaker looks at them.

    Raises:
        ApiError: CloudWatch does not answer.
    """
    states = _alarms(service, names, role)
    return {name for name in names if states.get(name, "ALARM") == "ALARM"}


def _alarms(service: Service, names: set[str], role: str = "") -> dict[str, str]:
    """Return the states of alarms by name."""
    if not names:
        return {}
    try:
        found = service.client("cloudwatch", role).describe_alarms(
            AlarmNames=sorted(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
    except (ClientError, BotoCoreError) as error:
        raise ApiError(
            "ValidationException", f"The alarms {_listed(names)} cannot be read: {error}"
        ) from error
    alarms = found.get("MetricAlarms", []) + found.get("CompositeAlarms", [])
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms}


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _refuse(text: str) -> NoReturn:
    raise ApiError("ValidationException", text)
