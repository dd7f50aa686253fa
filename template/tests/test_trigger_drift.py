from typing import Any

import pytest
from templates import matching, message

from usecase import config
from workflows import names

pytest_plugins = ["synthesised"]


def event(alarm: str, state: str) -> dict[str, Any]:
    """An event as in the user guide of CloudWatch, "Alarm events and EventBridge"."""
    return {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "detail": {
            "alarmName": alarm,
            "state": {
                "value": state,
                "reason": "Threshold Crossed",
                "timestamp": "2026-01-31T12:00:00.000+0000",
            },
        },
    }


@pytest.mark.parametrize("monitor", names.MONITORS)
def test_alarm_of_each_monitor_counts(resources: list[dict[str, Any]], monitor: str) -> None:
    alarm = names.violations_alarm(monitor)
    assert "drift" in matching(resources, event(alarm, "ALARM"))
    assert "drift" not in matching(resources, event(alarm, "OK"))
    assert message(resources, "drift", event(alarm, "ALARM")) == {
        "trigger": "drift",
        "cause": f"{alarm} 2026-01-31T12:00:00.000+0000",
        "cooldown_hours": config.load().retraining.cooldown_hours,
    }


def test_other_alarms_do_not_count(resources: list[dict[str, Any]]) -> None:
    assert "drift" not in matching(resources, event(names.DEAD_LETTERS, "ALARM"))
