"""When monitoring schedules are due, and the hours that their executions look at.

Source: ScheduleConfig and EndpointInput of the API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from local_aws.sagemaker.core.protocol import ApiError

NOW = "NOW"
HOUR = timedelta(hours=1)

_MOST_SECONDS = 366 * 86400  # each hour of a window is looked for

_CRON = re.compile(r"cron\(0 (?:(\*)|(\d{1,2})(?:/(\d{1,2}))?) \? \* \* \*\)")
_DURATION = re.compile(
    r"([+-]?)P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?"
)


def hours_of(expression: str) -> frozenset[int]:
    """Return the hours of the day (UTC) at which a schedule is due; none for `NOW`.

    Raises:
        ApiError: The expression is none that AWS takes (ValidationException).
    """
    if expression == NOW:
        return frozenset()
    found = _CRON.fullmatch(expression)
    if found:
        every, start, step = found.groups()
        if every:
            return frozenset(range(24))
        first, interval = int(start), int(step or 24)
        if first < 24 and 1 <= interval <= 24:
            return frozenset((first + passed) % 24 for passed in range(0, 24, interval))
    raise ApiError(
        "ValidationException",
        f"ScheduleExpression {expression!r} is not valid: use cron(0 * ? * * *) for every hour, "
        "cron(0 [00-23] ? * * *) for once a day, cron(0 [00-23]/[01-24] ? * * *) for every so many "
        "hours, or NOW",
    )


def next_due(expression: str, now: float) -> float | None:
    """Return the next time after `now` (epoch seconds) that a schedule is due, None for NOW."""
    hours = hours_of(expression)
    moment = datetime.fromtimestamp(now, UTC).replace(minute=0, second=0, microsecond=0)
    for passed in range(1, 25):
        if (moment + passed * HOUR).hour in hours:
            return (moment + passed * HOUR).timestamp()
    return None


def period(expression: str) -> timedelta:
    """Return the time between two executions; an hour for `NOW`."""
    return timedelta(hours=24 // max(1, len(hours_of(expression)))) if expression != NOW else HOUR


def offset(member: str, text: str) -> timedelta:
    """Read an ISO 8601 duration such as `-PT1H` or `-P8D`.

    Raises:
        ApiError: It is none, or has months or years, which have no fixed length.
    """
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()[1:]):
        raise ApiError(
            "ValidationException",
            f"{member} {text!r} is not an ISO 8601 duration of weeks, days, hours, minutes and "
            "seconds, such as -PT1H",
        )
    weeks, days, hours, minutes, seconds = (int(number or 0) for number in found.groups()[1:])
    total = (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total > _MOST_SECONDS:
        raise ApiError("ValidationException", f"{member} {text!r} is more than a year")
    length = timedelta(seconds=total)
    return -length if found.group(1) == "-" else length


def hours_between(start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the full hours that a window touches, the end excluded."""
    moment = start.replace(minute=0, second=0, microsecond=0)
    while moment < end:
        yield moment
        moment += HOUR


def iso(moment: datetime) -> str:
    """Write a time as `2021-05-06T23:00:00Z`."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
