"""Train regularly."""

from infra.functions import Function, Schedule
from infra.permissions import names_of
from usecase.config import UseCase

EXPRESSION = "cron(0 3 1 * ? *)"
"""03:00 UTC on the first day of each month, in the syntax of EventBridge Scheduler."""


def add(retrain: Function, _use_case: UseCase) -> None:
    """Call `retrain` on a schedule."""
    Schedule(
        retrain,
        names_of(retrain).training,
        EXPRESSION,
        {"trigger": "schedule", "cause": "<aws.scheduler.scheduled-time>"},
    )
