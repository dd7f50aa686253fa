"""When a schedule of EventBridge Scheduler is due, and what is wrong with one.

Source: EventBridge Scheduler User Guide, "Schedule types", "Time zones" and "Flexible time
windows".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NextCron = Callable[[str, datetime], datetime | None]
"""The first time after another that a cron(...) means; both without a time zone, in its own.

Raises:
    ValueError: The expression cannot be read.
"""

SDK = "arn:aws:scheduler:::aws-sdk:"
_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


def check(schedule: Mapping[str, Any], next_cron: NextCron) -> None:
    """Check what a caller wants a schedule to be.

    Raises:
        ValueError: Something is wrong; it says what in words for the caller.
    """
    zone(schedule)
    expression = str(schedule["ScheduleExpression"])
    if at := _at(expression):
        try:
            datetime.fromisoformat(at)
        except ValueError as error:
            raise ValueError(f"Invalid Schedule Expression {expression}.") from error
    elif expression.startswith("cron("):
        next_cron(expression, datetime(2026, 1, 1))  # noqa: DTZ001 - local time of any zone
    elif not (rate := _RATE.fullmatch(expression)) or int(rate[1]) == 0:
        raise ValueError(f"Invalid Schedule Expression {expression}.")
    window = schedule["FlexibleTimeWindow"]
    if window.get("Mode") not in {"OFF", "FLEXIBLE"}:
        raise ValueError("FlexibleTimeWindow.Mode must be OFF or FLEXIBLE.")
    if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
        raise ValueError(
            "FlexibleTimeWindow.MaximumWindowInMinutes goes with the mode FLEXIBLE, and only it."
        )
    start, end = instant(schedule.get("StartDate")), instant(schedule.get("EndDate"))
    if start is not None and end is not None and start >= end:
        raise ValueError("The EndDate must come after the StartDate.")
    _check_target(schedule["Target"])


def _check_target(target: Mapping[str, Any]) -> None:
    arn = str(target.get("Arn", ""))
    if not arn.startswith(SDK):
        return
    if not re.fullmatch(r"[a-z0-9-]+:[a-z]\w+", arn.removeprefix(SDK)):
        raise ValueError(f"{arn} is not a service and action such as sqs:sendMessage.")
    try:
        given = json.loads(target.get("Input") or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ValueError("The Input of a universal target must be a JSON object.")


def due(schedule: Mapping[str, Any], since: float, now: float, next_cron: NextCron) -> float | None:
    """Find the time at which a schedule should have fired.

    Args:
        schedule: The members of GetSchedule.
        since: Only a time after this counts for a schedule that is not a one-time one.
        now: The time, in seconds since 1970.
        next_cron: Reads cron expressions.

    Returns:
        That time, or none. Of several that were missed it is the last one.
    """
    start, end = instant(schedule.get("StartDate")), instant(schedule.get("EndDate"))
    if (start is not None and now < start) or (end is not None and now > end):
        return None
    expression = str(schedule["ScheduleExpression"])
    if at := _at(expression):
        moment = datetime.fromisoformat(at).replace(tzinfo=zone(schedule)).timestamp()
        return moment if now >= moment else None
    if rate := _RATE.fullmatch(expression):
        step = int(rate[1]) * _SECONDS[rate[2]]
        anchor = instant(schedule.get("CreationDate") or since) if start is None else start
        assert anchor is not None  # noqa: S101 - for the type checker
        count = (now - anchor) // step
        return anchor + count * step if count > (since - anchor) // step else None
    found = None
    local = datetime.fromtimestamp(since, zone(schedule)).replace(tzinfo=None)
    while (following := next_cron(expression, local)) is not None:
        moment = following.replace(tzinfo=zone(schedule)).timestamp()
        if moment > now:
            break
        found, local = moment, following
    return found


def is_over(schedule: Mapping[str, Any], now: float) -> bool:
    """Tell whether a schedule will never be due again, but for a one-time one."""
    end = instant(schedule.get("EndDate"))
    return end is not None and now > end


def is_one_time(schedule: Mapping[str, Any]) -> bool:
    """Tell whether a schedule fires once."""
    return _at(str(schedule["ScheduleExpression"])) is not None


def zone(schedule: Mapping[str, Any]) -> ZoneInfo:
    """Return the schedule's time zone.

    Raises:
        ValueError: There is no time zone of this name.
    """
    name = str(schedule.get("ScheduleExpressionTimezone") or "UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"ScheduleExpressionTimezone {name} is not a time zone.") from error


def instant(value: object) -> float | None:
    """Seconds since 1970 of a date in a request, which are numbers or ISO 8601."""
    if value is None or isinstance(value, (int, float)):
        return value
    written = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return (written if written.tzinfo else written.replace(tzinfo=UTC)).timestamp()


def _at(expression: str) -> str | None:
    found = re.fullmatch(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", expression)
    return found[1] if found else None


def with_context(text: str, values: Mapping[str, str]) -> str:
    """Replace the context attributes in a target's input.

    Source: EventBridge Scheduler User Guide, "Adding context attributes".
    """
    for attribute, value in values.items():
        text = text.replace(f"<aws.scheduler.{attribute}>", value)
    return text


def backoff(attempt: int) -> float:
    """Seconds to wait before a delivery is tried again."""
    return min(float(2**attempt), timedelta(minutes=5).total_seconds())
