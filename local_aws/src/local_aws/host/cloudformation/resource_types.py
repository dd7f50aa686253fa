"""The resource types that this package adds to ministack's CloudFormation."""

from __future__ import annotations

from collections.abc import Mapping

from local_aws.cloudformation import (
    bucket_deployment,
    clients,
    inert,
    inert_types,
    mwaa_types,
    sagemaker_types,
)
from local_aws.cloudformation.properties import Properties
from local_aws.host.internals import module
from local_aws.sagemaker.core.service import Service


def apply(service: Service) -> None:
    """Enter our resource types into ministack's tables.

    AWS: AWS CloudFormation User Guide, "Update behaviors of stack resources": a change of some
    properties replaces a resource, unless it has a name of its own.

    Args:
        service: The SageMaker service.
    """
    provisioners = module("services.cloudformation.provisioners")
    types: dict[str, Properties] = {}
    for name, entry in sagemaker_types.available().items():
        provisioners._RESOURCE_HANDLERS[name] = sagemaker_types.handlers(service, entry)
        types[name] = entry.properties
        if not entry.by_arn:
            provisioners._CUSTOM_NAME_REPLACEMENT[name] = {"name": entry.named_by}
        if "Tags" in entry.properties.names - entry.properties.replacing:
            provisioners._STACK_TAG_PROPERTY[name] = ("Tags", "list")
    for name, stored in inert_types.TYPES.items():
        provisioners._RESOURCE_HANDLERS[name] = inert.handlers(service, stored)
        types[name] = stored.properties
    for name, (properties, handlers) in clients.types(service).items():
        provisioners._RESOURCE_HANDLERS[name] = handlers
        types[name] = properties
    name = bucket_deployment.NAME
    provisioners._RESOURCE_HANDLERS[name] = bucket_deployment.handlers(service)
    name = mwaa_types.NAME
    provisioners._RESOURCE_HANDLERS[name] = mwaa_types.handlers(service)
    provisioners._CUSTOM_NAME_REPLACEMENT[name] = {"name": "Name"}
    provisioners._STACK_TAG_PROPERTY[name] = ("Tags", "map")
    types[name] = mwaa_types.PROPERTIES
    for name, properties in types.items():
        provisioners._REPLACING_PROPERTIES[name] = tuple(sorted(properties.replacing))
    _run_on_a_thread(types)


def _run_on_a_thread(types: Mapping[str, object]) -> None:
    """Let CloudFormation provision our types on a thread, as they send requests to this process.

    Here: our types call services by HTTP, which ministack's event loop has to answer meanwhile.
    """
    stacks = module("services.cloudformation.stacks")
    original = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda name: name in types or original(name)
