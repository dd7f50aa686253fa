"""The AWS::SageMaker::* resource types of CloudFormation, as a table over the service's operations.

Source of `Ref`, `Fn::GetAtt` and property names: the resource types' schemas in the CloudFormation
registry (primaryIdentifier and readOnlyProperties).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_aws.cloudformation.properties import Given, Handlers, Properties, Provisioned, typed
from local_aws.sagemaker.core.operations import OPERATIONS
from local_aws.sagemaker.core.protocol import ApiError, input_shape

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service


def _pipeline(properties: Given) -> dict[str, Any]:
    """Turn CloudFormation's definition of a pipeline, an object, into the API's two members."""
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
        properties: What it takes; each but those that only a replacement changes goes to
            Update<kind>.
        name_member: The member that holds the resource's name, if not <kind>Name.
        by_arn: Whether only an ARN identifies a resource, which may have no name.
        token: The idempotency token that Create<kind> and Delete<kind> take.
        status: The member of the description that says when the resource is ready.
        request: Turns properties into the API's request.
    """

    kind: str
    ref: str
    attributes: tuple[str, ...]
    properties: Properties
    name_member: str = ""
    by_arn: bool = False
    token: str = ""
    status: str = ""
    request: Callable[[Given], dict[str, Any]] = dict

    @property
    def name(self) -> str:
        """Its name as a resource type."""
        return f"AWS::SageMaker::{self.kind}"

    @property
    def named_by(self) -> str:
        """The property that holds the resource's name."""
        return self.name_member or f"{self.kind}Name"


def _job_definition(kind: str) -> ResourceType:
    return ResourceType(
        f"{kind}JobDefinition",
        ref="JobDefinitionArn",
        attributes=("JobDefinitionArn", "CreationTime"),
        properties=Properties(
            f"{kind}AppSpecification+= {kind}JobInput+= {kind}JobOutputConfig+= JobResources+= "
            f"RoleArn+= {kind}BaselineConfig= EndpointName= JobDefinitionName= NetworkConfig= "
            "StoppingCondition= Tags="
        ),
        name_member="JobDefinitionName",
    )


TYPES: Mapping[str, ResourceType] = {
    entry.name: entry
    for entry in (
        ResourceType(
            "ModelPackageGroup",
            ref="ModelPackageGroupArn",
            attributes=("ModelPackageGroupArn", "ModelPackageGroupStatus", "CreationTime"),
            properties=Properties(
                "ModelPackageGroupName+= ModelPackageGroupDescription= ModelPackageGroupPolicy Tags"
            ),
        ),
        ResourceType(
            "ModelPackage",
            ref="ModelPackageArn",
            attributes=(
                "ModelPackageArn",
                "ModelPackageStatus",
                "CreationTime",
                "LastModifiedTime",
            ),
            properties=Properties(
                "ClientToken= Domain= DriftCheckBaselines= InferenceSpecification= "
                "MetadataProperties= ModelMetrics= ModelPackageDescription= "
                "ModelPackageGroupName= SamplePayloadUrl= SecurityConfig= "
                "SourceAlgorithmSpecification= Task= ValidationSpecification= "
                "AdditionalInferenceSpecifications AdditionalInferenceSpecificationsToAdd "
                "ApprovalDescription CertifyForMarketplace CustomerMetadataProperties "
                "ModelApprovalStatus ModelCard ModelPackageName ModelPackageStatusDetails "
                "ModelPackageVersion SkipModelValidation SourceUri Tags"
            ),
            by_arn=True,
        ),
        ResourceType(
            "Pipeline",
            ref="PipelineName",
            attributes=(),
            properties=Properties(
                "PipelineName+= PipelineDefinition+ RoleArn+ ParallelismConfiguration "
                "PipelineDescription PipelineDisplayName Tags"
            ),
            token="ClientRequestToken",  # noqa: S106 - the name of a member
            request=_pipeline,
        ),
        ResourceType(
            "Model",
            ref="ModelArn",
            attributes=("ModelArn", "ModelName"),
            properties=Properties(
                "Containers= EnableNetworkIsolation= ExecutionRoleArn= InferenceExecutionConfig= "
                "ModelName= PrimaryContainer= VpcConfig= Tags"
            ),
        ),
        ResourceType(
            "EndpointConfig",
            ref="EndpointConfigArn",
            attributes=("EndpointConfigArn", "EndpointConfigName"),
            properties=Properties(
                "ProductionVariants+= AsyncInferenceConfig= DataCaptureConfig= "
                "EnableNetworkIsolation= EndpointConfigName= ExecutionRoleArn= ExplainerConfig= "
                "KmsKeyId= MetricsConfig= ShadowProductionVariants= VpcConfig= Tags"
            ),
        ),
        ResourceType(
            "Endpoint",
            ref="EndpointArn",
            attributes=("EndpointArn", "EndpointName"),
            properties=Properties(
                "EndpointConfigName+ EndpointName= DeploymentConfig "
                "ExcludeRetainedVariantProperties RetainAllVariantProperties "
                "RetainDeploymentConfig Tags"
            ),
            status="EndpointStatus",
        ),
        _job_definition("DataQuality"),
        _job_definition("ModelQuality"),
        _job_definition("ModelBias"),
        _job_definition("ModelExplainability"),
        ResourceType(
            "MonitoringSchedule",
            ref="MonitoringScheduleArn",
            attributes=("MonitoringScheduleArn", "CreationTime", "LastModifiedTime"),
            properties=Properties(
                "MonitoringScheduleName+= MonitoringScheduleConfig+ EndpointName FailureReason "
                "LastMonitoringExecutionSummary MonitoringScheduleStatus Tags"
            ),
            status="MonitoringScheduleStatus",
        ),
    )
}
"""The resource types there are, by name."""

