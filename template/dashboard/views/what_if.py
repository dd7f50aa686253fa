"""What if: ask the version that serves, and see how its answer moves."""

from datetime import UTC, datetime
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboard import registry, shown, what_if
from dashboard.what_if import Field

STEPS = 21  # values of a number that are tried

with shown.told():
    version = registry.serving()
if version is None:
    st.info("No version serves, so nothing can be asked: approve one first.")
    st.stop()
with shown.told():
    fields = what_if.fields(version.number)
st.caption(
    f"Asks version {version.number} by the endpoint, as callers do. These requests are logged, "
    f"stored and monitored like all others; their ids begin with {what_if.PREFIX}."
)


def entered(field: Field) -> Any:  # noqa: ANN401 - a value of the field's type
    """A widget for a field; what was entered, as a request has it."""
    label = f"{field.name}{' *' if field.required else ''}"
    if field.kind == "number":
        known = field.low is not None and field.high is not None
        span = f"training data: {field.low:g} to {field.high:g}" if known else None
        middle = field.usual if isinstance(field.usual, float) else None
        return st.number_input(label, value=middle, help=span, format="%g", placeholder="unknown")
    if field.kind == "datetime":
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None)
        moment = st.datetime_input(label, value=now, help="UTC")
        return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    usual = field.usual if isinstance(field.usual, str) else None
    if field.choices:
        place = field.choices.index(usual) if usual and usual in field.choices else None
        return st.selectbox(
            label, field.choices, index=place, accept_new_options=True, placeholder="unknown"
        )
    return st.text_input(label, value=usual, placeholder="unknown") or None


with st.form("record"):
    columns = st.columns(3)
    record = {}
    for number, field in enumerate(fields):
        with columns[number % 3]:
            record[field.name] = entered(field)
    asked = st.form_submit_button("Predict", type="primary", icon=":material/play_arrow:")
if asked:
    missing = [field.name for field in fields if field.required and record[field.name] is None]
    if missing:
        st.error(shown.plain(f"A value is needed for {', '.join(missing)}."))
        st.stop()
    with shown.told(), st.spinner("Asking …"):
        st.session_state["asked"] = record, what_if.ask([record])[0]
if "asked" not in st.session_state:
    st.stop()
record, answer = st.session_state["asked"]
for column, (name, value) in zip(st.columns(len(answer)), answer.items(), strict=True):
    column.metric(name, f"{value:.4g}" if isinstance(value, float) else str(value), border=True)

st.subheader("How the answer moves")
movable = {
    field.name: field
    for field in fields
    if field.choices or (field.low is not None and field.high != field.low)
}
if not movable:
    st.info("The ranges of the training data are not on record.")
    st.stop()
chosen = movable[st.selectbox("Change only", movable)]
if st.button("Try its range", help=f"One request with up to {STEPS} records"):
    low, high = chosen.low or 0.0, chosen.high or 0.0
    values: list[Any] = [*chosen.choices[:STEPS]]
    if chosen.kind == "number":
        values = [low + (high - low) * step / (STEPS - 1) for step in range(STEPS)]
    with shown.told(), st.spinner("Asking …"):
        answers = what_if.ask([{**record, chosen.name: value} for value in values])
    points = [
        {"tried": value, "answer": name, "value": number}
        for value, answer in zip(values, answers, strict=True)
        for name, number in answer.items()
        if isinstance(number, float)
    ]
    base = alt.Chart(pl.DataFrame(points)).encode(
        y=alt.Y("value:Q", title=None),
        color=alt.Color("answer:N", title=None),
        tooltip=["tried", "answer:N", alt.Tooltip("value:Q", format=".4g")],
    )
    if chosen.kind == "number":
        drawn = base.mark_line(point=True).encode(x=alt.X("tried:Q", title=chosen.name))
    else:
        drawn = base.mark_bar().encode(
            x=alt.X("tried:N", title=chosen.name, sort="-y"), xOffset="answer:N"
        )
    st.altair_chart(drawn, alt=f"The answer by {chosen.name}")
    if len(chosen.choices) > STEPS:
        st.caption(f"The first {STEPS} of {len(chosen.choices)} categories.")
