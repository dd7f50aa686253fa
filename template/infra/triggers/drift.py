"""Train when a monitor has found violations."""

from aws_cdk.aws_events import EventField, EventPattern

from infra.functions import Function
from infra.permissions import names_of
from usecase.config import UseCase
from workflows.names import MONITORS


def add(retrain: Function, use_case: UseCase) -> None:
    """Call `retrain` when the alarm of a monitor goes off."""
    names = names_of(retrain)
    alarm = EventField.from_path("$.detail.alarmName")
    time = EventField.from_path("$.detail.state.timestamp")
    retrain.on(
        "drift",
        EventPattern(
            source=["aws.cloudwatch"],
            detail_type=["CloudWatch Alarm State Change"],
            detail={
                "alarmName": [names.violations_alarm(monitor) for monitor in MONITORS],
                "state": {"value": ["ALARM"]},
            },
        ),
        {
            "trigger": "drift",
            "cause": f"{alarm} {time}",
            "cooldown_hours": use_case.retraining.cooldown_hours,
        },
    )
