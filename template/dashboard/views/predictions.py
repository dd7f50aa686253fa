"""Predictions: filter them, follow one record, take them along."""

from datetime import timedelta

import polars as pl
import streamlit as st

from dashboard import predictions, shown
from ops import aws
from usecase.predictions.parquet import ID, TIME, VERSION

SHOWN = 1000  # rows; the export has all

with shown.told():
    last = predictions.last_day()
if last is None:
    st.info("There are no predictions yet. What is predicted comes into the table by the monitors.")
    st.stop()
left, middle, right = st.columns(3)
days = left.date_input(
    "Days, UTC", (last - timedelta(days=6), last), max_value=max(last, aws.utc_now().date())
)
if not isinstance(days, tuple) or len(days) != 2:
    st.info("Choose the last day, too.")
    st.stop()
with shown.told(), st.spinner("Reading the table …"):
    found = predictions.read(*days)
rows = found.rows
versions = rows[VERSION].drop_nulls().unique().sort(descending=True).to_list()
chosen = middle.multiselect("Versions", versions)
words = right.text_input("Id", placeholder="A part of it")
if chosen:
    rows = rows.filter(pl.col(VERSION).is_in(chosen))
if words:
    rows = rows.filter(pl.col(ID).str.contains(words, literal=True))

if found.left_out:
    st.warning(
        f"The newest {found.files} files of these days were read, {found.left_out} older ones not: "
        "choose fewer days."
    )
if rows.is_empty():
    st.info("No prediction of these days is like this.")
    st.stop()
whole = f"{rows.height:,} predictions"
st.caption(whole if rows.height <= SHOWN else f"{whole}, of which these are the newest {SHOWN:,}")
event = st.dataframe(
    shown.zoned(rows.head(SHOWN), TIME),
    hide_index=True,
    on_select="rerun",
    selection_mode="single-row",
    column_config={
        TIME: st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
        VERSION: st.column_config.NumberColumn("version", format="%d"),
    },
)
st.download_button(
    "Export as CSV",
    lambda: predictions.csv(rows),
    file_name=f"predictions-{days[0]}-{days[1]}.csv",
    mime="text/csv",
    icon=":material/download:",
    on_click="ignore",
)
st.caption(
    "Times in the export are UTC. What a spreadsheet would take for a formula has an ' before it."
)

st.subheader("One record")
selected = event.selection.rows
record = st.text_input(
    "Its id",
    value=rows[ID][selected[0]] if selected else "",
    placeholder="Choose a row, or type it",
)
if record:
    history = found.rows.filter(pl.col(ID) == record)
    if history.is_empty():
        st.info("These days have no prediction of this id.")
    else:
        st.caption(f"Predictions of these days, the newest first: {history.height}")
        turned = shown.zoned(history, TIME).with_columns(pl.col(TIME).dt.to_string("%F %T"))
        st.dataframe(
            turned.transpose(
                include_header=True,
                header_name="field",
                column_names=[f"prediction {n}" for n in range(history.height, 0, -1)],
            ).cast(pl.String),
            hide_index=True,
        )
