"""Why an answer is what it is, as a chart."""

from collections.abc import Mapping

import altair as alt
import polars as pl

from dashboard.charts import BROKEN, FINE

MOST = 15  # features that have a bar of their own, those that contribute most
UP, DOWN = "raises the score", "lowers the score"


def drawn(contributions: Mapping[str, float]) -> alt.Chart:
    """A bar for what each feature adds to the raw score, the longest first.

    Args:
        contributions: Of each feature.
    """
    rows = bars(contributions)
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            y=alt.Y("feature:N", title=None, sort=rows["feature"].to_list()),
            x=alt.X("contribution:Q", title="contribution to the raw score"),
            color=alt.Color(
                "effect:N", title=None, scale=alt.Scale(domain=[UP, DOWN], range=[BROKEN, FINE])
            ),
            tooltip=["feature:N", "effect:N", alt.Tooltip("contribution:Q", format=".4g")],
        )
    )
    return chart


def bars(contributions: Mapping[str, float]) -> pl.DataFrame:
    """What is drawn: `feature`, `contribution` and `effect`; many small ones are one, the last."""
    ordered = sorted(contributions.items(), key=lambda one: -abs(one[1]))
    shown, rest = ordered[:MOST], ordered[MOST:]
    if rest:
        shown.append((f"{len(rest)} others", sum(value for _, value in rest)))
    rows = [(name, value, UP if value >= 0 else DOWN) for name, value in shown]
    return pl.DataFrame(rows, ["feature", "contribution", "effect"], orient="row")
