"""Which permissions a role needs for what services call with it: targets, and tasks of workflows.

Sources: EventBridge Scheduler User Guide, "Setting up the execution role"; Step Functions Developer
Guide, "How Step Functions generates IAM policies for integrated services".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.sagemaker.core import permissions
from local_aws.sagemaker.core.roles import Need
from local_aws.sagemaker.core.service import Service
from local_aws.settings import Settings

STEP_FUNCTIONS = "states.amazonaws.com"
"""How the trust policies of roles name Step Functions."""

_TASKS = "arn:aws:states:::"
_SDK = "aws-sdk:"
_DELIVERIES = {
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "states": "states:StartExecution",
    "events": "events:PutEvents",
}
# The prefix of a service's actions, where the SDK for Java calls it otherwise.
_PREFIXES = {
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sfn": "states",
    "sagemakerruntime": "sagemaker",
}
# The action that an operation is authorized as, where it is called otherwise.
_ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}
_UNKNOWN_RESOURCE = "the resource"


def of_target(arn: str) -> list[Need]:
    """Return what delivering to a target needs, if that is done with a role.

    Args:
        arn: ARN of the target, of a resource and not of an operation.
    """
    action = _DELIVERIES.get(arn.split(":")[2])
    return [Need(action, (arn,))] if action else []


def of_task(service: Service, resource: str, arguments: Mapping[str, Any]) -> list[Need]:
    """Return what a Task state needs.

    Args:
        service: The SageMaker service.
        resource: The state's Resource; of an activity, nothing is needed.
        arguments: The request.
    """
    if ":function:" in resource:
        return [Need("lambda:InvokeFunction", (resource,))]
    if not resource.startswith(_TASKS):
        return []
    name, _, rest = resource.removeprefix(_TASKS).removeprefix(_SDK).partition(":")
    operation = rest.partition(".")[0]
    operation = operation[:1].upper() + operation[1:]
    if name == "sagemaker":
        return permissions.needs(service, operation, arguments)
    return _of_operation(service.settings, _PREFIXES.get(name, name), operation, arguments)


def _of_operation(
    settings: Settings, prefix: str, operation: str, arguments: Mapping[str, Any]
) -> list[Need]:
    action = f"{prefix}:{operation}"
    action = _ACTIONS.get(action, action)
    if action == "events:PutEvents":
        buses = {entry.get("EventBusName", "default") for entry in arguments.get("Entries", [])}
        return [Need(action, (_arn(settings, "events", f"event-bus/{bus}"),)) for bus in buses]
    if action == "cloudwatch:PutMetricData":
        return [Need(action, context={"cloudwatch:namespace": arguments.get("Namespace")})]
    resource = _resource(settings, prefix, operation, arguments)
    if resource is None:
        return [Need(action, doubt=_UNKNOWN_RESOURCE)]
    return [Need(action, (resource,))]


def _resource(
    settings: Settings, prefix: str, operation: str, arguments: Mapping[str, Any]
) -> str | None:
    """Return the ARN of what a request names; None where it is not known how it does."""
    if prefix == "lambda" and "FunctionName" in arguments:
        return _named(settings, "lambda", "function:", arguments["FunctionName"])
    if prefix == "sqs" and "QueueUrl" in arguments:
        return _arn(settings, "sqs", str(arguments["QueueUrl"]).rpartition("/")[2])
    if prefix == "sns":
        return arguments.get("TopicArn") or arguments.get("TargetArn")
    if prefix == "states":
        members = ("StateMachineArn", "ExecutionArn")
        return next((str(arguments[member]) for member in members if member in arguments), None)
    if prefix == "s3" and operation in ("GetObject", "PutObject", "DeleteObject"):
        return f"arn:aws:s3:::{arguments.get('Bucket')}/{arguments.get('Key')}"
    return None


def _named(settings: Settings, service: str, path: str, name: object) -> str:
    text = str(name)
    return text if text.startswith("arn:") else _arn(settings, service, f"{path}{text}")


def _arn(settings: Settings, service: str, resource: str) -> str:
    return f"arn:aws:{service}:{settings.region}:{settings.account}:{resource}"
