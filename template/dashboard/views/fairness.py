"""Fairness: whether groups of records are treated alike."""

import altair as alt
import polars as pl
import streamlit as st

from dashboard import charts, shown

MONITOR = "bias"
RATIO = "DI"  # is between its limit and the inverse of that; all others are near 0
MOST = 30  # groups in the map

found = shown.measured(MONITOR)
left, right = st.columns(2)
version = left.selectbox(
    "Version",
    found["model_version"].unique().sort(descending=True).to_list(),
    format_func=lambda number: f"Version {number}",
)
limit = pl.col("threshold")
found = found.filter(model_version=version).with_columns(
    pl.col("name").str.splitn(" of ", 2).struct.rename_fields(["metric", "group"]).struct.unnest(),
    above=pl.when(pl.col("name").str.starts_with(f"{RATIO} ")).then(1 / limit).otherwise(limit),
    below=pl.when(pl.col("name").str.starts_with(f"{RATIO} ")).then(limit).otherwise(-limit),
)
ends = found["window_end"].unique().sort(descending=True).to_list()
end = right.selectbox("Window", ends, format_func=lambda moment: f"to {shown.local(moment)}")
window = found.filter(pl.col("window_end") == end)

st.subheader("Every group in this window")
groups = window["group"].unique(maintain_order=True).to_list()
worst = (
    window.group_by("group")
    .agg(pl.col("violated").sum())
    .sort("violated", "group", descending=[True, False])["group"]
    .to_list()
)
base = alt.Chart(window.filter(pl.col("group").is_in(worst[:MOST]))).encode(
    x=alt.X("metric:N", title=None, sort=None, axis=alt.Axis(orient="top", labelAngle=0)),
    y=alt.Y("group:N", title=None, sort=worst[:MOST]),
    tooltip=[
        "group:N",
        "metric:N",
        *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ("value", "low", "high", "below", "above")),
        "message:N",
    ],
)
st.altair_chart(
    base.mark_rect(stroke="white").encode(
        color=alt.Color(
            "violated:N",
            title="violated",
            scale=alt.Scale(domain=[False, True], range=[charts.FINE, charts.BROKEN]),
        )
    )
    + base.mark_text(color="white").encode(text=alt.Text("value:Q", format=".2f")),
    alt="The bias metrics of each group",
)
st.caption(
    "Each group against all others. DPPL: predicted as positive less often. DI: the ratio of these "
    "fractions. RD, AD, SD, …: differences in recall, accuracy, specificity. 0 is alike, of DI 1. "
    "docs/monitoring.md tells how each is defined."
    + (f" {MOST} of {len(groups)} groups are shown." if len(groups) > MOST else "")
)

st.subheader("A group from window to window")
group = st.selectbox("Group", worst)
mine = found.filter(group=group)
columns = st.columns(2)
for place, metric in enumerate(mine["metric"].unique(maintain_order=True)):
    with columns[place % 2].container(border=True):
        st.markdown(f"**{shown.plain(metric)}**")
        st.altair_chart(
            charts.trend(mine.filter(metric=metric), limits=("below", "above")),
            alt=f"{metric} of {group} from window to window",
        )
st.caption(
    "A point is a window, with its 95 % interval; an orange triangle violates the limits, the "
    "dashed lines. Where the interval reaches across a limit, a value beyond it may be chance."
)
