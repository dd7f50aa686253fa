"""Start and follow executions of the SageMaker pipelines."""

import uuid
from collections.abc import Mapping

from ops import Execution, Status
from ops.aws import sagemaker

ENDED: dict[str, Status] = {
    "Succeeded": "succeeded",
    "Failed": "failed",
    "CompletedWithFailures": "failed",
    "Stopped": "stopped",
}


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
        status=ENDED.get(state["PipelineExecutionStatus"], "running"),
        reason=state.get("FailureReason", ""),
        running=[
            s["StepName"] for s in steps["PipelineExecutionSteps"] if s["StepStatus"] == "Executing"
        ],
        parameters={p["Name"]: p["Value"] for p in given["PipelineParameters"]},
    )


def stop(arn: str) -> None:
    """Stop an execution; its jobs are stopped too."""
    sagemaker().stop_pipeline_execution(
        PipelineExecutionArn=arn, ClientRequestToken=str(uuid.uuid4())
    )
