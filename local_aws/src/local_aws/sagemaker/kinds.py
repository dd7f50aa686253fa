"""The kinds of resources: how their ARNs, states, list orders and errors read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of resource.

    Attributes:
        arn_path: What stands before the name in its ARN.
        status_member: Member that holds its status, if it has one.
        ascending: Whether AWS lists the oldest first when SortOrder is not given.
        not_found: Code and text of the error for one that is not there.
        exists: Code and text of the error for creating one that is there.
    """

    arn_path: str
    status_member: str | None = None
    ascending: bool = False
    not_found: tuple[str, str] = ("ValidationException", "{kind} {arn} does not exist.")
    exists: tuple[str, str] = ("ValidationException", "{kind} already exists: {arn}")


_JOB_EXISTS = (
    "ResourceInUse",
    (
        "Job name must be unique within an AWS account and region, and a job with this name "
        "already exists ({arn})"
    ),
)
_JOB_NOT_FOUND = ("ValidationException", "Could not find requested job with name: {name}")


def _hosting_kind(arn_path: str, title: str, status_member: str | None = None) -> Kind:
    return Kind(
        arn_path,
        status_member,
        not_found=("ValidationException", f'Could not find {title} "{{arn}}".'),
        exists=("ValidationException", f'Cannot create already existing {title} "{{arn}}".'),
    )


KINDS = {
    "ProcessingJob": Kind(
        "processing-job", "ProcessingJobStatus", True, _JOB_NOT_FOUND, _JOB_EXISTS
    ),
    "TrainingJob": Kind("training-job", "TrainingJobStatus", True, _JOB_NOT_FOUND, _JOB_EXISTS),
    "TransformJob": Kind("transform-job", "TransformJobStatus", False, _JOB_NOT_FOUND, _JOB_EXISTS),
    "Model": _hosting_kind("model", "model"),
    "EndpointConfig": _hosting_kind("endpoint-config", "endpoint configuration"),
    "Endpoint": _hosting_kind("endpoint", "endpoint", "EndpointStatus"),
    "ModelPackageGroup": Kind(
        "model-package-group",
        "ModelPackageGroupStatus",
        ascending=True,
        exists=("ValidationException", "Model Package Group already exists: {arn}"),
    ),
    "ModelPackage": Kind("model-package", "ModelPackageStatus", ascending=True),
    "Pipeline": Kind(
        "pipeline",
        "PipelineStatus",
        not_found=("ResourceNotFound", "Pipeline '{arn}' does not exist."),
        exists=(
            "ValidationException",
            (
                "Pipeline names must be unique within an AWS account and region. Pipeline with "
                "name ({name}) already exists."
            ),
        ),
    ),
    "PipelineExecution": Kind(
        "pipeline",
        "PipelineExecutionStatus",
        not_found=("ResourceNotFound", "Pipeline execution '{arn}' does not exist."),
    ),
}
