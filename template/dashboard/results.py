"""What the monitors have measured, of the table `monitor_results` and of their reports."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice

import polars as pl

from dashboard.remembered import remembered
from lambdas import schedule
from ops import monitor_history
from usecase import config
from usecase.monitors import results

MISSED = 2
"""When so many runs should have come since the last one, what is shown is stale."""
WINDOW = ("monitor", "model_version", "window_start", "window_end")


@remembered(60)
def rows() -> pl.DataFrame:
    """The rows of the last windows of each monitor, in the order of time."""
    return monitor_history.read()


def windows(measured: pl.DataFrame) -> pl.DataFrame:
    """The windows, in the order of time.

    Args:
        measured: What `rows` returned.

    Returns:
        A row for each monitor, version and window: how many predictions were `judged`, null where
        it could not judge; how many `violations`, null likewise, and `problems`; what there is to
        say (`said`); the `execution`.
    """
    whole = pl.col("name").is_null()
    found = measured.group_by(WINDOW, maintain_order=True).agg(
        judged=pl.col("value").filter(pl.col("kind") == results.JUDGED).first(),
        violations=pl.col("violated").sum(),
        problems=pl.col("kind").is_in([results.PROBLEM, results.FAILED]).sum(),
        said=pl.col("message").filter(whole & (pl.col("message") != "")).str.join("; "),
        execution=pl.col("execution").first(),
    )
    return found.with_columns(
        pl.when(pl.col("judged").is_not_null()).then("violations").alias("violations")
    )


def latest(measured: pl.DataFrame) -> pl.DataFrame:
    """The last window of each monitor and version, with `judged` of the windows before it."""
    return (
        windows(measured)
        .group_by("monitor", "model_version", maintain_order=True)
        .agg(
            pl.col("judged").alias("traffic"), pl.all().exclude("judged").last(), pl.last("judged")
        )
        .sort("window_end", descending=True, maintain_order=True)
    )


def overdue(last: datetime, now: datetime, delay_hours: float) -> datetime | None:
    """When runs should have come that have not, the first of them; `None` if all is well.

    Args:
        last: The end of the last window, UTC.
        now: The time now, UTC.
        delay_hours: So long after its end a window is judged.
    """
    ended = last.replace(tzinfo=UTC) + timedelta(hours=delay_hours)
    due = [*islice(schedule.times(asdict(config.load().monitors.schedule), ended), MISSED)]
    return due[0] if due[-1] < now else None


def of(measured: pl.DataFrame, monitor: str, version: int | None = None) -> pl.DataFrame:
    """What a monitor has measured of features, metrics and groups, of one version or all."""
    found = measured.filter(pl.col("monitor") == monitor, pl.col("name").is_not_null())
    return found if version is None else found.filter(model_version=version)
