"""Executions of pipelines, in the SageMaker that only remembers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from support.fake_sagemaker import ARN, FakeSageMaker, Request
from support.templates import of_type, text

from workflows import names

NAMES = names.Names()

EVERYWHERE: set[str] = set()
"""Actions that AWS does not let one limit to a resource, and that pipelines need."""


class Executions:
    """All executions of the workflows.

    Attributes:
        workflow: What the functions know the training workflow by.
    """

    workflow = f"{ARN}:pipeline/{NAMES.training}"

    def __init__(
        self, _session: boto3.Session, sagemaker: FakeSageMaker, _monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._by_token: dict[str, Request] = {}
        self._steps: dict[str, list[Request]] = {}
        sagemaker.operations |= {
            "DescribePipelineExecution": self._describe,
            "ListPipelineExecutions": self._list,
            "ListPipelineExecutionSteps": self._list_steps,
            "StartPipelineExecution": self._start,
            "StopPipelineExecution": self._stop,
        }

    def started(self) -> list[tuple[str, dict[str, str]]]:
        """ARN and parameters of each, oldest first."""
        return [
            (execution["PipelineExecutionArn"], execution["Parameters"])
            for execution in self._by_token.values()
        ]

    def finish(self) -> None:
        """Bring all to their end."""
        for execution in self._by_token.values():
            execution["PipelineExecutionStatus"] = "Succeeded"

    def started_ago(self, time: timedelta) -> None:
        """Let all have been started so long ago."""
        for execution in self._by_token.values():
            execution["StartTime"] = datetime.now(UTC) - time

    def fail(self, reason: str) -> dict[str, Any]:
        """The event of an execution of the training that has failed for a reason."""
        event = ended(NAMES.training, "failed")
        self._steps[event["detail"]["pipelineExecutionArn"]] = [
            {"StepName": "Train", "StepStatus": "Succeeded"},
            {"StepName": "Gate", "StepStatus": "Failed", "FailureReason": reason},
        ]
        return event

    def _start(self, request: Request) -> Request:
        token = request["ClientRequestToken"]
        if token not in self._by_token:
            self._by_token[token] = {
                "PipelineExecutionArn": f"{self.workflow}/execution/{len(self._by_token)}",
                "PipelineExecutionDescription": request.get("PipelineExecutionDescription", ""),
                "PipelineExecutionStatus": "Executing",
                "Parameters": {p["Name"]: p["Value"] for p in request["PipelineParameters"]},
                "CreationTime": datetime.now(UTC),
                "StartTime": datetime.now(UTC),
            }
        return {"PipelineExecutionArn": self._by_token[token]["PipelineExecutionArn"]}

    def _describe(self, request: Request) -> Request:
        return next(
            execution
            for execution in self._by_token.values()
            if execution["PipelineExecutionArn"] == request["PipelineExecutionArn"]
        )

    def _stop(self, request: Request) -> Request:
        """The jobs have to be stopped first, so it takes until the next look."""
        self._describe(request)["PipelineExecutionStatus"] = "Stopping"
        return {}

    def _list(self, _: Request) -> Request:
        found = [dict(execution) for execution in reversed(self._by_token.values())]
        for execution in self._by_token.values():
            if execution["PipelineExecutionStatus"] == "Stopping":
                execution["PipelineExecutionStatus"] = "Stopped"
        return {"PipelineExecutionSummaries": found}

    def _list_steps(self, request: Request) -> Request:
        return {"PipelineExecutionSteps": self._steps[request["PipelineExecutionArn"]]}


def definitions(resources: list[dict[str, Any]]) -> dict[str, str]:
    """The definitions that are deployed, by the names of the workflows."""
    return {
        pipeline["PipelineName"]: text(pipeline["PipelineDefinition"]["PipelineDefinitionBody"])
        for pipeline in of_type(resources, "AWS::SageMaker::Pipeline")
    }


#: What its ARN is called in its events.
EXECUTION = "pipelineExecutionArn"


def ended(workflow: str, status: str) -> dict[str, Any]:
    """The event of an execution that has ended, as in the developer guide of SageMaker.

    Args:
        workflow: Name of the workflow.
        status: succeeded, failed or stopped.
    """
    arn = f"{ARN}:pipeline/{workflow}"
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
        "detail": {
            "currentPipelineExecutionStatus": status.title(),
            "previousPipelineExecutionStatus": "Executing",
            "executionStartTime": "2021-03-15T16:03:13Z",
            "executionEndTime": "2021-03-15T16:10:10Z",
            "pipelineArn": arn,
            "pipelineExecutionArn": f"{arn}/execution/p4jn9xou8a8s",
        },
    }
