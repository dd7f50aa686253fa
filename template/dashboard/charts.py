"""Charts that several pages have."""

from collections.abc import Sequence

import altair as alt
import polars as pl

from dashboard.shown import zoned

#: Told apart by people who are colour-blind (Okabe and Ito 2008), in the light and in the dark.
FINE, BROKEN, MUTED = "#0072b2", "#d55e00", "#8c8c8c"
HEIGHT, TALL = 220, 300  # of charts, in pixels


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


def lines(points: pl.DataFrame, x: str, y: str, colour: str) -> alt.Chart:
    """Lines through points, told apart by dashes and colour.

    Args:
        points: `x`, `y`, the name of the `line`, and what the colour is of.
        x: What is shown from left to right.
        y: What is shown upwards.
        colour: The column that the colour is of.
    """
    chart: alt.Chart = (
        alt.Chart(points)
        .mark_line()
        .encode(
            x=alt.X("x:Q", title=x),
            y=alt.Y("y:Q", title=y),
            color=alt.Color(f"{colour}:N", title=None, sort=None),
            strokeDash=alt.StrokeDash("line:N", title=None, sort=None),
            order="x:Q",
        )
        .properties(height=TALL)
    )
    return chart
