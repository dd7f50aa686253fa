"""Executions of state machines, in moto's Step Functions."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto.stepfunctions.models import StateMachine, stepfunctions_backends
from support.fake_sagemaker import ACCOUNT, FakeSageMaker
from support.templates import of_type, text

from workflows import names

NAMES = names.Names()

STATES = f"arn:aws:states:{names.REGION}:{ACCOUNT}"
EVERYWHERE = {
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Delete", "Get", "Update")),
    *("logs:DescribeLogGroups", "logs:DescribeResourcePolicies", "logs:ListLogDeliveries"),
    *("logs:PutResourcePolicy", "xray:GetSamplingRules", "xray:GetSamplingTargets"),
    *("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
}
"""Actions that AWS does not let one limit to a resource, and that state machines need."""


class Executions:
    """All executions of the workflows.

    Attributes:
        workflow: What the functions know the training workflow by.
    """

    def __init__(
        self, session: boto3.Session, _sagemaker: FakeSageMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock, start = threading.Lock(), StateMachine.start_execution

        def start_one(*arguments: Any, **more: Any) -> Any:
            with lock:  # AWS lets one of two calls at the same time come first
                return start(*arguments, **more)

        monkeypatch.setattr(StateMachine, "start_execution", start_one)
        self._client = session.client("stepfunctions")
        self.workflow = self._client.create_state_machine(
            name=NAMES.training,
            definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/role",
        )["stateMachineArn"]

    def started(self) -> list[tuple[str, dict[str, str]]]:
        """ARN and parameters of each, oldest first."""
        return [(e.execution_arn, json.loads(e.execution_input)) for e in self._all()]

    def finish(self) -> None:
        """Bring all to their end."""
        for execution in self._all():
            execution.status = "SUCCEEDED"

    def started_ago(self, time: timedelta) -> None:
        """Let all have been started so long ago."""
        for execution in self._all():
            zone = execution.start_date.tzinfo
            execution.start_date = (datetime.now(UTC) - time).replace(tzinfo=zone)

    def fail(self, reason: str) -> dict[str, Any]:
        """The event of an execution of the training that has failed for a reason."""
        event = ended(NAMES.training, "failed")
        event["detail"] |= {"error": "StateFailed", "cause": reason}
        return event

    def _all(self) -> list[Any]:
        (machine,) = stepfunctions_backends[ACCOUNT][names.REGION].state_machines
        return list(machine.executions)


def definitions(resources: list[dict[str, Any]]) -> dict[str, str]:
    """The definitions that are deployed, by the names of the workflows."""
    return {
        machine["StateMachineName"]: text(machine["DefinitionString"])
        for machine in of_type(resources, "AWS::StepFunctions::StateMachine")
    }


#: What its ARN is called in its events.
EXECUTION = "executionArn"


def ended(workflow: str, status: str) -> dict[str, Any]:
    """The event of an execution that has ended, as in the developer guide of Step Functions.

    Args:
        workflow: Name of the workflow.
        status: succeeded, failed or stopped.
    """
    arn = f"{STATES}:execution:{workflow}:execution-name"
    return {
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "resources": [arn],
        "detail": {
            "executionArn": arn,
            "stateMachineArn": f"{STATES}:stateMachine:{workflow}",
            "name": "execution-name",
            "status": "ABORTED" if status == "stopped" else status.upper(),
            "startDate": 1551225146847,
            "stopDate": 1551225151881,
            "input": "{}",
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": None,
            "error": None,
            "cause": None,
        },
    }
