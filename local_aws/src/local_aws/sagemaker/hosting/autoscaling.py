"""Application Auto Scaling for the instances of endpoint variants: its API.

A service of its own on AWS, with the same protocol. What it decides is in `autoscaler`.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import ServiceModel

from local_aws.sagemaker.core.protocol import ApiError, parse_structure, shape_structure
from local_aws.sagemaker.core.resources import require
from local_aws.sagemaker.core.roles import Need, Session
from local_aws.sagemaker.hosting import autoscaler

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

TARGET = "AnyScaleFrontendService."
"""What the X-Amz-Target headers of its operations begin with."""

_RESOURCE = re.compile(r"endpoint/(?P<endpoint>[^/]+)/variant/(?P<variant>[^/]+)")
_PREDEFINED = "SageMakerVariantInvocationsPerInstance"
_CONFIGURATIONS = {
    "StepScaling": "StepScalingPolicyConfiguration",
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
}
# Evaluation periods of a minute: three to scale out, fifteen to scale in at less than nine tenths.
_OUT_PERIODS, _IN_PERIODS, _IN_SHARE = 3, 15, 0.9
_log = logging.getLogger(__name__)

Request = Mapping[str, Any]


@cache
def _model() -> ServiceModel:
    return botocore.session.Session().get_service_model("application-autoscaling")


def call(service: Service, operation: str, request: Request) -> dict[str, Any]:
    """Runs one operation.

    Args:
        service: The service.
        operation: Its name, for example `RegisterScalableTarget`.
        request: Its members, as JSON values.

    Returns:
        The response members, timestamps as epoch seconds.

    Raises:
        ApiError: What AWS would answer with an error.
    """
    return _answer(service, operation, json.dumps(request).encode())


def handle(
    service: Service, target: str, body: bytes, session: Session | None = None
) -> tuple[int, bytes]:
    """Answers one request.

    Args:
        service: The service.
        target: The X-Amz-Target header.
        body: The request's body.
        session: Who calls; None for the account itself.

    Returns:
        HTTP status and JSON body.
    """
    try:
        answer = _answer(service, target.removeprefix(TARGET), body, session)
        return 200, json.dumps(answer).encode()
    except ApiError as error:
        code, message, status = error.code, error.message, error.status
    except Exception:
        _log.exception("%s failed", target)
        code, message, status = "InternalServiceException", f"{target} failed; see the log", 500
    return status, json.dumps({"__type": code, "message": message, "Message": message}).encode()


def _answer(
    service: Service, operation: str, body: bytes, session: Session | None = None
) -> dict[str, Any]:
    if operation not in _model().operation_names:
        raise ApiError("UnknownOperationException", f"There is no operation {operation!r}")
    if operation not in OPERATIONS:
        text = f"The local AWS does not know Application Auto Scaling's {operation}"
        raise ApiError("NotImplemented", text, 501)
    shapes = _model().operation_model(operation)
    if shapes.input_shape is None or shapes.output_shape is None:
        raise AssertionError("all of its operations have both")
    request = parse_structure(shapes.input_shape, body)
    if request["ServiceNamespace"] != "sagemaker":
        _refuse("The local AWS scales resources of the service namespace sagemaker only")
    dimension = request.get("ScalableDimension", autoscaler.DIMENSION)
    if dimension != autoscaler.DIMENSION and operation != "DeregisterScalableTarget":
        _refuse(f"The local AWS scales {autoscaler.DIMENSION} only, not {dimension}")
    if session is not None:
        service.roles.authorize(session, [_need(service, operation, request)])
    return shape_structure(shapes.output_shape, OPERATIONS[operation](service, request))


def _need(service: Service, operation: str, request: Request) -> Need:
    """What an operation needs, after the Service Authorization Reference."""
    resource = "*"
    if not operation.startswith("Describe"):
        target = service.store.get(autoscaler.TARGET_KIND, request["ResourceId"]) or {}
        resource = target.get("ScalableTargetARN") or _new_target(service)
    context = {"application-autoscaling:service-namespace": request["ServiceNamespace"]}
    return Need(f"application-autoscaling:{operation}", (resource,), context)


def _new_target(service: Service) -> str:
    place = f"arn:aws:application-autoscaling:{service.settings.region}:{service.settings.account}"
    return f"{place}:scalable-target/{uuid.uuid4().hex[:32]}"


def forget(service: Service, endpoint: str) -> None:
    """Deregisters the targets of an endpoint that is deleted, as AWS does."""
    for target in service.store.list(autoscaler.TARGET_KIND):
        if target["ResourceId"].startswith(f"endpoint/{endpoint}/"):
            _deregister_target(service, target)


def resume(service: Service) -> None:
    """Goes on scaling what a former process scaled."""
    if service.store.list(autoscaler.TARGET_KIND):
        autoscaler.run(service)


def _register_target(service: Service, request: Request) -> dict[str, Any]:
    """Stores the least and greatest count of a variant's instances, and keeps it within them."""
    resource = request["ResourceId"]
    _check_resource(service, resource)
    with service.store.transaction():
        present = service.store.get(autoscaler.TARGET_KIND, resource) or {}
        body = {**present, **{key: value for key, value in request.items() if key != "Tags"}}
        for member in ("MinCapacity", "MaxCapacity"):
            if member not in body:
                _refuse(f"{member} is required for a scalable target that is not registered yet")
        least, most = body["MinCapacity"], body["MaxCapacity"]
        if not 0 <= least <= most:
            _refuse("MinCapacity must be 0 or more, and not above MaxCapacity")
        if least == 0 and not _asynchronous(service, resource):
            _refuse("MinCapacity must be 1 or more: only asynchronous endpoints scale to 0")
        settings = service.settings
        body.setdefault("ScalableTargetARN", _new_target(service))
        role = (
            "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
            "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
        )
        body.setdefault("RoleARN", f"arn:aws:iam::{settings.account}:role/{role}")
        service.store.delete(autoscaler.TARGET_KIND, resource)
        service.store.insert(autoscaler.TARGET_KIND, resource, body["ScalableTargetARN"], body)
    autoscaler.run(service)
    return {"ScalableTargetARN": body["ScalableTargetARN"]}


