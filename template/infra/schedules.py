"""Something that happens regularly."""

import json
from collections.abc import Mapping

from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra.permissions import Allow, Arns, service_role


class Schedule(Construct):
    """A schedule of EventBridge Scheduler."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        expression: str,
        start: Allow,
        message: Mapping[str, str] | None = None,
    ) -> None:
        """Create the schedule.

        Args:
            scope: Where it belongs.
            name: Its name.
            expression: When, in UTC: `rate(…)` or `cron(…)`.
            start: Permission to start its target, a function or a pipeline.
            message: What the target gets.
        """
        super().__init__(scope, "Schedule")
        dead_letters = Arns(self).dead_letters
        role = service_role(
            self,
            "Role",
            "scheduler.amazonaws.com",
            [start, Allow(["sqs:SendMessage"], [dead_letters])],
        )
        scheduler.CfnSchedule(
            self,
            "Schedule",
            name=name,
            schedule_expression=expression,
            flexible_time_window={"mode": "OFF"},
            target=scheduler.CfnSchedule.TargetProperty(
                arn=start.resources[0],
                role_arn=role.role_arn,
                input=json.dumps(message) if message else None,
                dead_letter_config={"arn": dead_letters},
                retry_policy={"maximum_retry_attempts": 20, "maximum_event_age_in_seconds": 21600},
            ),
        )
