"""When the monitors run: the times of `[monitors.schedule]` in usecase.toml.

EventBridge Scheduler calls by the same section; what it has missed is told by these times.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, takewhile
from typing import Any
from zoneinfo import ZoneInfo


def times(schedule: Mapping[str, Any], since: datetime) -> Iterator[datetime]:
    """The times of a schedule after another time, without an end, UTC.

    Args:
        schedule: The section.
        since: With a time zone.
    """
    every, at = schedule["every"], time.fromisoformat(schedule["time"])
    local = since.astimezone(ZoneInfo(schedule["time_zone"]))
    if every == "hour":
        # No hour comes twice or is left out when the clocks are changed.
        step, first = timedelta(hours=1), local.replace(minute=at.minute, second=0, microsecond=0)
        moments = (first.astimezone(UTC) + number * step for number in count())
    else:
        days = (local.date() + timedelta(days=number) for number in count())
        due = (day for day in days if _is_due(schedule, day))
        moments = (datetime.combine(day, at, local.tzinfo).astimezone(UTC) for day in due)
    return (moment for moment in moments if moment > since)


def _is_due(schedule: Mapping[str, Any], day: date) -> bool:
    match schedule["every"]:
        case "week":
            return bool(f"{day:%A}".lower() == schedule["weekday"])
        case "month":
            return bool(day.day == schedule["day"])
        case _:
            return True


def between(schedule: Mapping[str, Any], first: datetime, last: datetime) -> list[datetime]:
    """The times of a schedule after one time and before another, UTC."""
    return [*takewhile(lambda moment: moment < last, times(schedule, first))]
