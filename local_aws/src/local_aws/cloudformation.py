"""The AWS::SageMaker::* resource types of CloudFormation, as a table over the service's operations.

Source of `Ref`, `Fn::GetAtt` and property names: the resource types' schemas in the CloudFormation
registry (primaryIdentifier and readOnlyProperties).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.protocol import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

Properties = Mapping[str, Any]
Provisioned = tuple[str, dict[str, Any]]
Handlers = dict[str, Callable[..., Any]]


def _same(properties: Properties) -> dict[str, Any]:
    return dict(properties)


def _pipeline(properties: Properties) -> dict[str, Any]:
    """A pipeline's definition is an object in CloudFormation and two members in the API."""
    request = {k: v for k, v in properties.items() if k != "PipelineDefinition"}
    definition = properties["PipelineDefinition"]
    if body := definition.get("PipelineDefinitionBody"):
        request["PipelineDefinition"] = body
    else:
        where = definition["PipelineDefinitionS3Location"]
        names = {"Bucket": "Bucket", "Key": "ObjectKey", "Version": "VersionId"}
        request["PipelineDefinitionS3Location"] = {
            names[key]: value for key, value in where.items() if key in names
        }
    return request


@dataclass(frozen=True)
class ResourceType:
    """How a resource type maps to the API.

    Attributes:
        kind: The API's name of the kind: Create<kind>, Update<kind>, Delete<kind>, Describe<kind>.
        ref: The member of the description that `Ref` returns.
        attributes: The members that `Fn::GetAtt` returns.
        updatable: Properties that Update<kind> takes; a change of any other needs a new name.
        token: Whether Create<kind> takes a ClientRequestToken.
        request: Turns properties into the API's request.
    """

    kind: str
    ref: str
    attributes: tuple[str, ...]
    updatable: frozenset[str] = frozenset()
    token: bool = False
    request: Callable[[Properties], dict[str, Any]] = _same

    @property
    def name_member(self) -> str:
        """The property that holds the resource's name."""
        return f"{self.kind}Name"


TYPES: Mapping[str, ResourceType] = {
    f"AWS::SageMaker::{entry.kind}": entry
    for entry in (
        ResourceType(
            "ModelPackageGroup",
            ref="ModelPackageGroupArn",
            attributes=("ModelPackageGroupArn", "ModelPackageGroupStatus", "CreationTime"),
        ),
        ResourceType(
            "Pipeline",
            ref="PipelineName",
            attributes=(),
            updatable=frozenset(
                {
                    "PipelineDefinition",
                    "PipelineDescription",
                    "PipelineDisplayName",
                    "RoleArn",
                    "ParallelismConfiguration",
                }
            ),
            token=True,
            request=_pipeline,
        ),
        ResourceType("Model", ref="ModelArn", attributes=("ModelArn", "ModelName")),
        ResourceType(
            "EndpointConfig",
            ref="EndpointConfigArn",
            attributes=("EndpointConfigArn", "EndpointConfigName"),
        ),
        ResourceType(
            "Endpoint",
            ref="EndpointArn",
            attributes=("EndpointArn", "EndpointName"),
            updatable=frozenset(
                {
                    "EndpointConfigName",
                    "DeploymentConfig",
                    "RetainAllVariantProperties",
                    "ExcludeRetainedVariantProperties",
                    "RetainDeploymentConfig",
                }
            ),
        ),
    )
}
"""The resource types there are, by name."""


def handlers(service: Service, entry: ResourceType) -> Handlers:
    """What creates, updates and deletes a resource type's resources.

    Args:
        service: The SageMaker service.
        entry: The resource type.

    Returns:
        `create(logical_id, properties, stack)` and `update(physical_id, old, new, stack)`, which
        return what `Ref` returns and the attributes; `delete(physical_id, properties)`.
    """

    def described(name: str) -> Provisioned:
        found = service.call(f"Describe{entry.kind}", {entry.name_member: name})
        attributes = {member: str(found[member]) for member in entry.attributes if member in found}
        return str(found[entry.ref]), attributes

    def create(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        request = entry.request(properties)
        generated = f"{stack}-{logical_id}"[:50] + f"-{uuid.uuid4().hex[:12]}"
        name = request.setdefault(entry.name_member, generated)
        if entry.token:
            request["ClientRequestToken"] = uuid.uuid4().hex
        service.call(f"Create{entry.kind}", request)
        return described(name)

    def update(physical_id: str, old: Properties, new: Properties, stack: str) -> Provisioned:
        del stack
        name = physical_id.rpartition("/")[2]
        changed = {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)} - {"Tags"}
        if fixed := sorted(changed - entry.updatable):
            raise ValueError(
                f"AWS::SageMaker::{entry.kind} {name}: a change of {', '.join(fixed)} needs a new "
                f"resource; give it another {entry.name_member}"
            )
        if changed:
            request = entry.request({k: new[k] for k in entry.updatable if k in new})
            service.call(f"Update{entry.kind}", {**request, entry.name_member: name})
        if new.get("Tags"):
            arn = service.arn(entry.kind, name)
            service.call("AddTags", {"ResourceArn": arn, "Tags": new["Tags"]})
        return described(name)

    def delete(physical_id: str, properties: Properties) -> None:
        del properties
        request: dict[str, Any] = {entry.name_member: physical_id.rpartition("/")[2]}
        if entry.token:
            request["ClientRequestToken"] = uuid.uuid4().hex
        try:
            service.call(f"Describe{entry.kind}", {entry.name_member: request[entry.name_member]})
        except ApiError:
            return  # it is gone already
        service.call(f"Delete{entry.kind}", request)

    return {"create": create, "update": update, "delete": delete}
