"""Start and follow executions of the SageMaker pipelines."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ops.aws import sagemaker, wait_for
from ops.errors import OpsError

FINAL = {"Succeeded", "Failed", "Stopped", "CompletedWithFailures"}


@dataclass(frozen=True)
class Execution:
    """One execution of a workflow.

    Attributes:
        arn: The execution's ARN.
        status: Executing, Succeeded, Failed, Stopping or Stopped.
        reason: Why it failed, else empty.
        steps: Status of each step that has started, in the order of their start.
        parameters: The parameters it was started with.
    """

    arn: str
    status: str
    reason: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The last part of the ARN, which names the execution's folder in S3."""
        return self.arn.rpartition("/")[2]

    @property
    def running(self) -> list[str]:
        """The steps that run now."""
        return [name for name, status in self.steps.items() if status == "Executing"]

    @property
    def finished(self) -> bool:
        """Whether the execution has come to an end."""
        return self.status in FINAL


def start(workflow: str, parameters: Mapping[str, str]) -> str:
    """Start an execution and return its ARN."""
    response = sagemaker().start_pipeline_execution(
        PipelineName=workflow,
        PipelineParameters=[{"Name": k, "Value": v} for k, v in parameters.items()],
        ClientRequestToken=str(uuid.uuid4()),
    )
    return response["PipelineExecutionArn"]


def executions(workflow: str) -> list[str]:
    """The ARNs of a workflow's executions, newest first."""
    pages = sagemaker().get_paginator("list_pipeline_executions")
    found = pages.paginate(PipelineName=workflow, SortBy="CreationTime", SortOrder="Descending")
    return [e["PipelineExecutionArn"] for p in found for e in p["PipelineExecutionSummaries"]]


def describe(arn: str) -> Execution:
    """The state of an execution now."""
    state = sagemaker().describe_pipeline_execution(PipelineExecutionArn=arn)
    steps = sagemaker().list_pipeline_execution_steps(
        PipelineExecutionArn=arn, SortOrder="Ascending", MaxResults=100
    )
    given = sagemaker().list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    return Execution(
        arn=arn,
        status=state["PipelineExecutionStatus"],
        reason=state.get("FailureReason", ""),
        steps={s["StepName"]: s["StepStatus"] for s in steps["PipelineExecutionSteps"]},
        parameters={p["Name"]: p["Value"] for p in given["PipelineParameters"]},
    )


def wait(arn: str, progress: Callable[[Execution], None] = lambda _: None) -> Execution:
    """Wait for the end of an execution.

    Args:
        arn: The execution.
        progress: Called with the state at each look.

    Raises:
        OpsError: When it did not succeed; the message is the execution's own reason.
    """

    def probe() -> Execution | None:
        state = describe(arn)
        progress(state)
        return state if state.finished else None

    last = wait_for(f"execution {arn}", probe, timeout=6 * 3600)
    if last.status != "Succeeded":
        raise OpsError(f"{last.arn} {last.status.lower()}: {last.reason}")
    return last
