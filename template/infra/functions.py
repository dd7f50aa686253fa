"""The functions of the folder `lambdas`, and what EventBridge starts: on events, on schedules."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aws_cdk import (
    Acknowledgment,
    Duration,
    IgnoreMode,
    RemovalPolicy,
    Validations,
)
from aws_cdk import (
    aws_events as events,
)
from aws_cdk import (
    aws_events_targets as targets,
)
from aws_cdk import (
    aws_lambda as lambda_,
)
from aws_cdk import (
    aws_logs as logs,
)
from aws_cdk import (
    aws_scheduler as scheduler,
)
from aws_cdk import (
    aws_sqs as sqs,
)
from constructs import Construct

from infra.permissions import Allow, Arns, names_of, service_role

ROOT = Path(__file__).parents[1]
PYTHON = (ROOT / ".python-version").read_text().strip()


class Function(Construct):
    """A function with its own role and log; what it fails to handle ends in the dead-letter queue.

    Attributes:
        arn: ARN of the function.
    """

    def __init__(
        self,
        scope: Construct,
        handler: str,
        environment: Mapping[str, str],
        permissions: Sequence[Allow],
        timeout: Duration | None = None,
    ) -> None:
        """Create the function.

        Args:
            scope: Where it belongs.
            handler: `module.function` of the package `lambdas`; its name is made of it.
            environment: Its environment variables.
            permissions: What it may do besides writing its log.
            timeout: How long one run may take; a minute unless given.
        """
        name = handler.removesuffix(".handler").replace(".", "-").replace("_", "-")
        super().__init__(scope, identifier(name))
        arns = Arns(self)
        # By its ARN: the stack of the queue has the policy that lets rules send to it.
        self._dead_letters = sqs.Queue.from_queue_arn(self, "DeadLetters", arns.dead_letters)
        full_name = arns.names.of(name)
        log_group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/lambda/{full_name}",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = service_role(
            self,
            "Role",
            "lambda.amazonaws.com",
            [
                Allow(
                    ["logs:CreateLogStream", "logs:PutLogEvents"],
                    [arns.log_groups(f"/aws/lambda/{full_name}:")],
                    "Lambda names the streams of a function's log",
                ),
                Allow(["sqs:SendMessage"], [arns.dead_letters]),
                *permissions,
            ],
        )
        self._function = lambda_.Function(
            self,
            "Function",
            function_name=full_name,
            runtime=lambda_.Runtime(f"python{PYTHON}", lambda_.RuntimeFamily.PYTHON),
            handler=f"lambdas.{handler}",
            # The package itself, so that its modules import each other here and there alike.
            code=lambda_.Code.from_asset(
                str(ROOT),
                exclude=["*", "!lambdas", "!lambdas/*.py", "!workflows", "!workflows/keys.py"],
                ignore_mode=IgnoreMode.GIT,
            ),
            environment=dict(environment),
            memory_size=256,
            timeout=timeout or Duration.minutes(1),
            log_group=log_group,
            role=role.without_policy_updates(),
            dead_letter_queue=self._dead_letters,
        )
        reason = "Everything runs with the Python of .python-version, with which it is tested"
        rule = Acknowledgment(id="AwsSolutions-L1", reason=reason)
        Validations.of(self._function).acknowledge(rule)
        self.arn = self._function.function_arn

    def on(
        self,
        name: str,
        pattern: events.EventPattern,
        message: Mapping[str, Any] | None = None,
    ) -> None:
        """Call the function for the events of a pattern.

        Args:
            name: What the events are, for example `package-approved`.
            pattern: The pattern.
            message: What the function gets; the event itself unless given.
        """
        events.Rule(
            self,
            identifier(name),
            rule_name=names_of(self).of(name),
            event_pattern=pattern,
            targets=[
                targets.LambdaFunction(
                    self._function,
                    event=events.RuleTargetInput.from_object(message) if message else None,
                    dead_letter_queue=self._dead_letters,
                    max_event_age=Duration.hours(6),
                    retry_attempts=20,
                )
            ],
        )


class Schedule(Construct):
    """A schedule of EventBridge Scheduler, which calls a function."""

    def __init__(
        self,
        function: Function,
        name: str,
        expression: str,
        message: Mapping[str, str],
        time_zone: str = "UTC",
    ) -> None:
        """Create the schedule.

        Args:
            function: What it calls.
            name: Its name.
            expression: When: `rate(…)` or `cron(…)`.
            message: What the function gets.
            time_zone: That of the expression.
        """
        super().__init__(function, "Schedule")
        dead_letters = Arns(self).dead_letters
        role = service_role(
            self,
            "Role",
            "scheduler.amazonaws.com",
            [
                Allow(["lambda:InvokeFunction"], [function.arn]),
                Allow(["sqs:SendMessage"], [dead_letters]),
            ],
        )
        scheduler.CfnSchedule(
            self,
            "Schedule",
            name=name,
            schedule_expression=expression,
            schedule_expression_timezone=time_zone,
            flexible_time_window={"mode": "OFF"},
            target=scheduler.CfnSchedule.TargetProperty(
                arn=function.arn,
                role_arn=role.role_arn,
                input=json.dumps(message),
                dead_letter_config={"arn": dead_letters},
                # A dictionary in its place is left out by CDK without a word.
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_retry_attempts=20, maximum_event_age_in_seconds=6 * 3600
                ),
            ),
        )


def identifier(name: str) -> str:
    """The id of the construct that a name belongs to: `package-approved` is `PackageApproved`."""
    return name.title().replace("-", "")
