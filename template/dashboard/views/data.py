"""Data: which features have drifted, and how a feature is distributed."""

import altair as alt
import polars as pl
import streamlit as st
from botocore.exceptions import ClientError

from dashboard import charts, distributions, shown
from ops import monitor_page

MONITOR, DRIFT = "data_quality", "baseline_drift_check"
MOST = 40  # so many features are in the map, those that are nearest to their limit
SIDES = ("this window", "training data")

found = shown.measured(MONITOR)
version = st.selectbox(
    "Version",
    found["model_version"].unique().sort(descending=True).to_list(),
    format_func=lambda number: f"Version {number}",
)
found = found.filter(model_version=version)

st.subheader("Drift, feature by feature and window by window")
drift = found.filter(kind=DRIFT).with_columns(
    (pl.col("value") / pl.col("threshold")).alias("ratio")
)
words = st.text_input("Features", placeholder="A part of their names") if drift.height else ""
drift = drift.filter(pl.col("name").str.to_lowercase().str.contains(words.lower(), literal=True))
worst = (
    drift.group_by("name")
    .agg(pl.col("ratio").max())
    .sort("ratio", "name", descending=[True, False], nulls_last=True)["name"]
    .to_list()
)
drift = shown.zoned(drift.filter(pl.col("name").is_in(worst[:MOST])), "window_end")
if drift.is_empty():
    st.info("No feature's distribution was compared, of none with such a name.")
else:
    base = alt.Chart(drift).encode(
        x=alt.X(
            "yearmonthdatehoursminutesseconds(window_end):O",
            title="window's end",
            axis=alt.Axis(format="%m-%d %H:%M", labelAngle=0, labelOverlap=True),
        ),
        y=alt.Y("name:N", title=None, sort=worst[:MOST]),
        tooltip=[
            alt.Tooltip("name:N", title="feature"),
            alt.Tooltip("window_end:T", title="window's end", format="%Y-%m-%d %H:%M"),
            alt.Tooltip("value:Q", title="distance", format=".3f"),
            alt.Tooltip("threshold:Q", title="limit", format=".3f"),
            "message:N",
        ],
    )
    colour = alt.Color(
        "ratio:Q",
        title="of its limit",
        scale=alt.Scale(scheme="blueorange", domain=[0, 2], domainMid=1, clamp=True),
        legend=alt.Legend(format="%"),
    )
    st.altair_chart(
        base.mark_rect(stroke="white").encode(color=colour)
        + base.mark_text(fontSize=11).encode(
            text=alt.Text("value:Q", format=".2f"),
            color=alt.condition(
                "datum.ratio > 0.4 && datum.ratio < 1.6", alt.value("black"), alt.value("white")
            ),
        ),
        alt="A map of drift by feature and window",
    )
    st.caption(
        "The distance between a feature's distribution and that of the training data. Orange is "
        "beyond the limit; where there is no field, nothing was measured."
        + (f" {MOST} of {len(worst)} features, nearest to their limits." * (len(worst) > MOST))
    )

st.subheader("A feature in a window")
windows = found.unique("execution", maintain_order=True).sort("window_end", descending=True)
ends = dict(windows.select("execution", "window_end").iter_rows())
left, right = st.columns(2)
every = found["name"].unique(maintain_order=True).to_list()
names = [*(name for name in worst if name in every), *(n for n in every if n not in worst)]
name = left.selectbox("Feature", names)
execution = right.selectbox("Window", ends, format_func=lambda run: f"to {shown.local(ends[run])}")
checks = found.filter(pl.col("name") == name, pl.col("execution") == execution)
with shown.told():
    now = distributions.of_window(MONITOR, execution)
    try:
        before = distributions.of_training(MONITOR, version)
    except ClientError as error:
        st.warning(shown.plain(f"The training data of version {version} cannot be read: {error}"))
        before = {}
sides = dict(zip(SIDES, (now.get(name), before.get(name)), strict=True))
known = {side: feature for side, feature in sides.items() if feature}
if len(known) < len(SIDES):
    st.info("Its distribution is not known of " + " and ".join(set(SIDES) - known.keys()) + ".")
elif all("numerical_statistics" in each for each in known.values()):
    points = pl.DataFrame([*distributions.steps(known)])
    if points.is_empty():
        st.info("It has no value in either.")
    else:
        st.altair_chart(
            alt.Chart(points)
            .mark_line(interpolate="step-after")
            .encode(
                x=alt.X("value:Q", title=name, scale=alt.Scale(zero=False, nice=False)),
                y=alt.Y("fraction:Q", title="fraction at or below"),
                color=alt.Color(
                    "side:N",
                    title=None,
                    scale=alt.Scale(domain=SIDES, range=[charts.BROKEN, charts.FINE]),
                ),
                strokeDash=alt.StrokeDash("side:N", sort=SIDES, title=None),
            )
            .properties(height=300),
            alt=f"The distribution of {name} in this window and in the training data",
        )
elif all("string_statistics" in each for each in known.values()):
    rows = monitor_page.fractions(*known.values())
    bars = pl.DataFrame(
        [
            {"category": value, "side": side, "fraction": fraction}
            for value, *both in rows[: monitor_page.MOST_VALUES]
            for side, fraction in zip(SIDES, both, strict=True)
        ]
    )
    st.altair_chart(
        alt.Chart(bars)
        .mark_bar()
        .encode(
            y=alt.Y("category:N", title=None, sort=None),
            x=alt.X("fraction:Q", axis=alt.Axis(format="%")),
            yOffset=alt.YOffset("side:N", sort=SIDES),
            color=alt.Color(
                "side:N",
                title=None,
                scale=alt.Scale(domain=SIDES, range=[charts.BROKEN, charts.FINE]),
            ),
        ),
        alt=f"The categories of {name} in this window and in the training data",
    )
    if len(rows) > monitor_page.MOST_VALUES:
        st.caption(f"The {monitor_page.MOST_VALUES} of {len(rows)} that differ most.")
else:
    st.info("It was a number in one of them, and text in the other.")
moved = found.filter(pl.col("name") == name, pl.col("kind") == DRIFT)
if moved["value"].count() > 1:
    st.altair_chart(charts.trend(moved), alt=f"The drift of {name} from window to window")
    st.caption("The distance from window to window, and its limit, the dashed line.")
st.dataframe(
    checks.select("kind", "value", "threshold", "violated", "message"),
    hide_index=True,
    column_config={
        "kind": "Check",
        "value": st.column_config.NumberColumn("Value", format="%.4g"),
        "threshold": st.column_config.NumberColumn("Limit", format="%.4g"),
        "violated": "Violated",
        "message": "In words",
    },
)
