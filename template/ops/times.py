"""Times on the command line: in ISO 8601, and UTC unless they say otherwise."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import typer

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def first_moment(text: str) -> datetime:
    """When a window begins; a day begins at its midnight, UTC.

    Raises:
        typer.BadParameter: When it is not a time.
    """
    return _midnight(day(text)) if DAY.fullmatch(text) else _moment(text)


def last_moment(text: str) -> datetime:
    """When a window ends; a day, which belongs to the window, ends at the next one's midnight, UTC.

    Raises:
        typer.BadParameter: When it is not a time.
    """
    return _midnight(day(text) + timedelta(days=1)) if DAY.fullmatch(text) else _moment(text)


def day(text: str) -> date:
    """A day.

    Raises:
        typer.BadParameter: When it is none.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day such as 2026-01-31") from None


def show(moment: datetime) -> str:
    """A time as all commands print it, such as 2026-01-31T09:00:00Z; UTC where it has no zone."""
    return f"{_in_utc(moment):%Y-%m-%dT%H:%M:%SZ}"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a time such as 2026-01-31T09:00:00Z nor a day such as 2026-01-31"
        ) from None
    return _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _midnight(of: date) -> datetime:
    return datetime.combine(of, time(tzinfo=UTC))


Start = Annotated[
    datetime | None,
    typer.Option(
        parser=first_moment,
        metavar="TIME",
        help="A time such as 2026-01-31T09:00:00Z, or a day. Default: the window of usecase.toml.",
    ),
]
End = Annotated[
    datetime | None,
    typer.Option(
        parser=last_moment,
        metavar="TIME",
        help="The same; a day is included. Default: now where --start is given.",
    ),
]
Day = Annotated[
    date | None,
    typer.Option(parser=day, metavar="DAY", help="A day such as 2026-01-31, UTC, included."),
]
