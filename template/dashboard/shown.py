"""What the pages have in common: who looks, errors in words, times, charts."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import altair as alt
import polars as pl
import streamlit as st
from botocore.exceptions import BotoCoreError, ClientError

from dashboard.identity import NotSignedIn, Person, of_session
from dashboard.remembered import forget
from ops import OpsError, aws
from usecase.errors import UseCaseError

__all__ = ["forget", "local", "monitor", "plain", "told", "trend", "viewer", "zone", "zoned"]

#: Told apart by people who are colour-blind (Okabe and Ito 2008), in the light and in the dark.
FINE, BROKEN, MUTED = "#0072b2", "#d55e00", "#8c8c8c"
HEIGHT = 220  # of a chart, in pixels


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


def trend(
    rows: pl.DataFrame, limits: Sequence[str] = ("threshold",)
) -> alt.LayerChart | alt.FacetChart:
    """Values from window to window, their 95 % intervals, and the limit.

    Args:
        rows: Rows of the table `monitor_results` of one check.
        limits: The columns with the limits.
    """
    columns = ("window_end", "model_version", "value", "low", "high", "violated", *limits)
    base = alt.Chart(zoned(rows.select(columns), "window_end")).encode(
        x=alt.X("window_end:T", title=None)
    )
    version = alt.Detail("model_version:N")
    tooltip = [
        alt.Tooltip("window_end:T", title="window's end", format="%Y-%m-%d %H:%M"),
        alt.Tooltip("model_version:N", title="version"),
        alt.Tooltip("value:Q", format=".4g"),
        alt.Tooltip("low:Q", format=".4g"),
        alt.Tooltip("high:Q", format=".4g"),
        *(alt.Tooltip(f"{name}:Q", title="limit", format=".4g") for name in limits),
    ]
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    broken = alt.Color(
        "violated:N",
        scale=alt.Scale(domain=[False, True], range=[FINE, BROKEN]),
        legend=None,
    )
    shape = alt.Shape(
        "violated:N",
        scale=alt.Scale(domain=[False, True], range=["circle", "triangle-up"]),
        legend=None,
    )
    dashed = [
        base.mark_line(color=MUTED, strokeDash=[5, 4], point={"color": MUTED, "size": 15}).encode(
            y=f"{name}:Q", detail=version
        )
        for name in limits
    ]
    chart = alt.layer(
        base.mark_rule(color=FINE, opacity=0.5, strokeWidth=2).encode(y="low:Q", y2="high:Q"),
        base.mark_line(color=FINE).encode(y=y, detail=version),
        *dashed,
        base.mark_point(filled=True, size=70, opacity=1).encode(
            y=y, color=broken, shape=shape, tooltip=tooltip
        ),
    )
    return chart.properties(height=HEIGHT)
