"""The resource types that this package adds to ministack's CloudFormation."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from typing import Any

from local_aws import cloudformation, cloudformation_inert, inert_types
from local_aws.cloudformation_types import Given, Properties, Provisioned
from local_aws.ministack_internals import module
from local_aws.sagemaker.service import Service

_COMPOSITE = "AWS::CloudWatch::CompositeAlarm"
_COMPOSITE_PROPERTIES = Properties(
    "AlarmRule+ AlarmName= ActionsEnabled AlarmActions AlarmDescription InsufficientDataActions "
    "OKActions Tags"
)


def apply(service: Service) -> None:
    """Enter our resource types into ministack's tables.

    AWS: AWS CloudFormation User Guide, "Update behaviors of stack resources": a change of some
    properties replaces a resource, unless it has a name of its own.

    Args:
        service: The SageMaker service.
    """
    provisioners = module("services.cloudformation.provisioners")
    types: dict[str, Properties] = {}
    for name, entry in cloudformation.available().items():
        provisioners._RESOURCE_HANDLERS[name] = cloudformation.handlers(service, entry)
        types[name] = entry.properties
        provisioners._CUSTOM_NAME_REPLACEMENT[name] = {"name": entry.named_by}
        if "Tags" in entry.properties.names - entry.properties.replacing:
            provisioners._STACK_TAG_PROPERTY[name] = ("Tags", "list")
    for name, inert in inert_types.TYPES.items():
        provisioners._RESOURCE_HANDLERS[name] = cloudformation_inert.handlers(service, inert)
        types[name] = inert.properties
    provisioners._RESOURCE_HANDLERS[_COMPOSITE] = _composite_alarm(service)
    types[_COMPOSITE] = _COMPOSITE_PROPERTIES
    for name, properties in types.items():
        provisioners._REPLACING_PROPERTIES[name] = tuple(sorted(properties.replacing))
    _run_on_a_thread(types)


def _run_on_a_thread(types: Mapping[str, object]) -> None:
    """Let CloudFormation provision our types on a thread, as they send requests to this process."""
    stacks = module("services.cloudformation.stacks")
    original = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda name: name in types or original(name)


def _composite_alarm(service: Service) -> dict[str, Any]:
    """AWS::CloudWatch::CompositeAlarm over PutCompositeAlarm.

    AWS: AWS CloudFormation Template Reference, AWS::CloudWatch::CompositeAlarm.
    """

    @functools.cache
    def cloudwatch() -> Any:  # noqa: ANN401 - a boto3 client
        return service.client("cloudwatch")

    def put(name: str, properties: Given) -> Provisioned:
        _COMPOSITE_PROPERTIES.check(name, properties)
        enabled = str(properties.get("ActionsEnabled", True)).lower() != "false"
        request = {**properties, "AlarmName": name, "ActionsEnabled": enabled}
        cloudwatch().put_composite_alarm(**request)
        settings = service.settings
        arn = f"arn:aws:cloudwatch:{settings.region}:{settings.account}:alarm:{name}"
        return name, {"Arn": arn}

    def create(logical_id: str, properties: Given, stack: str) -> Provisioned:
        generated = f"{stack}-{logical_id}-{uuid.uuid4().hex[:12].upper()}"
        return put(str(properties.get("AlarmName") or generated), properties)

    def update(physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        del old, stack
        return put(physical_id, new)

    def delete(physical_id: str, properties: Given) -> None:
        del properties
        cloudwatch().delete_alarms(AlarmNames=[physical_id])

    return {"create": create, "update": update, "delete": delete}
