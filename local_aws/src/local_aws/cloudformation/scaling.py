"""AWS::ApplicationAutoScaling::*: endpoint variants are scaled, everything else is inert.

AWS: AWS CloudFormation Template Reference, AWS::ApplicationAutoScaling::ScalableTarget and
::ScalingPolicy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_aws.cloudformation import inert
from local_aws.cloudformation.inert_rows import InertType
from local_aws.cloudformation.properties import Given, Handlers, Properties, Provisioned, typed

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

TARGET = InertType(
    "AWS::ApplicationAutoScaling::ScalableTarget",
    Properties(
        "ResourceId+= ScalableDimension+= ServiceNamespace+= MaxCapacity+ MinCapacity+ RoleARN "
        "ScheduledActions SuspendedState Tags"
    ),
    "{ResourceId}|{ScalableDimension}|{ServiceNamespace}",
    {"Id": "{ref}"},
)
POLICY = InertType(
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    Properties(
        "PolicyName+= PolicyType+ ResourceId= ScalableDimension= ScalingTargetId= "
        "ServiceNamespace= PredictiveScalingPolicyConfiguration StepScalingPolicyConfiguration "
        "TargetTrackingScalingPolicyConfiguration"
    ),
    "arn:aws:autoscaling:{region}:{account}:scalingPolicy:{id}:policyName/{PolicyName}",
    {"Arn": "{ref}"},
)
_SAGEMAKER = "sagemaker"


class Scaling:
    """Resources of one of the two types."""

    def __init__(self, service: Service, entry: InertType) -> None:
        """Take what is needed.

        Args:
            service: The SageMaker service.
            entry: `TARGET` or `POLICY`.
        """
        self._service = service
        self._inert = inert.handlers(service, entry)
        self._entry = entry

    def create(self, logical_id: str, properties: Given, stack: str) -> Provisioned:
        """Make a resource."""
        if self._of(properties)[2] != _SAGEMAKER:
            made: Provisioned = self._inert["create"](logical_id, properties, stack)
            return made
        self._entry.properties.check(logical_id, properties)
        return self._put(properties)

    def update(self, physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        """Change a resource in place."""
        if self._of(new)[2] != _SAGEMAKER:
            made: Provisioned = self._inert["update"](physical_id, old, new, stack)
            return made
        self._entry.properties.check(physical_id, new)
        return self._put(new)

    def delete(self, physical_id: str, properties: Given) -> None:
        """Remove a resource."""
        resource, dimension, namespace = self._of(properties)
        if namespace != _SAGEMAKER:
            self._inert["delete"](physical_id, properties)
            return
        of = {
            "ServiceNamespace": namespace,
            "ResourceId": resource,
            "ScalableDimension": dimension,
        }
        try:
            if self._entry is TARGET:
                self._client.deregister_scalable_target(**of)
            else:
                self._client.delete_scaling_policy(PolicyName=properties["PolicyName"], **of)
        except self._client.exceptions.ObjectNotFoundException:
            return  # it went with its target, or with its endpoint

    def handlers(self) -> Handlers:
        """See `cloudformation.handlers`."""
        return {"create": self.create, "update": self.update, "delete": self.delete}

    @property
    def _client(self) -> Any:  # noqa: ANN401 - a boto3 client
        return self._service.client("application-autoscaling")

    def _of(self, properties: Given) -> tuple[str, str, str]:
        """Resource id, dimension and namespace."""
        if "ScalingTargetId" in properties:
            resource, dimension, namespace = str(properties["ScalingTargetId"]).split("|")
            return resource, dimension, namespace
        names = ("ResourceId", "ScalableDimension", "ServiceNamespace")
        resource, dimension, namespace = (str(properties.get(name, "")) for name in names)
        return resource, dimension, namespace

    def _put(self, properties: Given) -> Provisioned:
        resource, dimension, namespace = self._of(properties)
        operation = "RegisterScalableTarget" if self._entry is TARGET else "PutScalingPolicy"
        others = {k: v for k, v in properties.items() if k not in {"ScalingTargetId", "Tags"}}
        if others.pop("ScheduledActions", None):
            raise ValueError("ScheduledActions are not there in this local AWS")
        of = {
            "ResourceId": resource,
            "ScalableDimension": dimension,
            "ServiceNamespace": namespace,
        }
        shape = self._client.meta.service_model.operation_model(operation).input_shape
        request = typed(shape, {**others, **of})
        if self._entry is TARGET:
            self._client.register_scalable_target(**request)
            ref = f"{resource}|{dimension}|{namespace}"
            return ref, {"Id": ref}
        arn = self._client.put_scaling_policy(**request)["PolicyARN"]
        return arn, {"Arn": arn}
