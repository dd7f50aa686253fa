import json
from typing import Any

from templates import of_type

from workflows import names

pytest_plugins = ["synthesised"]


def test_schedule_asks_for_a_training_with_its_time(resources: list[dict[str, Any]]) -> None:
    schedules = {s["Name"]: s for s in of_type(resources, "AWS::Scheduler::Schedule")}
    target = schedules[names.TRAINING]["Target"]
    assert json.loads(target["Input"]) == {
        "trigger": "schedule",
        # EventBridge Scheduler puts the time here, the same for each attempt.
        "cause": "<aws.scheduler.scheduled-time>",
    }
