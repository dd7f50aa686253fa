"""Times on the command line."""

from datetime import UTC, datetime, timedelta

import pytest
from typer import BadParameter
from typer.testing import CliRunner

from ops import __main__ as command_line
from ops import aws, times


def test_commands_take_times_and_days_alike() -> None:
    nine = datetime(2026, 1, 31, 9, tzinfo=UTC)
    for text in ("2026-01-31T09:00:00Z", "2026-01-31T09:00", "2026-01-31T18:00:00+09:00"):
        assert times.first_moment(text) == times.last_moment(text) == nine
    assert times.show(nine) == times.show(nine.replace(tzinfo=None)) == "2026-01-31T09:00:00Z"
    # A day belongs to the window, whether it begins or ends there.
    assert times.show(times.first_moment("2026-01-31")) == "2026-01-31T00:00:00Z"
    assert times.show(times.last_moment("2026-01-31")) == "2026-02-01T00:00:00Z"
    assert times.day("2026-01-31") == nine.date()


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "31.01.2026"])
def test_what_is_no_time_is_refused_with_one_that_is(text: str) -> None:
    for read in (times.first_moment, times.last_moment, times.day):
        with pytest.raises(BadParameter, match=r"is (not a day|neither a time) such as 2026-01-31"):
            read(text)
    result = CliRunner().invoke(command_line.app, ["monitor", "--start", text])
    assert result.exit_code == 2
    assert "2026-01-31" in result.output


def test_times_are_whole_seconds_in_utc() -> None:
    now = aws.utc_now()
    assert now.microsecond == 0
    assert datetime.now(UTC) - now < timedelta(seconds=5)
