"""Which permissions SageMaker's operations need, after the Service Authorization Reference.

Source: "Actions, resources, and condition keys for Amazon SageMaker AI"
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core.kinds import KINDS
from local_aws.sagemaker.core.roles import PRINCIPAL, Need

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_OPERATION = re.compile(r"(?P<verb>[A-Z][a-z]+)(?P<rest>[A-Za-z]+)")
# Operations that are authorized on what they name, though their own name does not end in its kind.
_ON: Mapping[str, str] = {
    "UpdateEndpointWeightsAndCapacities": "Endpoint",
    "StartPipelineExecution": "Pipeline",
    "ListPipelineExecutions": "Pipeline",
    "ListPipelineVersions": "Pipeline",
    "UpdatePipelineVersion": "Pipeline",
    "ListPipelineExecutionSteps": "PipelineExecution",
    "ListPipelineParametersForExecution": "PipelineExecution",
    "DescribePipelineDefinitionForExecution": "PipelineExecution",
    "ListTrainingJobsForHyperParameterTuningJob": "HyperParameterTuningJob",
}
# Operations that are authorized on a second resource too.
_ALSO: Mapping[str, str] = {"CreateEndpoint": "EndpointConfig", "UpdateEndpoint": "EndpointConfig"}
_ON_PACKAGES = ("CreateModelPackage", "ListModelPackages")
_ROLES = ("RoleArn", "ExecutionRoleArn")
# Condition keys that the reference lists for an operation, and the member that each is about.
_APPROVAL = {"sagemaker:ModelApprovalStatus": "ModelApprovalStatus"}
_KEYS: Mapping[str, Mapping[str, str]] = {
    "CreateModelPackage": _APPROVAL,
    "UpdateModelPackage": _APPROVAL,
}


def needs(service: Service, operation: str, request: Mapping[str, Any]) -> list[Need]:
    """Return what an operation needs, iam:PassRole and sagemaker:AddTags among it.

    Args:
        service: The service, whose ARNs they are.
        operation: Operation name.
        request: Its parsed request.
    """
    resources = _resources(service, operation, request)
    action = f"sagemaker:{operation}"
    given = {key: request.get(member) for key, member in _KEYS.get(operation, {}).items()}
    found = [Need(action, (one,), given) for one in resources]
    if operation in _ON_PACKAGES:  # which need one of the two that the reference has
        found = [Need(action, tuple(resources), given)]
    if request.get("Tags") and operation.startswith("Create"):
        found.append(Need("sagemaker:AddTags", found[0].resources))
    if operation == "CreateModel":
        # AWS's own policies allow it on model packages too; the reference does not say so.
        found += [
            Need(action, (package,), doubt="whether it is checked")
            for package in _packages(service, request)
        ]
    passed = {"iam:PassedToService": PRINCIPAL}
    return [*found, *(Need("iam:PassRole", (role,), passed) for role in roles(operation, request))]


def roles(operation: str, request: Mapping[str, Any]) -> list[str]:
    """Return the roles that a request hands to SageMaker, each once."""
    if not operation.startswith(("Create", "Update", "Start")):
        return []
    found = [request[member] for member in _ROLES if member in request]
    definition = request.get("TrainingJobDefinition")
    several = request.get("TrainingJobDefinitions", [])
    found += [each["RoleArn"] for each in (definition, *several) if each and "RoleArn" in each]
    return list(dict.fromkeys(found))


def _resources(service: Service, operation: str, request: Mapping[str, Any]) -> list[str]:
    """Return the ARNs that an operation is authorized on; `*` where it knows none."""
    if "ResourceArn" in request:  # tags
        return [request["ResourceArn"]]
    if operation == "BatchDescribeModelPackage":
        return list(request["ModelPackageArnList"])
    if operation in _ON_PACKAGES:
        return _package_resources(service, request) or ["*"]
    if "CallbackToken" in request:
        return [_waiting(service, request["CallbackToken"])]
    kind = _ON.get(operation) or _kind(operation)
    if kind is None:
        return ["*"]
    arns = [_arn(service, kind, request)]
    if also := _ALSO.get(operation):
        arns.append(_arn(service, also, request))
    return arns


def _kind(operation: str) -> str | None:
    """Return the kind of resource that an operation names: CreateModel is about a Model."""
    match = _OPERATION.fullmatch(operation)
    if match is None or match["verb"] == "List" or match["rest"] not in KINDS:
        return None
    return match["rest"]


def _arn(service: Service, kind: str, request: Mapping[str, Any]) -> str:
    table = KINDS[kind]
    # Some operations name by ARN what others name by name.
    members = (table.arn_member, table.name_member)
    name = next((str(request[member]) for member in members if member in request), "*")
    if name == "*" and kind == "PipelineExecution":
        return _any_execution(service)
    return name if name.startswith("arn:") else service.arn(kind, name)


def _package_resources(service: Service, request: Mapping[str, Any]) -> list[str]:
    if group := request.get("ModelPackageGroupName"):
        name = str(group).rpartition("/")[2]
        return [service.arn("ModelPackageGroup", name), service.arn("ModelPackage", f"{name}/*")]
    return [_arn(service, "ModelPackage", request)] if "ModelPackageName" in request else []


def _packages(service: Service, request: Mapping[str, Any]) -> Iterator[str]:
    for container in (request.get("PrimaryContainer"), *request.get("Containers", [])):
        if container and "ModelPackageName" in container:
            yield _arn(service, "ModelPackage", container)


def _waiting(service: Service, token: str) -> str:
    """Return the execution that waits for an answer to a token."""
    row = service.store.get("PipelineCallback", token)
    return str(row["PipelineExecutionArn"]) if row else _any_execution(service)


def _any_execution(service: Service) -> str:
    return f"{service.arn('Pipeline', '*')}/execution/*"