_PENDING = {"Creating", "Updating", "Deleting", "Pending", "SystemUpdating", "RollingBack"}
_POLL_SECONDS = 0.1
_MOST_SECONDS = 1800.0


def available() -> dict[str, ResourceType]:
    """Return the resource types whose operations the service has."""
    return {name: entry for name, entry in TYPES.items() if f"Create{entry.kind}" in OPERATIONS}


def handlers(service: Service, entry: ResourceType) -> Handlers:
    """Return what creates, updates and deletes a resource type's resources.

    Args:
        service: The SageMaker service.
        entry: The resource type.

    Returns:
        `create(logical_id, properties, stack)` and `update(physical_id, old, new, stack)`, which
        return what `Ref` returns and the attributes; `delete(physical_id, properties)`.
    """
    resources = _Resources(service, entry)
    return {
        "create": resources.create,
        "update": resources.update,
        "delete": resources.delete,
    }


@dataclass(frozen=True)
class _Resources:
    """The resources of one type."""

    service: Service
    entry: ResourceType

    def create(self, logical_id: str, properties: Given, stack: str) -> Provisioned:
        self.entry.properties.check(logical_id, properties)
        asked = self._request("Create", properties)
        if not self.entry.by_arn:
            generated = f"{stack}-{logical_id}"[:50] + f"-{uuid.uuid4().hex[:12]}"
            asked.setdefault(self.entry.named_by, generated)
        if self.entry.token:
            asked[self.entry.token] = uuid.uuid4().hex
        answer = self.service.call(f"Create{self.entry.kind}", asked)
        name = answer[self.entry.ref] if self.entry.by_arn else asked[self.entry.named_by]
        try:
            return self._ready(name)
        except ValueError:
            self._remove(name)  # CloudFormation deletes only what it knows
            raise

    def update(self, physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        del stack
        self.entry.properties.check(physical_id, new)
        name = self._name(physical_id)
        changed = {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)} - {"Tags"}
        if changed:
            asked = {**new, self.entry.named_by: name}
            if self.entry.by_arn:
                asked = {self.entry.ref: name} | {k: new[k] for k in changed if k in new}
            self.service.call(f"Update{self.entry.kind}", self._request("Update", asked))
        found = self._ready(name)
        if "EndpointConfigName" in changed:
            now = self._describe(name)
            if now["EndpointConfigName"] != new["EndpointConfigName"]:
                raise ValueError(now.get("FailureReason") or f"{name} was rolled back")
        arn = name if self.entry.by_arn else self.service.arn(self.entry.kind, name)
        _tag(self.service, arn, old, new)
        return found

    def delete(self, physical_id: str, properties: Given) -> None:
        del properties
        self._remove(self._name(physical_id))

    def _name(self, physical_id: str) -> str:
        return physical_id if self.entry.by_arn else physical_id.rpartition("/")[2]

    def _describe(self, name: str) -> dict[str, Any]:
        return self.service.call(f"Describe{self.entry.kind}", {self.entry.named_by: name})

    def _request(self, verb: str, properties: Given) -> dict[str, Any]:
        shape = input_shape(f"{verb}{self.entry.kind}")
        request = self.entry.request(properties)
        return {k: typed(shape.members[k], v) for k, v in request.items() if k in shape.members}

    def _ready(self, name: str) -> Provisioned:
        status = self.entry.status
        found = self._describe(name)
        deadline = time.monotonic() + _MOST_SECONDS
        while status and found[status] in _PENDING:
            if time.monotonic() > deadline:
                raise ValueError(f"{self.entry.kind} {name} did not stabilize")
            time.sleep(_POLL_SECONDS)
            found = self._describe(name)
        if status and found[status] == "Failed":
            raise ValueError(found.get("FailureReason") or f"{self.entry.kind} {name} has failed")
        attributes = {k: str(found[k]) for k in self.entry.attributes if k in found}
        return str(found[self.entry.ref]), attributes

    def _remove(self, name: str) -> None:
        request = {self.entry.named_by: name}
        if not self._exists(name):
            return
        if self.entry.token:
            request[self.entry.token] = uuid.uuid4().hex
        self.service.call(f"Delete{self.entry.kind}", request)
        deadline = time.monotonic() + _MOST_SECONDS
        while self.entry.status and self._exists(name):
            if time.monotonic() > deadline:
                raise ValueError(f"{self.entry.kind} {name} did not stabilize")
            time.sleep(_POLL_SECONDS)

    def _exists(self, name: str) -> bool:
        try:
            self._describe(name)
        except ApiError:
            return False
        return True


def _tag(service: Service, arn: str, old: Given, new: Given) -> None:
    before = {tag["Key"]: tag["Value"] for tag in old.get("Tags") or []}
    after = {tag["Key"]: tag["Value"] for tag in new.get("Tags") or []}
    if gone := sorted(before.keys() - after.keys()):
        service.call("DeleteTags", {"ResourceArn": arn, "TagKeys": gone})
    added = {key: value for key, value in after.items() if before.get(key) != value}
    if added:
        tags = [{"Key": key, "Value": value} for key, value in added.items()]
        service.call("AddTags", {"ResourceArn": arn, "Tags": tags})
