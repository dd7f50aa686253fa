"""Workflows in AWS Step Functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as stepfunctions
from aws_cdk.aws_events import EventPattern
from constructs import Construct

from infra.permissions import Allow, Arns, service_role

JOB_KINDS = ("Processing", "Training", "Transform")

OBSERVE = (
    Allow(
        [
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
        ],
        ["*"],
        "CloudWatch Logs knows no resources for deliveries",
    ),
    Allow(
        [
            "xray:GetSamplingRules",
            "xray:GetSamplingTargets",
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        ],
        ["*"],
        "X-Ray knows no resources for traces",
    ),
)
"""What a state machine needs to write its log and its traces, after the developer guide."""


class Workflow(Construct):
    """A state machine, its log and the role that it works with.

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
        """Create the state machine.

        Args:
            scope: Where it belongs.
            name: Its name.
            definition: Its definition.
            jobs_role: The role of the jobs that it starts.
            permissions: What it may do besides starting jobs.
        """
        super().__init__(scope, "Workflow")
        arns = Arns(self)
        log_group = logs.LogGroup(
            self,
            "Log",
            # With this prefix, CloudWatch needs no entry for it in its one resource policy.
            log_group_name=f"/aws/vendedlogs/states/{name}",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        used = json.dumps(definition)
        kinds = [kind for kind in JOB_KINDS if f":create{kind}Job.sync" in used]
        role = service_role(
            self,
            "Role",
            "states.amazonaws.com",
            [
                *(allow for kind in kinds for allow in run_jobs(arns, kind)),
                Allow(
                    ["iam:PassRole"],
                    [jobs_role.role_arn],
                    conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
                ),
                *OBSERVE,
                *permissions,
            ],
        )
        stepfunctions.CfnStateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            definition_string=Stack.of(self).to_json_string(definition),
            role_arn=role.role_arn,
            logging_configuration={
                "level": "ALL",
                "includeExecutionData": True,
                "destinations": [
                    {"cloudWatchLogsLogGroup": {"logGroupArn": log_group.log_group_arn}}
                ],
            },
            tracing_configuration={"enabled": True},
        )
        self.start = Allow(["states:StartExecution"], [state_machine_arn(arns, name)])


def run_jobs(arns: Arns, kind: str) -> list[Allow]:
    """Starting jobs and waiting for their end, as `.sync` does it.

    See "IAM policies for calling SageMaker" in the developer guide.
    """
    return [
        Allow(
            [
                *(f"sagemaker:{verb}{kind}Job" for verb in ("Create", "Describe", "Stop")),
                "sagemaker:AddTags",
                "sagemaker:ListTags",
            ],
            [arns.of("sagemaker", f"{kind.lower()}-job/{arns.names.jobs}")],
            "The state machine makes the names of its jobs, all of them like this",
        ),
        # Step Functions makes this rule itself, to hear of the end of jobs.
        Allow(
            ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
            [arns.of("events", f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule")],
        ),
    ]


def state_machine_arn(arns: Arns, name: str) -> str:
    """The ARN of a state machine."""
    return arns.of("states", f"stateMachine:{name}")


def find_executions(arns: Arns, name: str) -> Allow:
    """Finding the executions of a workflow."""
    return Allow(["states:ListExecutions"], [state_machine_arn(arns, name)])


def failures(arns: Arns) -> EventPattern:
    """The events of executions of this use case's workflows that have failed."""
    return EventPattern(
        source=["aws.states"],
        detail_type=["Step Functions Execution Status Change"],
        detail={
            "stateMachineArn": [state_machine_arn(arns, name) for name in arns.names.workflows],
            "status": ["FAILED", "TIMED_OUT"],
        },
    )


ENDED_EXECUTION = "$.detail.executionArn"
"""Where the event of an execution's end has its ARN."""


def ends(arns: Arns, name: str) -> EventPattern:
    """The events of executions of a workflow that have come to their end, well or not."""
    return EventPattern(
        source=["aws.states"],
        detail_type=["Step Functions Execution Status Change"],
        detail={
            "stateMachineArn": [state_machine_arn(arns, name)],
            "status": ["SUCCEEDED", "ABORTED", "FAILED", "TIMED_OUT"],
        },
    )


def read_failures(_arns: Arns) -> list[Allow]:
    """Finding out why an execution has failed: the event says it."""
    return []
