"""AWS::MWAA::Environment over Amazon MWAA's API.

AWS: AWS CloudFormation Template Reference, AWS::MWAA::Environment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.cloudformation.properties import Given, Handlers, Properties, Provisioned, typed

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

NAME = "AWS::MWAA::Environment"

PROPERTIES = Properties(
    "Name+= EndpointManagement= KmsKey= AirflowConfigurationOptions AirflowVersion DagS3Path "
    "EnvironmentClass ExecutionRoleArn LoggingConfiguration MaxWebservers MaxWorkers "
    "MinWebservers MinWorkers NetworkConfiguration PluginsS3ObjectVersion PluginsS3Path "
    "RequirementsS3ObjectVersion RequirementsS3Path Schedulers SourceBucketArn "
    "StartupScriptS3ObjectVersion StartupScriptS3Path Tags WebserverAccessMode "
    "WeeklyMaintenanceWindowStart WorkerReplacementStrategy"
)
"""What the type takes."""

_ATTRIBUTES = (
    *("Arn", "CeleryExecutorQueue", "DatabaseVpcEndpointService", "WebserverUrl"),
    "WebserverVpcEndpointService",
)
_PENDING = ("CREATING", "MAINTENANCE", "UPDATING")
_POLL_SECONDS = 0.2
_MOST_SECONDS = 1800.0


def handlers(service: Service) -> Handlers:
    """Return what creates, updates and deletes environments.

    See `cloudformation.sagemaker_types.handlers`.
    """
    made = _Environments(service)
    return {"create": made.create, "update": made.update, "delete": made.delete}


class _Environments:
    def __init__(self, service: Service) -> None:
        self._service = service

    def create(self, logical_id: str, properties: Given, stack: str) -> Provisioned:
        del stack
        PROPERTIES.check(logical_id, properties)
        name = str(properties["Name"])
        self._client.create_environment(**self._request("CreateEnvironment", properties))
        try:
            return self._ready(name)
        except ValueError:
            self.delete(name, properties)  # CloudFormation deletes only what it knows
            raise

    def update(self, physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        del stack
        PROPERTIES.check(physical_id, new)
        changed = {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)} - {"Tags"}
        if changed:
            request = self._request("UpdateEnvironment", new)
            network = request.get("NetworkConfiguration", {})
            if network.pop("SubnetIds", None) != old["NetworkConfiguration"].get("SubnetIds"):
                raise ValueError(f"{physical_id}: SubnetIds cannot be changed")
            self._client.update_environment(**request)
            made = self._ready(physical_id)
        else:
            made = _provisioned(self._client.get_environment(Name=physical_id)["Environment"])
        self._tag(made[1]["Arn"], old, new)
        return made

    def delete(self, physical_id: str, properties: Given) -> None:
        del properties
        deadline = time.monotonic() + _MOST_SECONDS
        try:
            self._client.delete_environment(Name=physical_id)
            while self._client.get_environment(Name=physical_id):
                if time.monotonic() > deadline:
                    raise ValueError(f"the environment {physical_id} did not stabilize")
                time.sleep(_POLL_SECONDS)
        except self._client.exceptions.ResourceNotFoundException:
            return

    @property
    def _client(self) -> Any:  # noqa: ANN401 - a boto3 client
        return self._service.client("mwaa")

    def _request(self, operation: str, properties: Given) -> dict[str, Any]:
        shape = self._client.meta.service_model.operation_model(operation).input_shape
        given = {key: value for key, value in properties.items() if key in shape.members}
        request: dict[str, Any] = typed(shape, given)
        if logs := request.get("LoggingConfiguration"):
            # A log group's ARN is a return value; any that is given is discarded.
            request["LoggingConfiguration"] = {
                module: {key: log[key] for key in log if key != "CloudWatchLogGroupArn"}
                for module, log in logs.items()
            }
        return request

    def _ready(self, name: str) -> Provisioned:
        deadline = time.monotonic() + _MOST_SECONDS
        while True:
            found = self._client.get_environment(Name=name)["Environment"]
            if found["Status"] not in _PENDING:
                break
            if time.monotonic() > deadline:
                raise ValueError(f"the environment {name} did not stabilize")
            time.sleep(_POLL_SECONDS)
        last = found["LastUpdate"]
        if last["Status"] == "FAILED":
            raise ValueError(last["Error"]["ErrorMessage"])
        return _provisioned(found)

    def _tag(self, arn: str, old: Given, new: Given) -> None:
        before, after = old.get("Tags") or {}, new.get("Tags") or {}
        if gone := sorted(before.keys() - after.keys()):
            self._client.untag_resource(ResourceArn=arn, tagKeys=gone)
        if added := {key: str(value) for key, value in after.items() if before.get(key) != value}:
            self._client.tag_resource(ResourceArn=arn, Tags=added)


def _provisioned(found: Mapping[str, Any]) -> Provisioned:
    """Return the name and the attributes of an environment that is described."""
    groups = {
        f"LoggingConfiguration.{module}.CloudWatchLogGroupArn": log["CloudWatchLogGroupArn"]
        for module, log in found["LoggingConfiguration"].items()
    }
    return found["Name"], {name: found[name] for name in _ATTRIBUTES} | groups
