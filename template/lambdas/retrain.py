"""Start the training workflow, once for each cause.

Each trigger (infra/triggers) sends `{"trigger", "cause"}`, and `"cooldown_hours"` if it has to rest
between two trainings. The same thing has the same `cause`, however often its event comes.
"""

import hashlib
import logging
import os
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)


@cache
def sagemaker() -> "SageMakerClient":
    """The SageMaker client."""
    return boto3.client("sagemaker")


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Start the training workflow, unless it runs or the trigger has to wait.

    Args:
        event: `trigger`, a word that the model versions are marked with; `cause`, unique for what
            has happened; `cooldown_hours`, how long the trigger rests once it started a training.

    Returns:
        `started` with the execution's ARN, or `skipped` with the reason.
    """
    trigger, cause = event["trigger"], event["cause"]
    cooldown = timedelta(hours=event.get("cooldown_hours", 0))
    now = datetime.now(UTC)
    reason = obstacle(description(trigger), now - cooldown)
    if reason:
        log.info("%s (%s) starts no training: %s", trigger, cause, reason)
        return {"skipped": reason}
    # SageMaker starts one execution for a token, even for calls at the same time. Several causes
    # within a cooldown, such as the alarms of two monitors, are one.
    once = str(now.timestamp() // cooldown.total_seconds()) if cooldown else cause
    started = sagemaker().start_pipeline_execution(
        PipelineName=os.environ["PIPELINE"],
        PipelineExecutionDescription=description(trigger),
        PipelineParameters=[{"Name": "Trigger", "Value": trigger}],
        ClientRequestToken=hashlib.sha256(f"{trigger} {once}".encode()).hexdigest(),
    )
    log.info("%s (%s) starts %s", trigger, cause, started["PipelineExecutionArn"])
    return {"started": started["PipelineExecutionArn"]}


def description(trigger: str) -> str:
    """How the executions of a trigger are described, by which they are found again."""
    return f"Started by {trigger}"


def obstacle(described: str, since: datetime) -> str | None:
    """Why no training may start now.

    Args:
        described: Description of the executions of the same trigger.
        since: None of these may have started after this time, UTC.
    """
    executions = sagemaker().list_pipeline_executions(
        PipelineName=os.environ["PIPELINE"],
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=100,
    )["PipelineExecutionSummaries"]
    for execution in executions:
        arn, start = execution["PipelineExecutionArn"], execution["StartTime"]
        if execution["PipelineExecutionStatus"] in ("Executing", "Stopping"):
            return f"{arn} is running"
        if execution.get("PipelineExecutionDescription") == described and start > since:
            return f"cooldown, the same trigger started {arn} at {start:%Y-%m-%d %H:%M} UTC"
    return None
