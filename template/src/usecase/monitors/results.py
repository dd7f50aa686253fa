"""The table `monitor_results`: what each monitor has measured in each window, as Parquet.

    monitoring/results/day=2026-01-31/<monitor>-<version>-<start>-<end>.parquet

The day is that of the window's end, UTC. A file holds all there is of a monitor, a version and a
window, so that a rerun replaces it as a whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from usecase import container
from usecase.predictions import Window, parquet

FOLDER = "results"
"""The folder of the table among those of the monitors."""

#: What a row is that tells of the whole window: how much was judged, a problem, why nothing was.
JUDGED, PROBLEM, NOTHING, FAILED = "judged", "problem", "nothing_to_judge", "failed"

COLUMNS: Mapping[str, type] = {
    "monitor": str,
    "model_version": int,
    "window_start": datetime,
    "window_end": datetime,
    "name": str,
    "kind": str,
    "value": float,
    "threshold": float,
    "low": float,
    "high": float,
    "violated": bool,
    "message": str,
    "execution": str,
}
"""The columns and their types, but for the day, which is the folder's."""


@dataclass(frozen=True)
class Measurement:
    """What was measured by one check, whether that is as it should be or not.

    Attributes:
        name: The feature or the metric; `None` of what tells of the whole window.
        kind: The check, as constraint_violations.json calls it.
        value: What was measured; `None` where it is not defined.
        threshold: What the value may be, at most or at least; `None` where nothing limits it.
        low: The lower end of the 95 % interval of the value.
        high: The upper end.
        violated: Whether it breaks its constraint.
        message: What there is to say of it.
    """

    name: str | None
    kind: str
    value: float | None = None
    threshold: float | None = None
    low: float | None = None
    high: float | None = None
    violated: bool = False
    message: str = ""


def complete(
    measured: Sequence[Measurement],
    violations: Sequence[Mapping[str, Any]],
    whole: Sequence[Measurement],
) -> list[Measurement]:
    """All that there is of a window.

    Args:
        measured: What a monitor has measured.
        violations: The entries of constraint_violations.json; of those that are not among what was
            measured, the value is not known.
        whole: What tells of the whole window.
    """
    known = {(each.name, each.kind) for each in measured if each.violated}
    others = (
        Measurement(
            name_of(violation),
            violation["constraint_check_type"],
            violated=True,
            message=violation["description"],
        )
        for violation in violations
    )
    return [*measured, *(each for each in others if (each.name, each.kind) not in known), *whole]


def name_of(violation: Mapping[str, Any]) -> str:
    """What an entry of constraint_violations.json is about: a feature or a metric, and of whom."""
    name: str = violation.get("feature_name") or violation["metric_name"]
    if "facet" in violation:
        return f"{name} of {violation['facet']} {violation['facet_value']}"
    return f"{name} of {violation['label']}" if "label" in violation else name


def write(
    folder: Path, monitor: str, window: Window, execution: str, measured: Sequence[Measurement]
) -> None:
    """Write what was measured in a window, into the table's folder of its day.

    Args:
        folder: The table's.
        monitor: The monitor.
        window: The version, and the window, which has a begin and an end.
        execution: The id of the workflow's execution.
        measured: A row each.
    """
    start, end = (edge and edge.astimezone(UTC) for edge in (window.start, window.end))
    same = {
        "monitor": monitor,
        "model_version": window.version,
        "window_start": start,
        "window_end": end,
        "execution": execution,
    }
    rows = pl.DataFrame([same | asdict(each) for each in measured], infer_schema_length=None)
    name = f"{monitor}-{window.version}-{start:%Y%m%dT%H%M%SZ}-{end:%Y%m%dT%H%M%SZ}.parquet"
    file = folder / f"{end:{parquet.DAY_FOLDER}}" / name
    container.write(file, parquet.typed(rows, COLUMNS).write_parquet)
