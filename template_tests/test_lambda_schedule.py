"""When the monitors run: the section of usecase.toml, and the times that it stands for."""

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from lambdas import schedule
from usecase.monitors.settings import Schedule

TOKYO, LONDON = {"time_zone": "Asia/Tokyo"}, {"time_zone": "Europe/London"}


@pytest.mark.parametrize(
    ("section", "cron", "since", "expected"),
    [
        ({}, "cron(0 1 * * ? *)", "2026-01-31T01:00", ["2026-02-01T01:00", "2026-02-02T01:00"]),
        (
            {"every": "hour", "time": "00:15"},
            "cron(15 * * * ? *)",
            "2026-01-31T23:10",
            ["2026-01-31T23:15", "2026-02-01T00:15"],
        ),
        (
            {"every": "week", "weekday": "monday", "time": "06:30", **TOKYO},
            "cron(30 6 ? * MON *)",
            "2026-01-31T00:00",
            ["2026-02-01T21:30", "2026-02-08T21:30"],
        ),
        (
            {"every": "month", "day": 28, "time": "23:59"},
            "cron(59 23 28 * ? *)",
            "2026-01-28T23:59",
            ["2026-02-28T23:59", "2026-03-28T23:59"],
        ),
        # The clocks are put forward on 29 March and back on 25 October.
        (
            {"time": "09:00", **LONDON},
            "cron(0 9 * * ? *)",
            "2026-03-28T09:00",
            ["2026-03-29T08:00", "2026-03-30T08:00"],
        ),
        (
            {"time": "09:00", **LONDON},
            "cron(0 9 * * ? *)",
            "2026-10-24T08:00",
            ["2026-10-25T09:00", "2026-10-26T09:00"],
        ),
        (
            {"every": "hour", "time": "00:00", **LONDON},
            "cron(0 * * * ? *)",
            "2026-03-28T23:30",
            ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"],
        ),
        (
            {"every": "hour", "time": "00:00", "time_zone": "Asia/Kolkata"},  # five and a half
            "cron(0 * * * ? *)",
            "2026-01-31T00:00",
            ["2026-01-31T00:30", "2026-01-31T01:30"],
        ),
    ],
)
def test_times(section: dict[str, Any], cron: str, since: str, expected: list[str]) -> None:
    wanted = Schedule(**section)
    assert wanted.cron == cron
    found = schedule.times(asdict(wanted), at(since))
    assert [*islice(found, len(expected))] == [at(text) for text in expected]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_times_between_two_others() -> None:
    daily = asdict(Schedule())
    first, second, third = (at(f"2026-01-{day}T01:00") for day in (10, 11, 12))
    assert schedule.between(daily, first, second) == []
    assert schedule.between(daily, first, third) == [second]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"time": "24:00"}, "time: is '24:00', must be a time of day from 00:00 to 23:59"),
        ({"time": "1:00"}, "time: is '1:00', must be a time of day"),
        ({"every": "week"}, "weekday: is missing; add it, for every = 'week'"),
        ({"weekday": "monday"}, "weekday: is set; take it out, for every = 'day'"),
        ({"every": "week", "weekday": "Mon"}, "weekday: is 'Mon', must be one of monday, tuesday"),
        ({"every": "month"}, "day: is missing; add it"),
        ({"every": "month", "day": 31}, "day: is 31, must be 1 to 28"),
        ({"time_zone": "Tokyo"}, "time_zone: 'Tokyo' is not a time zone, such as Asia/Tokyo"),
        ({"time_zone": ""}, "time_zone: '' is not a time zone"),
        ({"time_zone": "/etc/localtime"}, "is not a time zone"),
    ],
)
def test_section_that_cannot_be(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**section)
