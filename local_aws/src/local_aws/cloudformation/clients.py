"""Resource types that are made through another service's API, where ministack has none or less."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from local_aws.cloudformation.properties import Given, Handlers, Properties, Provisioned, typed
from local_aws.cloudformation.scaling import POLICY, TARGET, Scaling

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service


class _Alarms:
    """AWS::CloudWatch::CompositeAlarm over PutCompositeAlarm.

    AWS: AWS CloudFormation Template Reference, AWS::CloudWatch::CompositeAlarm.
    """

    properties = Properties(
        "AlarmRule+ AlarmName= ActionsEnabled AlarmActions AlarmDescription "
        "InsufficientDataActions OKActions Tags"
    )

    def __init__(self, service: Service) -> None:
        self.service = service

    def create(self, logical_id: str, properties: Given, stack: str) -> Provisioned:
        name = properties.get("AlarmName") or f"{stack}-{logical_id}-{uuid.uuid4().hex[:12]}"
        return self._put(str(name), properties)

    def update(self, physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        del old, stack
        return self._put(physical_id, new)

    def delete(self, physical_id: str, properties: Given) -> None:
        del properties
        self.service.client("cloudwatch").delete_alarms(AlarmNames=[physical_id])

    def _put(self, name: str, properties: Given) -> Provisioned:
        self.properties.check(name, properties)
        client = self.service.client("cloudwatch")
        shape = client.meta.service_model.operation_model("PutCompositeAlarm").input_shape
        client.put_composite_alarm(**typed(shape, {**properties, "AlarmName": name}))
        settings = self.service.settings
        arn = f"arn:aws:cloudwatch:{settings.region}:{settings.account}:alarm:{name}"
        return name, {"Arn": arn}


class _Schedules:
    """AWS::Scheduler::Schedule with all of its properties.

    AWS: AWS CloudFormation Template Reference, AWS::Scheduler::Schedule.
    """

    properties = Properties(
        "FlexibleTimeWindow+ ScheduleExpression+ Target+ Name= Description "
        "EndDate GroupName KmsKeyArn ScheduleExpressionTimezone StartDate State"
    )

    def __init__(self, service: Service) -> None:
        self.service = service

    def create(self, logical_id: str, properties: Given, stack: str) -> Provisioned:
        self.properties.check(logical_id, properties)
        name = properties.get("Name") or f"{stack}-{logical_id}"[:51] + f"-{uuid.uuid4().hex[:12]}"
        answer = self._client.create_schedule(**self._request(properties, str(name)))
        return str(name), {"Arn": answer["ScheduleArn"]}

    def update(self, physical_id: str, old: Given, new: Given, stack: str) -> Provisioned:
        del stack
        self.properties.check(physical_id, new)
        if old.get("GroupName") != new.get("GroupName"):
            self.delete(physical_id, old)
            answer = self._client.create_schedule(**self._request(new, physical_id))
        else:
            answer = self._client.update_schedule(**self._request(new, physical_id))
        return physical_id, {"Arn": answer["ScheduleArn"]}

    def delete(self, physical_id: str, properties: Given) -> None:
        group = str(properties.get("GroupName", "default"))
        try:
            self._client.delete_schedule(Name=physical_id, GroupName=group)
        except self._client.exceptions.ResourceNotFoundException:
            return  # a one-time schedule may delete itself

    @property
    def _client(self) -> Any:  # noqa: ANN401 - a boto3 client
        return self.service.client("scheduler")

    def _request(self, properties: Given, name: str) -> dict[str, Any]:
        shape = self._client.meta.service_model.operation_model("CreateSchedule").input_shape
        request: dict[str, Any] = typed(shape, {**properties, "Name": name})
        return request


def types(service: Service) -> Mapping[str, tuple[Properties, Handlers]]:
    """Return what each type takes, and what creates, updates and deletes its resources.

    See `cloudformation.handlers`.
    """
    made: dict[str, _Alarms | _Schedules] = {
        "AWS::CloudWatch::CompositeAlarm": _Alarms(service),
        "AWS::Scheduler::Schedule": _Schedules(service),
    }
    own: dict[str, tuple[Properties, Handlers]] = {
        name: (
            one.properties,
            {"create": one.create, "update": one.update, "delete": one.delete},
        )
        for name, one in made.items()
    }
    scaling: dict[str, tuple[Properties, Handlers]] = {
        entry.name: (entry.properties, Scaling(service, entry).handlers())
        for entry in (TARGET, POLICY)
    }
    return own | scaling
