"""Quality: metrics from window to window, with their intervals and limits."""

import polars as pl
import streamlit as st

from dashboard import charts, shown

MONITOR = "model_quality"

found = shown.measured(MONITOR, "It takes labels: `uv run ops labels FILE` brings them.")
metrics = found["name"].unique(maintain_order=True).to_list()
chosen = st.pills("Metrics", metrics, selection_mode="multi", default=metrics)
columns = st.columns(2)
for place, name in enumerate(chosen):
    with columns[place % 2].container(border=True):
        st.markdown(f"**{shown.plain(name)}**")
        st.altair_chart(charts.trend(found.filter(name=name)), alt=f"{name} from window to window")
st.caption(
    "A point is a window, with its 95 % interval; an orange triangle violates the limit, the "
    "dashed line. A line joins the windows of one version."
)

st.subheader("The last window")
last = found.filter(pl.col("window_end") == pl.col("window_end").max())
st.dataframe(
    last.select(
        "name", "model_version", "value", "low", "high", "threshold", "violated", "message"
    ),
    hide_index=True,
    column_config={
        "name": "Metric",
        "model_version": st.column_config.NumberColumn("Version", format="%d"),
        "value": st.column_config.NumberColumn("Value", format="%.3f"),
        "low": st.column_config.NumberColumn("from", format="%.3f", help="95 % interval"),
        "high": st.column_config.NumberColumn("to", format="%.3f", help="95 % interval"),
        "threshold": st.column_config.NumberColumn("Limit", format="%.3f"),
        "violated": "Violated",
        "message": "In words",
    },
)
