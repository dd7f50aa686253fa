"""Start and follow executions of the SageMaker pipelines."""

import uuid
from collections.abc import Mapping
from typing import Any

from lambdas import Execution
from lambdas import sagemaker_pipelines as pipelines
from ops.aws import bucket, find_json, sagemaker


def start(workflow: str, parameters: Mapping[str, str]) -> str:
    """Start an execution and return its ARN."""
    response = sagemaker().start_pipeline_execution(
        PipelineName=workflow,
        PipelineParameters=[{"Name": k, "Value": v} for k, v in parameters.items()],
        ClientRequestToken=str(uuid.uuid4()),
    )
    return response["PipelineExecutionArn"]


def executions(workflow: str) -> list[Execution]:
    """The executions of a workflow, newest first, without their details."""
    return list(pipelines.executions(workflow, sagemaker()))


def describe(arn: str) -> Execution:
    """The state of an execution now."""
    state = sagemaker().describe_pipeline_execution(PipelineExecutionArn=arn)
    steps = sagemaker().list_pipeline_execution_steps(
        PipelineExecutionArn=arn, SortOrder="Ascending", MaxResults=100
    )
    given = sagemaker().list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    # The execution itself only says that a step failed.
    why = pipelines.reasons(steps["PipelineExecutionSteps"], lambda: evaluation(arn))
    return Execution(
        reference=arn,
        status=pipelines.ENDED.get(state["PipelineExecutionStatus"], "running"),
        started=state["CreationTime"],
        trigger=pipelines.trigger_in(state.get("PipelineExecutionDescription", "")),
        reason="; ".join(why) or state.get("FailureReason", ""),
        running=[
            s["StepName"] for s in steps["PipelineExecutionSteps"] if s["StepStatus"] == "Executing"
        ],
        parameters={p["Name"]: p["Value"] for p in given["PipelineParameters"]},
    )


def evaluation(arn: str) -> Any:  # noqa: ANN401 - whatever the document holds
    """The statistics.json of an execution of the training, `None` if it wrote none."""
    return find_json(f"s3://{bucket()}/{pipelines.evaluation_key(arn)}")


def stop(arn: str) -> None:
    """Stop an execution, unless that was done before; its jobs are stopped too."""
    state = sagemaker().describe_pipeline_execution(PipelineExecutionArn=arn)
    if state["PipelineExecutionStatus"] == "Executing":
        sagemaker().stop_pipeline_execution(
            PipelineExecutionArn=arn, ClientRequestToken=str(uuid.uuid4())
        )
