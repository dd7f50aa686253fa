"""What SageMaker tells EventBridge when a resource changes.

The shapes, with their uneven spelling of times and states, are those of the examples in
"Events that Amazon SageMaker AI sends to Amazon EventBridge"
(https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.model import ListShape, Shape, StructureShape

from local_aws.sagemaker.protocol import output_shape, shape_structure


class Event(NamedTuple):
    """One event of source ``aws.sagemaker``: detail type, detail and the ARNs it is about."""

    detail_type: str
    detail: dict[str, Any]
    resources: list[str]


@dataclass(frozen=True)
class _Shape:
    """How a resource's event is made of its Describe response."""

    detail_type: str
    time: Callable[[float], object]
    tags: bool
    omit: frozenset[str] = frozenset()


def _milliseconds(moment: float) -> int:
    return round(moment * 1000)


def _milliseconds_text(moment: float) -> str:
    return str(round(moment * 1000))


def iso(moment: float) -> str:
    """Write epoch seconds as ``2021-02-24T17:00:14Z``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_SHAPES = {
    "ProcessingJob": _Shape("SageMaker Processing Job State Change", _milliseconds, tags=True),
    "TrainingJob": _Shape(
        "SageMaker Training Job State Change",
        _milliseconds_text,
        tags=True,
    ),
    "TransformJob": _Shape("SageMaker Transform Job State Change", iso, tags=True),
    "Endpoint": _Shape(
        "SageMaker Endpoint State Change",
        _milliseconds,
        tags=True,
        omit=frozenset({"PendingDeploymentSummary", "LastDeploymentConfig"}),
    ),
    # A version is told by its group and number; the name that Describe adds is not in the event.
    "ModelPackage": _Shape(
        "SageMaker Model Package State Change",
        iso,
        tags=False,
        omit=frozenset({"ModelPackageName"}),
    ),
}


def state_change(
    kind: str, body: Mapping[str, Any], previous_status: str | None, tags: Mapping[str, str]
) -> Event | None:
    """Make the event of a resource's change.

    Args:
        kind: Kind of the resource, for example ``TrainingJob``.
        body: Its stored body after the change.
        previous_status: Its status before; only pipeline executions tell it.
        tags: Its tags.

    Returns:
        The event, or None for a kind that sends none.
    """
    if kind == "PipelineExecution":
        return _pipeline_execution(body, previous_status)
    shape = _SHAPES.get(kind)
    if shape is None:
        return None
    described = output_shape(f"Describe{kind}")
    detail = {k: v for k, v in shape_structure(described, body).items() if k not in shape.omit}
    detail = times(described, detail, shape.time)
    if kind == "Endpoint":
        detail["EndpointStatus"] = _upper_snake(detail["EndpointStatus"])
    if shape.tags:
        detail["Tags"] = dict(tags)
    return Event(shape.detail_type, detail, [body[f"{kind}Arn"]])


def pipeline_step_change(
    step: Mapping[str, Any], previous_status: str | None, pipeline_arn: str, execution_arn: str
) -> Event:
    """Make the event of a pipeline step's change.

    Args:
        step: The step as ListPipelineExecutionSteps shows it; times as epoch seconds. ``StepType``
            is the type in the definition, for example ``Processing``.
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


def _pipeline_execution(body: Mapping[str, Any], previous_status: str | None) -> Event:
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


def _upper_snake(status: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper()


def _lower_camel(value: object) -> object:
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _lower_camel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lower_camel(item) for item in value]
    return value