def _deregister_target(service: Service, request: Request) -> dict[str, Any]:
    """Forgets a target, its policies and their alarms."""
    resource = request["ResourceId"]
    _target(service, resource, request["ScalableDimension"])
    for policy in service.store.list(autoscaler.POLICY_KIND, ResourceId=resource):
        _forget_policy(service, policy)
    service.store.delete(autoscaler.TARGET_KIND, resource)
    return {}


def _describe_targets(service: Service, request: Request) -> dict[str, Any]:
    """Lists targets by resource."""
    wanted = request.get("ResourceIds")
    targets = [
        target
        for target in service.store.list(autoscaler.TARGET_KIND)
        if not wanted or target["ResourceId"] in wanted
    ]
    return {"ScalableTargets": targets}


def _put_policy(service: Service, request: Request) -> dict[str, Any]:
    """Stores a policy; target tracking makes its alarms."""
    resource, name = request["ResourceId"], request["PolicyName"]
    _target(service, resource)
    kind = request.get("PolicyType", "StepScaling")
    if kind not in _CONFIGURATIONS:
        _refuse(f"The local AWS does not know policies of the type {kind}")
    configuration = request.get(_CONFIGURATIONS[kind])
    if configuration is None:
        _refuse(f"A policy of the type {kind} needs {_CONFIGURATIONS[kind]}")
    check = _check_step if kind == "StepScaling" else _check_tracking
    check(configuration)
    key = f"{resource}/{name}"
    present = service.store.get(autoscaler.POLICY_KIND, key) or {}
    place = f"arn:aws:autoscaling:{service.settings.region}:{service.settings.account}"
    arn = present.get("PolicyARN") or (
        f"{place}:scalingPolicy:{uuid.uuid4()}:resource/sagemaker/{resource}:policyName/{name}"
    )
    alarms = []
    if kind == "TargetTrackingScaling":
        alarms = _put_alarms(service, resource, arn, configuration)
    body = {
        **request,
        "PolicyType": kind,
        "ScalableDimension": autoscaler.DIMENSION,
        "PolicyARN": arn,
        "Alarms": alarms,
        "CreationTime": present.get("CreationTime", time.time()),
    }
    with service.store.transaction():
        service.store.delete(autoscaler.POLICY_KIND, key)
        service.store.insert(autoscaler.POLICY_KIND, key, arn, body)
    return {"PolicyARN": arn, "Alarms": alarms}


