"""Drivers: whether the same features still decide."""

import altair as alt
import polars as pl
import streamlit as st

from dashboard import charts, drivers, shown

SIDES = ("this window", "evaluation")
MOST = 25  # features, those that contribute most

found = shown.measured(drivers.MONITOR)
left, middle, right = st.columns(3)
version = left.selectbox(
    "Version",
    found["model_version"].unique().sort(descending=True).to_list(),
    format_func=lambda number: f"Version {number}",
)
found = found.filter(model_version=version)
ends = dict(found.sort("window_end", descending=True).select("execution", "window_end").iter_rows())
execution = middle.selectbox("Window", ends, format_func=lambda run: f"to {shown.local(ends[run])}")
with shown.told():
    now, before = drivers.of_window(execution), drivers.of_evaluation(version)
labels = [*dict.fromkeys([*now, *before])]
if not labels:
    st.info("What the features contribute is not on record, of this window or the evaluation.")
    st.stop()
label = right.selectbox("Score of", labels)

bars = [
    {"feature": feature, "side": side, "contribution": value}
    for side, known in zip(SIDES, (now, before), strict=True)
    for feature, value in known.get(label, {}).items()
]
table = pl.DataFrame(bars)
most = (
    table.group_by("feature")
    .agg(pl.col("contribution").max())
    .sort("contribution", descending=True)["feature"]
    .to_list()
)
st.altair_chart(
    alt.Chart(table.filter(pl.col("feature").is_in(most[:MOST])))
    .mark_bar()
    .encode(
        y=alt.Y("feature:N", title=None, sort=most[:MOST]),
        x=alt.X("contribution:Q", title="mean absolute contribution to the score (SHAP)"),
        yOffset=alt.YOffset("side:N", sort=SIDES),
        color=alt.Color(
            "side:N",
            title=None,
            scale=alt.Scale(domain=SIDES, range=[charts.BROKEN, charts.FINE]),
        ),
        tooltip=["feature:N", "side:N", alt.Tooltip("contribution:Q", format=".4g")],
    ),
    alt="How much each feature contributes in this window and in the evaluation",
)
if len(most) > MOST:
    st.caption(f"The {MOST} of {len(most)} features that contribute most.")

st.subheader("How well their order agrees with that of the evaluation")
orders = found.filter(pl.col("name") == f"shap of {label}")
if orders.is_empty():
    st.info("It was not measured.")
else:
    st.altair_chart(charts.trend(orders), alt="nDCG from window to window")
    st.caption(
        "nDCG, 1 for the same order. A point is a window, with its 95 % interval; an orange "
        "triangle violates the limit, the dashed line."
    )
for message in found.filter(pl.col("violated"), pl.col("execution") == execution)["message"]:
    st.warning(shown.plain(message))
