"""Workflows in SageMaker Pipelines."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.aws_events import EventPattern
from constructs import Construct

from infra.permissions import Allow, Arns, service_role


class Workflow(Construct):
    """A pipeline and the role it runs its steps with.

    Attributes:
        start: Permission to start it.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        definition: Mapping[str, Any],
        jobs_role: iam.Role,
        permissions: Sequence[Allow],
    ) -> None:
        """Create the pipeline.

        Args:
            scope: Where it belongs.
            name: Its name.
            definition: Its definition.
            jobs_role: The role of the jobs that it starts.
            permissions: What it may do besides starting jobs.
        """
        super().__init__(scope, "Workflow")
        arns = Arns(self)
        role = service_role(
            self,
            "Role",
            "sagemaker.amazonaws.com",
            [
                *(start_jobs(arns, kind) for kind in kinds_of_jobs(definition)),
                Allow(
                    ["iam:PassRole"],
                    [jobs_role.role_arn],
                    conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
                ),
                *permissions,
            ],
        )
        sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name=name,
            pipeline_definition={
                "PipelineDefinitionBody": Stack.of(self).to_json_string(definition)
            },
            role_arn=role.role_arn,
        )
        self.start = Allow(["sagemaker:StartPipelineExecution"], [pipeline_arn(arns, name)])


def kinds_of_jobs(definition: Mapping[str, Any]) -> list[str]:
    """The kinds of jobs that a pipeline starts: Processing, Training, Transform."""
    kinds: set[str] = set()

    def look(steps: Sequence[Mapping[str, Any]]) -> None:
        for step in steps:
            if step["Type"] in ("Processing", "Training", "Transform"):
                kinds.add(step["Type"])
            for branch in ("IfSteps", "ElseSteps"):
                look(step["Arguments"].get(branch, []))

    look(definition["Steps"])
    return sorted(kinds)


def start_jobs(arns: Arns, kind: str) -> Allow:
    """Starting, following and stopping the jobs of a pipeline."""
    return Allow(
        [
            *(f"sagemaker:{verb}{kind}Job" for verb in ("Create", "Describe", "Stop")),
            "sagemaker:AddTags",
        ],
        [arns.sagemaker(f"{kind.lower()}-job/pipelines-*")],
        "SageMaker Pipelines makes the names of its jobs, all of them with this prefix",
    )


def pipeline_arn(arns: Arns, name: str) -> str:
    """The ARN of a pipeline."""
    return arns.sagemaker(f"pipeline/{name}")


def find_executions(arns: Arns, name: str) -> Allow:
    """Finding the executions of a workflow."""
    return Allow(["sagemaker:ListPipelineExecutions"], [pipeline_arn(arns, name)])


def failures(arns: Arns) -> EventPattern:
    """The events of executions of this use case's workflows that have failed."""
    return EventPattern(
        source=["aws.sagemaker"],
        detail_type=["SageMaker Model Building Pipeline Execution Status Change"],
        detail={
            "pipelineArn": [pipeline_arn(arns, name) for name in arns.names.workflows],
            "currentPipelineExecutionStatus": ["Failed", "CompletedWithFailures"],
        },
    )


ENDS = ["Succeeded", "Stopped", "Failed", "CompletedWithFailures"]
ENDED_EXECUTION = "$.detail.pipelineExecutionArn"
"""Where the event of an execution's end has its ARN."""


def ends(arns: Arns, name: str) -> EventPattern:
    """The events of executions of a workflow that have come to their end, well or not."""
    return EventPattern(
        source=["aws.sagemaker"],
        detail_type=["SageMaker Model Building Pipeline Execution Status Change"],
        detail={
            "pipelineArn": [pipeline_arn(arns, name)],
            "currentPipelineExecutionStatus": ENDS,
        },
    )


def read_failures(arns: Arns) -> list[Allow]:
    """Finding out why an execution has failed."""
    return [
        Allow(
            ["sagemaker:ListPipelineExecutionSteps"],
            [f"{pipeline_arn(arns, name)}/execution/*" for name in arns.names.workflows],
            "SageMaker makes the ids of executions",
        )
    ]
