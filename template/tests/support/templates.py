"""Looks into CloudFormation templates."""

import json
from typing import Any, cast

from moto.events.models import EventPattern

from workflows import names

ACCOUNT = "123456789012"


def of_type(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [r["Properties"] for r in resources if r["Type"] == kind]


def text(value: Any) -> str:
    """A value of a template with references as their names."""
    match value:
        case {"Fn::Join": [on, parts]}:
            return str(on).join(text(part) for part in parts)
        case dict():
            return json.dumps(value)
    return str(value)


def alarm_event(name: str, state: str) -> dict[str, Any]:
    return {
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "detail": {"alarmName": name, "state": {"value": state}},
    }


def matching(resources: list[dict[str, Any]], event: dict[str, Any]) -> set[str]:
    """The rules that an event matches, without the project's name; moto does the matching."""
    found, message = set(), cast("Any", event)
    for rule in of_type(resources, "AWS::Events::Rule"):
        if EventPattern.load(json.dumps(rule["EventPattern"])).matches_event(message):
            found.add(rule["Name"].removeprefix(f"{names.PROJECT}-"))
    return found


def message(resources: list[dict[str, Any]], name: str, event: dict[str, Any]) -> dict[str, Any]:
    """What a rule makes of an event for its target."""
    rules = {rule["Name"]: rule for rule in of_type(resources, "AWS::Events::Rule")}
    (target,) = rules[f"{names.PROJECT}-{name}"]["Targets"]
    made = target["InputTransformer"]
    filled = made["InputTemplate"]
    for variable, path in made["InputPathsMap"].items():
        value: Any = event
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        # EventBridge itself puts quotes around a text that is a whole value.
        filled = filled.replace(f":<{variable}>", f":{json.dumps(value)}")
        filled = filled.replace(f"<{variable}>", value)
    answer: dict[str, Any] = json.loads(filled)
    return answer


def as_list(value: Any) -> list[Any]:
    """What a template may hold as one value or as several."""
    return value if isinstance(value, list) else [value]