def _delete_policy(service: Service, request: Request) -> dict[str, Any]:
    """Forgets a policy and its alarms."""
    key = f"{request['ResourceId']}/{request['PolicyName']}"
    policy = service.store.get(autoscaler.POLICY_KIND, key)
    if policy is None:
        raise ApiError(
            "ObjectNotFoundException",
            f"No scaling policy found for service namespace: sagemaker, policy name: "
            f"{request['PolicyName']}, resource ID: {request['ResourceId']}, "
            f"scalable dimension: {autoscaler.DIMENSION}",
        )
    _forget_policy(service, policy)
    return {}


def _describe_policies(service: Service, request: Request) -> dict[str, Any]:
    """Lists policies by resource and name."""
    names, resource = request.get("PolicyNames"), request.get("ResourceId")
    policies = [
        policy
        for policy in service.store.list(autoscaler.POLICY_KIND)
        if (not names or policy["PolicyName"] in names)
        and (resource is None or policy["ResourceId"] == resource)
    ]
    return {"ScalingPolicies": policies}


def _describe_activities(service: Service, request: Request) -> dict[str, Any]:
    """Lists what was scaled, and why."""
    resource = request.get("ResourceId")
    activities = [
        activity
        for activity in service.store.list(autoscaler.ACTIVITY_KIND)
        if resource is None or activity["ResourceId"] == resource
    ]
    return {"ScalingActivities": activities}


OPERATIONS: Mapping[str, Callable[[Service, Request], dict[str, Any]]] = {
    "RegisterScalableTarget": _register_target,
    "DeregisterScalableTarget": _deregister_target,
    "DescribeScalableTargets": _describe_targets,
    "PutScalingPolicy": _put_policy,
    "DeleteScalingPolicy": _delete_policy,
    "DescribeScalingPolicies": _describe_policies,
    "DescribeScalingActivities": _describe_activities,
}
"""What answers, by the operation's name."""

DIFFERENCES = {
    "RegisterScalableTarget": "instances of endpoints' variants only; no scheduled actions",
    "PutScalingPolicy": (
        "no metric math, and of predefined metrics SageMakerVariantInvocationsPerInstance only"
    ),
}
"""What is not as on AWS, as the README tells it."""


def _check_resource(service: Service, resource: str) -> None:
    match = _RESOURCE.fullmatch(resource)
    if match is None:
        _refuse(f"ResourceId must be endpoint/<name>/variant/<name>, not {resource!r}")
    endpoint = require(service, "Endpoint", match["endpoint"])
    variants = {
        summary["VariantName"]: summary for summary in endpoint.get("ProductionVariants", [])
    }
    if match["variant"] not in variants:
        _refuse(f"Endpoint {match['endpoint']} has no variant {match['variant']} in service")
    if "CurrentServerlessConfig" in variants[match["variant"]]:
        _refuse(
            f"Variant {match['variant']} of endpoint {match['endpoint']} is serverless and has no "
            f"{autoscaler.DIMENSION}"
        )


def _asynchronous(service: Service, resource: str) -> bool:
    return "AsyncInferenceConfig" in require(service, "Endpoint", resource.split("/")[1])


def _check_step(configuration: Request) -> None:
    if "AdjustmentType" not in configuration or not configuration.get("StepAdjustments"):
        _refuse("StepScalingPolicyConfiguration needs AdjustmentType and StepAdjustments")


