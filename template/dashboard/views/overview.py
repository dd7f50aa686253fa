"""Overview: what serves, how it is, what was found, what waits."""

import polars as pl
import streamlit as st

from dashboard import predictions, registry, results, shown, state
from usecase import config
from workflows import names

WORDS = {True: "healthy", False: "unhealthy", None: "changing, or not there yet"}

with shown.told(), st.spinner("Asking AWS …"):
    serving = registry.serving()
    health = state.health()
    alarms = state.alarms()
    versions = registry.versions()
    measured = results.rows()
    newest = predictions.newest()
latest = results.latest(measured)
raised = [alarm for alarm in alarms if alarm.state == "ALARM"]
pending = [version for version in versions if version.approval == registry.PENDING]

for column, (label, value, help_) in zip(
    st.columns(4),
    [
        (
            "Serves",
            f"Version {serving.number}" if serving else "No version",
            f"registered {shown.local(serving.created)}" if serving else "none is approved yet",
        ),
        (
            "Health",
            health.state,
            f"{WORDS[health.well]}, since {shown.local(health.since)}"
            if health.since
            else WORDS[health.well],
        ),
        ("Alarms raised", str(len(raised)), f"of {len(alarms)}"),
        ("Awaiting approval", str(len(pending)), f"of the newest {len(versions)} versions"),
    ],
    strict=True,
):
    with column.container(border=True):
        st.metric(label, value)
        st.caption(shown.plain(help_))
if health.reason:
    st.error(shown.plain(health.reason))
for alarm in raised:
    st.error(
        f"**{shown.plain(alarm.name)}**, since {shown.plain(shown.local(alarm.since))}. "
        f"{shown.plain(alarm.meaning)}",
        icon=":material/notifications_active:",
    )
for version in pending:
    metric = config.load().approval.metric
    known = version.metrics.get(metric)
    value = f"{metric} {'is not on record' if known is None else f'{known:.3f}'}"
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**Version {version.number}**: {shown.plain(value)}, started by "
            f"{shown.plain(version.trigger or 'a person')}, has been waiting since "
            f"{shown.plain(shown.local(version.created))}."
        )
        st.page_link("views/models.py", label="Compare and decide", icon=":material/gavel:")

st.subheader("The last window of each monitor")
for name in names.MONITORS:
    mine = latest.filter(monitor=name)
    if mine.is_empty():
        st.info(f"{shown.monitor(name)} has judged no window yet.")
        continue
    shown.tell_if_stale(name, mine["window_end"][0])
if not latest.is_empty():
    st.dataframe(
        shown.zoned(latest, "window_end").select(
            pl.col("monitor").map_elements(shown.monitor, return_dtype=pl.String),
            "model_version",
            "window_end",
            "violations",
            "problems",
            "judged",
            "traffic",
            "said",
        ),
        hide_index=True,
        column_config={
            "monitor": "Monitor",
            "model_version": st.column_config.NumberColumn("Version", format="%d"),
            "window_end": st.column_config.DatetimeColumn(
                "Window ended", format="YYYY-MM-DD HH:mm"
            ),
            "violations": "Violations",
            "problems": "Problems",
            "judged": st.column_config.NumberColumn("Predictions", format="localized"),
            "traffic": st.column_config.BarChartColumn("of each window", y_min=0),
            "said": st.column_config.TextColumn("In words", width="large"),
        },
    )
st.caption(
    shown.plain(
        f"Newest predictions in the table: written {shown.local(newest)}."
        if newest
        else "There are no predictions in the table yet."
    )
)
