"""What the pages have in common: who looks, errors in words, times, charts."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import streamlit as st
from botocore.exceptions import BotoCoreError, ClientError

from dashboard import results
from dashboard.identity import NotSignedIn, Person, of_session
from dashboard.remembered import forget
from ops import OpsError, aws
from usecase import config
from usecase.errors import UseCaseError

__all__ = ["forget", "local", "measured", "monitor", "plain"]
__all__ += ["tell_if_stale", "told", "viewer", "zone", "zoned"]


def viewer() -> Person:
    """Who looks; nothing is shown to anybody else."""
    session: Any = st.session_state  # whose keys may be numbers, too
    try:
        return of_session(st.context.headers, session)
    except NotSignedIn as error:
        st.error(plain(f"You are not signed in: {error}."))
        st.stop()


@contextmanager
def told() -> Iterator[None]:
    """Say in words what AWS refuses or what is not there, in place of the rest of the page."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        st.error(plain(aws.explain(error)), icon=":material/error:")
        st.stop()
    except (OpsError, UseCaseError) as error:
        st.error(plain(str(error)), icon=":material/error:")
        st.stop()


def measured(
    name: str, hint: str = "The schedule or `uv run ops monitor` judges one."
) -> pl.DataFrame:
    """What a monitor has measured; the page ends here, with what its windows say, if it is nothing.

    Args:
        name: Its name.
        hint: What brings a window that is judged, as Markdown.
    """
    with told():
        rows = results.rows()
    found, windows = results.of(rows, name), results.windows(rows).filter(monitor=name)
    if found.is_empty():
        st.info(f"No window has been judged yet. {hint}")
        for said in windows["said"]:
            st.caption(plain(said))
        st.stop()
    tell_if_stale(name, windows["window_end"].max())
    return found


def tell_if_stale(name: str, last: Any) -> None:  # noqa: ANN401 - polars does not tell
    """Say that newer windows of a monitor should have come by now.

    Args:
        name: The monitor.
        last: When its last window ended, UTC.
    """
    delay = getattr(config.load().monitors, name).delay_hours
    if due := results.overdue(last, aws.utc_now(), delay):
        st.warning(
            f"{monitor(name)} is stale: its last window ended {plain(local(last))}, a newer one "
            f"was due {plain(local(due))}."
        )


def plain(text: str) -> str:
    """Text that Streamlit takes for no Markdown, whatever comes from data."""
    return re.sub(r"([\\`*_\[\]<>|:$#~!])", r"\\\1", text)


def monitor(name: str) -> str:
    """A monitor's name in words."""
    return name.replace("_", " ").capitalize()


def zone() -> str:
    """The viewer's time zone; UTC where the browser does not tell."""
    return st.context.timezone or "UTC"


def local(moment: datetime) -> str:
    """A time in the viewer's zone; one without a zone is UTC."""
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    there = known.astimezone(ZoneInfo(zone()))
    return f"{there:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def zoned(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """A table with times in the viewer's zone, in place of UTC."""
    return rows.with_columns(
        pl.col(columns)
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(zone())
        .dt.replace_time_zone(None)
    )
