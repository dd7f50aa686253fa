"""SageMaker Pipelines: start executions, find them again, and say why one has failed."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from lambdas import Execution
from lambdas.mail import Mail

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient

STARTED_BY = "Started by "


@cache
def sagemaker() -> "SageMakerClient":
    """The SageMaker client."""
    return boto3.client("sagemaker")


def start(
    workflow: str, trigger: str, once: str, parameters: Mapping[str, str] | None = None
) -> str:
    """Start an execution.

    Args:
        workflow: ARN of the pipeline.
        trigger: What starts it, a word; also its parameter Trigger.
        once: SageMaker starts one execution for it, even for calls at the same time.
        parameters: Its other parameters, where they are not to have their defaults.

    Returns:
        The execution's ARN.
    """
    started = sagemaker().start_pipeline_execution(
        PipelineName=workflow,
        PipelineExecutionDescription=f"{STARTED_BY}{trigger}",
        PipelineParameters=[
            {"Name": name, "Value": value}
            for name, value in {"Trigger": trigger, **(parameters or {})}.items()
        ],
        ClientRequestToken=hashlib.sha256(f"{trigger} {once}".encode()).hexdigest(),
    )
    return started["PipelineExecutionArn"]


def recent(workflow: str) -> Iterator[Execution]:
    """The last 100 executions of a workflow, newest first."""
    found = sagemaker().list_pipeline_executions(
        PipelineName=workflow, SortBy="CreationTime", SortOrder="Descending", MaxResults=100
    )
    for execution in found["PipelineExecutionSummaries"]:
        description = execution.get("PipelineExecutionDescription", "")
        yield Execution(
            arn=execution["PipelineExecutionArn"],
            trigger=description.removeprefix(STARTED_BY),
            running=execution["PipelineExecutionStatus"] in ("Executing", "Stopping"),
            started=execution["StartTime"],
        )


def failed(detail: dict[str, Any]) -> Mail:
    """An execution of a workflow has failed."""
    arn = detail["pipelineExecutionArn"]
    workflow = detail["pipelineArn"].rpartition("/")[2]
    pages = sagemaker().get_paginator("list_pipeline_execution_steps")
    # The execution itself only says that a step failed.
    reasons = [
        f"{step['StepName']}: {step.get('FailureReason', 'no reason given')}"
        for page in pages.paginate(PipelineExecutionArn=arn)
        for step in page["PipelineExecutionSteps"]
        if step["StepStatus"] == "Failed"
    ]
    text = f"""\
An execution of {workflow} has failed.

{chr(10).join(reasons) or "No step failed; look at the execution itself."}

{arn}
"""
    return Mail(f"failed {arn}", f"{workflow} failed", text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail]] = {
    "SageMaker Model Building Pipeline Execution Status Change": failed
}
