"""Models: the version that serves beside another one, and the decision."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboard import charts, effect, registry, shown
from lambdas import metrics
from ops import OpsError, models, reports
from ops.models import Version
from usecase import config

person = shown.viewer()
if done := st.session_state.pop("done", None):
    st.success(shown.plain(done))
with shown.told():
    versions = registry.versions()
    champion = registry.serving()
if not versions:
    st.info("No version is registered yet: `uv run ops train` trains one.")
    st.stop()
metric = config.load().approval.metric


def summary(version: Version) -> dict[str, Any]:
    """A row of the table of versions."""
    serves = champion is not None and version.arn == champion.arn
    return {
        "Version": version.number,
        "State": "serves" if serves else version.approval.replace("PendingManual", "waits for "),
        "Registered": shown.local(version.created),
        "Started by": version.trigger or None,
        "Commit": models.short(version.commit) or None,
        metric: version.metrics.get(metric),
        "Remarks": models.remarks(version) or None,
    }


def measures(version: Version) -> Mapping[str, Mapping[str, float]]:
    """The metrics of a version, each with its interval where that was kept."""
    kept = registry.evaluation(version.evaluation).get("metrics", {})
    return {name: {"value": value, **kept.get(name, {})} for name, value in version.metrics.items()}


st.dataframe(
    pl.DataFrame([summary(version) for version in versions], infer_schema_length=None),
    hide_index=True,
    height="content",
    placeholder="",
    column_config={metric: st.column_config.NumberColumn(format="%.3f")},
)
if len(versions) == registry.MOST:
    st.caption(f"The newest {registry.MOST} versions; `uv run ops models list` has all.")

others = [version for version in versions if champion is None or version.arn != champion.arn]
if not others:
    st.info("There is no other version to compare with the one that serves.")
    st.stop()
others.sort(key=lambda version: (version.approval != registry.PENDING, -version.number))
# The mail that tells of a version asks for it.
numbers = [str(version.number) for version in others]
asked = st.query_params.get("version")
challenger = st.selectbox(
    "Challenger",
    others,
    index=numbers.index(asked) if asked in numbers else 0,
    format_func=lambda v: f"Version {v.number}, {v.approval}",
)
sides = [version for version in (champion, challenger) if version]
with shown.told():
    measured = {version.number: measures(version) for version in sides}
    evaluations = {version.number: registry.evaluation(version.evaluation) for version in sides}
    reasons = {version.number: registry.said(version.arn) for version in sides}

for column, version in zip(st.columns(len(sides)), sides, strict=True):
    with column.container(border=True):
        role = "Champion" if version is champion else "Challenger"
        st.markdown(f"**{role}: version {version.number}**")
        data = evaluations[version.number].get("data", {})
        lines = {
            name: f"{part['rows']:,} rows, {part['first']} to {part['last']}"
            for name, part in data.items()
        }
        lines |= {"commit": version.commit or "not on record"}
        lines |= {"said": reasons[version.number]} if reasons[version.number] else {}
        for name, text in lines.items():
            st.caption(f"{shown.plain(name)}: {shown.plain(text)}")
        if "Report" in version.properties:
            st.download_button(
                "Report of the evaluation",
                partial(reports.fetch, version),
                file_name=f"version-{version.number}.html",
                mime="text/html",
                icon=":material/description:",
                on_click="ignore",
                key=f"report-{version.number}",
            )

st.subheader("Metrics")
same = st.session_state.get("same", {}) if len(sides) == 2 else {}
pair = tuple(version.number for version in sides)
table = []
for name in challenger.metrics:
    row: dict[str, Any] = {"metric": name}
    if same.get("pair") == pair:
        row |= {
            f"version {number}, same data": found.get(name)
            for number, found in same["found"].items()
        }
    for version in sides:
        entry = measured[version.number].get(name, {})
        row[f"version {version.number}"] = entry.get("value")
        if "low" in entry:
            row[f"95 % interval of {version.number}"] = f"{entry['low']:.3f} to {entry['high']:.3f}"
    table.append(row)
st.dataframe(
    pl.DataFrame(table, infer_schema_length=None),
    hide_index=True,
    height="content",
    placeholder="",
    column_config={
        name: st.column_config.NumberColumn(format="%.3f")
        for row in table
        for name in row
        if name.startswith("version")
    },
)
st.caption("Each version on its own test data, which the other one may have been trained on.")
if len(sides) == 2 and person.may_approve:
    newer, older = sorted(sides, key=lambda version: -version.number)
    if st.button(
        f"Measure both on the test data of version {newer.number}", icon=":material/science:"
    ):
        with shown.told(), st.spinner("A job measures, in minutes …"):
            judged = registry.judge(older, newer, person)
        st.session_state["same"] = {
            "pair": pair,
            "found": {older.number: metrics(judged), newer.number: newer.metrics},
            "statistics": {
                older.number: registry.section(judged),
                newer.number: registry.statistics(newer.evaluation),
            },
        }
        st.rerun()
    with shown.told():
        for line in models.differences(older, newer):
            st.caption(shown.plain(line))

if costs := config.load().costs:
    st.subheader(shown.plain(effect.TITLE))
    with shown.told():
        own = {v.number: registry.statistics(v.evaluation) for v in sides}
    known = {number: effect.estimate(costs, found) for number, found in own.items()}
    data = [("its own test data", known)]
    if same.get("pair") == pair:
        judged_alike = same["statistics"].items()
        alike = {number: effect.estimate(costs, found) for number, found in judged_alike}
        data.append((f"the test data of version {max(alike)}", alike))
    table = [
        {
            "version": number,
            "measured on": name,
            "cost": cost and effect.amount(costs, cost.value),
            "interval": cost and effect.between(costs, cost),
        }
        for name, found in data
        for number, cost in found.items()
    ]
    st.dataframe(
        pl.DataFrame(table, infer_schema_length=None), hide_index=True, placeholder="not on record"
    )
    if len(sides) == 2:
        for name, found in data:
            old, new = (found[version.number] for version in sides)
            if old and new:
                st.caption(
                    shown.plain(
                        f"On {name}, version {challenger.number}: "
                        + effect.against(costs, new, old, alike=found is not known)
                    )
                )

drawings = [
    {
        "chart": chart["title"].partition(",")[0],
        "x": chart["x"],
        "y": chart["y"],
        "version": f"version {number}",
        "line": line["name"],
        "points": line["points"],
    }
    for number, evaluation in evaluations.items()
    for chart in evaluation.get("charts", [])
    for line in chart["lines"]
    if line["points"]
]
if drawings:
    titles = list(dict.fromkeys(chart["chart"] for chart in drawings))
    title = st.selectbox("Chart", titles)
    chosen = [chart for chart in drawings if chart["chart"] == title]
    points = pl.DataFrame(
        [
            {"x": x, "y": y, "version": chart["version"], "line": chart["line"]}
            for chart in chosen
            for x, y in chart["points"]
        ]
    )
    st.altair_chart(charts.lines(points, chosen[0]["x"], chosen[0]["y"], "version"), alt=title)

st.subheader("Decide")
if not person.may_approve:
    st.info("You may look but not decide: that takes the group of approvers.")
    st.stop()
with st.form("decision", border=True):
    reason = st.text_input("Reason", max_chars=900, placeholder="Is kept with your name")
    approve, reject = (
        st.form_submit_button(f"Approve version {challenger.number}", type="primary"),
        st.form_submit_button(f"Reject version {challenger.number}"),
    )
if approve or reject:
    with shown.told():
        decide = registry.approve if approve else registry.reject
        decide(challenger, reason, person)
    became = "approved, and is being deployed" if approve else "rejected"
    st.session_state["done"] = f"Version {challenger.number} is {became}."
    st.rerun()
if champion:
    with st.expander("Go back to the version that served before"), st.form("rollback"):
        why = st.text_input("Reason", max_chars=900, key="why")
        if st.form_submit_button(f"Reject version {champion.number} and go back"):
            try:
                good = registry.roll_back(champion, why, person)
            except OpsError as error:
                st.error(shown.plain(str(error)))
            else:
                st.session_state["done"] = f"Version {good.number} is being deployed again."
                st.rerun()