def _check_tracking(configuration: Request) -> None:
    predefined = configuration.get("PredefinedMetricSpecification")
    customized = configuration.get("CustomizedMetricSpecification")
    if configuration["TargetValue"] <= 0:
        _refuse("TargetValue must be above 0")
    if (predefined is None) == (customized is None):
        _refuse("Give one of PredefinedMetricSpecification and CustomizedMetricSpecification")
    if predefined and predefined["PredefinedMetricType"] != _PREDEFINED:
        _refuse(f"The local AWS has {_PREDEFINED} only as PredefinedMetricType")
    if customized and not {"MetricName", "Namespace", "Statistic"} <= customized.keys():
        _refuse(
            "CustomizedMetricSpecification needs MetricName, Namespace and Statistic; the local "
            "AWS does not scale by metric math"
        )


def _metric(resource: str, configuration: Request) -> dict[str, Any]:
    """What an alarm watches for a target tracking policy."""
    if custom := configuration.get("CustomizedMetricSpecification"):
        members = ("MetricName", "Namespace", "Statistic", "Unit", "Dimensions")
        return {member: custom[member] for member in members if member in custom}
    _, endpoint, _, variant = resource.split("/")
    return {
        "MetricName": "InvocationsPerInstance",
        "Namespace": "AWS/SageMaker",
        "Statistic": "Sum",
        "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": variant},
        ],
    }


def _put_alarms(
    service: Service, resource: str, arn: str, configuration: Request
) -> list[dict[str, str]]:
    """Makes the two alarms of a target tracking policy, as AWS does."""
    cloudwatch = service.client("cloudwatch")
    value = configuration["TargetValue"]
    unique = arn.split(":")[6]
    names = {
        kind: f"TargetTracking-{resource}-{kind}-{unique}" for kind in ("AlarmHigh", "AlarmLow")
    }
    limits = {
        "AlarmHigh": ("GreaterThanThreshold", value, _OUT_PERIODS),
        "AlarmLow": ("LessThanThreshold", value * _IN_SHARE, _IN_PERIODS),
    }
    try:
        for kind, (comparison, threshold, periods) in limits.items():
            if kind == "AlarmLow" and configuration.get("DisableScaleIn"):
                continue
            cloudwatch.put_metric_alarm(
                AlarmName=names[kind],
                AlarmDescription=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {arn}.",
                AlarmActions=[arn],
                ComparisonOperator=comparison,
                Threshold=threshold,
                EvaluationPeriods=periods,
                Period=60,
                **_metric(resource, configuration),
            )
        found = cloudwatch.describe_alarms(AlarmNames=list(names.values()))["MetricAlarms"]
    except (ClientError, BotoCoreError) as error:
        raise ApiError("FailedResourceAccessException", f"CloudWatch: {error}") from error
    return [{"AlarmName": each["AlarmName"], "AlarmARN": each["AlarmArn"]} for each in found]


def _forget_policy(service: Service, policy: Mapping[str, Any]) -> None:
    names = [alarm["AlarmName"] for alarm in policy["Alarms"]]
    if names:
        try:
            service.client("cloudwatch").delete_alarms(AlarmNames=names)
        except (ClientError, BotoCoreError) as error:
            raise ApiError("FailedResourceAccessException", f"CloudWatch: {error}") from error
    service.store.delete(autoscaler.POLICY_KIND, policy["PolicyARN"])


def _target(service: Service, resource: str, dimension: str = autoscaler.DIMENSION) -> Request:
    target = service.store.get(autoscaler.TARGET_KIND, resource)
    if target is None or dimension != autoscaler.DIMENSION:
        raise ApiError(
            "ObjectNotFoundException",
            f"No scalable target registered for service namespace: sagemaker, resource ID: "
            f"{resource}, scalable dimension: {dimension}",
        )
    return target


def _refuse(text: str) -> NoReturn:
    raise ApiError("ValidationException", text)
