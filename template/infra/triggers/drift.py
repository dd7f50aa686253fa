"""Train when a monitor has found violations."""

from aws_cdk.aws_events import EventField, EventPattern

from infra.functions import Function
from infra.permissions import names_of
from usecase.config import UseCase
from workflows.names import MONITORS


def add(retrain: Function, use_case: UseCase) -> None:
    """Call `retrain` when the alarm of a monitor goes off."""
    # The first of a monitor's alarms: problems and silence are no drift.
    violations = [names_of(retrain).monitor_alarms(monitor)[0] for monitor in MONITORS]
    alarm = EventField.from_path("$.detail.alarmName")
    time = EventField.from_path("$.detail.state.timestamp")
    retrain.on(
        "drift",
        EventPattern(
            source=["aws.cloudwatch"],
            detail_type=["CloudWatch Alarm State Change"],
            detail={
                "alarmName": violations,
                "state": {"value": ["ALARM"]},
            },
        ),
        {
            "trigger": "drift",
            "cause": f"{alarm} {time}",
            "cooldown_hours": use_case.retraining.cooldown_hours,
        },
    )
