"""SageMaker Pipelines: start executions, find them again, and say why one has failed."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lambdas import Execution, Status, metrics
from lambdas.aws import find_json, sagemaker
from lambdas.mail import Mail, quota_advice
from workflows import keys

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient

ENDED: dict[str, Status] = {
    "Succeeded": "succeeded",
    "Failed": "failed",
    "CompletedWithFailures": "failed",
    "Stopped": "stopped",
}
STARTED_BY = "Started by "
MISSED = re.compile(r"(\w+) on the test data is (below|above) the threshold (\S+)")
"""What the gate of the training says of a model that it does not let pass.

The message of a Fail step is documented to hold text and parameters; that it may hold a value from
a property file is not. So the value comes from the evaluation, here.
"""


def start(
    workflow: str, trigger: str, idempotency_key: str, parameters: Mapping[str, str] | None = None
) -> str:
    """Start an execution.

    Args:
        workflow: ARN of the pipeline.
        trigger: What starts it, a word; also its parameter Trigger.
        idempotency_key: SageMaker starts one execution for it, even for calls at the same time.
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
        ClientRequestToken=hashlib.sha256(f"{trigger} {idempotency_key}".encode()).hexdigest(),
    )
    return started["PipelineExecutionArn"]


def executions(workflow: str, client: "SageMakerClient | None" = None) -> Iterator[Execution]:
    """The executions of a workflow, newest first.

    Args:
        workflow: Name or ARN of the pipeline.
        client: Asks SageMaker; that of the function's region unless given.
    """
    pages = (client or sagemaker()).get_paginator("list_pipeline_executions")
    for page in pages.paginate(
        PipelineName=workflow, SortBy="CreationTime", SortOrder="Descending"
    ):
        for execution in page["PipelineExecutionSummaries"]:
            yield Execution(
                execution["PipelineExecutionArn"],
                ENDED.get(execution["PipelineExecutionStatus"], "running"),
                execution["StartTime"],
                trigger_in(execution.get("PipelineExecutionDescription", "")),
            )


def trigger_in(description: str) -> str:
    """What has started an execution, by its description; empty if that was a person."""
    return description.removeprefix(STARTED_BY)


def reasons(
    steps: Iterable[Mapping[str, Any]], evaluated: Callable[[], Mapping[str, Any] | None]
) -> list[str]:
    """Why steps of an execution have failed, a line for each.

    Args:
        steps: As ListPipelineExecutionSteps shows them.
        evaluated: Reads the training's statistics.json, for the value that the gate has judged.
    """
    found = []
    for step in steps:
        if step["StepStatus"] == "Failed":
            reason = step.get("FailureReason", "no reason given")
            if missed := MISSED.search(reason):
                reason = with_value(missed, evaluated())
            found.append(f"{step['StepName']}: {reason}")
    return found


def with_value(missed: re.Match[str], statistics: Mapping[str, Any] | None) -> str:
    """What the gate says, with the value beside the threshold where the evaluation has it."""
    metric, side, threshold = missed.groups()
    value = metrics(statistics or {}).get(metric)
    if value is None:
        return missed[0]
    return f"{metric} on the test data is {value}, {side} the threshold {threshold}"


def evaluation_key(arn: str) -> str:
    """The key of the statistics.json of an execution of the training."""
    return f"{keys.TRAINING}{arn.rpartition('/')[2]}/evaluation/statistics.json"


def failed(detail: dict[str, Any]) -> Mail:
    """An execution of a workflow has failed."""
    arn = detail["pipelineExecutionArn"]
    workflow = detail["pipelineArn"].rpartition("/")[2]
    pages = sagemaker().get_paginator("list_pipeline_execution_steps")
    # The execution itself only says that a step failed.
    found = pages.paginate(PipelineExecutionArn=arn)
    steps = (step for page in found for step in page["PipelineExecutionSteps"])
    why = reasons(steps, lambda: find_json(os.environ["BUCKET"], evaluation_key(arn)))
    text = f"""\
An execution of {workflow} has failed.

{chr(10).join(why) or "No step failed; look at the execution itself."}
{quota_advice(" ".join(why))}
{arn}
"""
    return Mail(f"failed {arn}", f"{workflow} failed", text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail]] = {
    "SageMaker Model Building Pipeline Execution Status Change": failed
}
