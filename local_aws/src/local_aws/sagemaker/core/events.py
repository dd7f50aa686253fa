"""What SageMaker tells EventBridge when a resource changes.

The shapes, with their uneven spelling of times and states, are those of the examples in
"Events that Amazon SageMaker AI sends to Amazon EventBridge"
(https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.model import ListShape, Shape, StructureShape

from local_aws.sagemaker.core.kinds import KINDS, Change, Kind
from local_aws.sagemaker.core.protocol import output_shape, shape_structure


class Event(NamedTuple):
    """One event of an AWS service: detail type, detail and the ARNs it is about."""

    detail_type: str
    detail: dict[str, Any]
    resources: list[str]


def copies(duplicated: float) -> int:
    """Return how often to send an event: now and then twice.

    "SageMaker AI may send multiple events to EventBridge for each state change", and EventBridge
    delivers each at least once.

    Args:
        duplicated: Fraction of the events that are sent twice.
    """
    return 2 if random.random() < duplicated else 1  # noqa: S311 - a sample, not a secret


def milliseconds(moment: float) -> int:
    """Write epoch seconds as milliseconds, `1614186014000`."""
    return round(moment * 1000)


def milliseconds_text(moment: float) -> str:
    """Write epoch seconds as milliseconds in a string."""
    return str(round(moment * 1000))


def iso(moment: float) -> str:
    """Write epoch seconds as `2021-02-24T17:00:14Z`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def described(
    detail_type: str,
    spell: Callable[[float], object],
    *,
    tags: bool = True,
    omit: Collection[str] = (),
    status: Callable[[str], str] = str,
) -> Change:
    """Make events of a resource's Describe response.

    Args:
        detail_type: The event's detail type.
        spell: Returns how a time reads.
        tags: Whether the detail has the resource's tags.
        omit: Members of the response that the detail has not.
        status: Returns how the resource's status reads.

    Returns:
        What `Kind.event` takes.
    """

    def change(
        kind: Kind, body: Mapping[str, Any], previous_status: str | None, found: Mapping[str, str]
    ) -> Event:
        del previous_status
        shape = output_shape(f"Describe{kind.name}")
        detail = {k: v for k, v in shape_structure(shape, body).items() if k not in omit}
        detail = times(shape, detail, spell)
        if kind.status_member in detail:
            detail[kind.status_member] = status(detail[kind.status_member])
        if tags:
            detail["Tags"] = dict(found)
        return Event(detail_type, detail, [body[kind.arn_member]])

    return change


def state_change(
    kind: str, body: Mapping[str, Any], previous_status: str | None, tags: Mapping[str, str]
) -> Event | None:
    """Make the event of a resource's change.

    Args:
        kind: Kind of the resource, for example `TrainingJob`.
        body: Its stored body after the change.
        previous_status: Its status before; only pipeline executions tell it.
        tags: Its tags.

    Returns:
        The event, or None for a kind that sends none.
    """
    table = KINDS[kind]
    return None if table.event is None else table.event(table, body, previous_status, tags)


def pipeline_step_change(
    step: Mapping[str, Any], previous_status: str | None, pipeline_arn: str, execution_arn: str
) -> Event:
    """Make the event of a pipeline step's change.

    Args:
        step: The step as ListPipelineExecutionSteps shows it; times as epoch seconds. `StepType`
            is the type in the definition, for example `Processing`.
        previous_status: StepStatus before the change, if it had one.
        pipeline_arn: ARN of the pipeline.
        execution_arn: ARN of the execution.
    """
    detail = {
        "metadata": _lower_camel(step.get("Metadata", {})),
        "stepStartTime": _iso_or_none(step.get("StartTime")),
        "stepEndTime": _iso_or_none(step.get("EndTime")),
        "stepName": step["StepName"],
        "stepType": step.get("StepType"),
        "previousStepStatus": previous_status,
        "currentStepStatus": step["StepStatus"],
        "cacheHitResult": _lower_camel(step.get("CacheHitResult")),
        "failureReason": step.get("FailureReason"),
        "pipelineArn": pipeline_arn,
        "pipelineExecutionArn": execution_arn,
    }
    return Event(
        "SageMaker Model Building Pipeline Execution Step Status Change",
        _given(detail),
        [pipeline_arn, execution_arn],
    )


def pipeline_execution_change(
    kind: Kind, body: Mapping[str, Any], previous_status: str | None, tags: Mapping[str, str]
) -> Event:
    """Make the event of a pipeline execution's change."""
    del kind, tags
    status = body["PipelineExecutionStatus"]
    ended = status not in ("Executing", "Stopping")
    detail = {
        "pipelineExecutionDisplayName": body.get("PipelineExecutionDisplayName"),
        "currentPipelineExecutionStatus": status,
        "previousPipelineExecutionStatus": previous_status,
        "executionStartTime": iso(body["CreationTime"]),
        "executionEndTime": iso(body["LastModifiedTime"]) if ended else None,
        "pipelineExecutionDescription": body.get("PipelineExecutionDescription"),
        "pipelineArn": body["PipelineArn"],
        "pipelineExecutionArn": body["PipelineExecutionArn"],
    }
    return Event(
        "SageMaker Model Building Pipeline Execution Status Change",
        _given(detail),
        [body["PipelineArn"], body["PipelineExecutionArn"]],
    )


def _given(detail: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in detail.items() if value is not None}


def _iso_or_none(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)


def times(
    shape: StructureShape, value: dict[str, Any], spell: Callable[[float], object]
) -> dict[str, Any]:
    """Spell every timestamp of a shaped value.

    Args:
        shape: The value's shape.
        value: Members that the shape declares; times as epoch seconds.
        spell: Returns how a time reads.
    """

    def spelled(shape: Shape, value: Any) -> object:  # noqa: ANN401 - whatever the shape stands for
        if isinstance(shape, StructureShape):
            return times(shape, value, spell)
        if isinstance(shape, ListShape):
            return [spelled(shape.member, item) for item in value]
        return spell(value) if shape.type_name == "timestamp" else value

    return {name: spelled(shape.members[name], item) for name, item in value.items()}


def upper_snake(status: str) -> str:
    """Write `InService` as `IN_SERVICE`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper()


def _lower_camel(value: object) -> object:
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _lower_camel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lower_camel(item) for item in value]
    return value
