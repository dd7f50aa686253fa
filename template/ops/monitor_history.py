"""What the monitors have measured in the last windows, of the table `monitor_results`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
from rich.table import Table
from rich.text import Text

from ops import aws, times
from usecase.monitors import results
from usecase.predictions import parquet
from workflows import keys

WINDOWS = 20  # so many of each monitor are looked at, the newest ones
WORKERS = 8  # so many files are read at the same time
BARS = "▁▂▃▄▅▆▇█"
CHECK = ("monitor", "model_version", "name", "kind")
"""The columns that tell one check from another."""


def read() -> pl.DataFrame:
    """The rows of the last windows of each monitor, in the order of time."""
    files: dict[str, list[tuple[str, str]]] = {}
    for key in aws.keys(keys.RESULTS):
        monitor, _, _, end = Path(key).stem.split("-")
        files.setdefault(monitor, []).append((end, key))
    newest = [key for found in files.values() for _, key in sorted(found)[-WINDOWS:]]
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = [pl.read_parquet(content) for content in pool.map(aws.read, newest)]
    table = pl.concat([parquet.nothing(results.COLUMNS), *parts], how="diagonal")
    return table.sort("window_end", "monitor", maintain_order=True)


def table(rows: pl.DataFrame) -> Table:
    """A line for each check, with what it has measured from window to window.

    Checks that have always measured 0, or always 1, and were never broken are counted alone.

    Args:
        rows: What `read` returned.
    """
    lines, unremarkable = [], 0
    for part in rows.partition_by(CHECK, maintain_order=True):
        first, newest = part.row(0, named=True), part.row(-1, named=True)
        values, broken = part["value"].to_list(), int(part["violated"].sum())
        if first["name"] and not broken and {*values} in ({0.0}, {1.0}):
            unremarkable += 1
            continue
        lines.append(
            (
                first["monitor"],
                str(first["model_version"]),
                first["name"] or "-",
                first["kind"],
                _shown(newest["value"]) or newest["message"],
                _shown(newest["threshold"]),
                f"{broken} of {part.height}" if first["name"] else "",
                Text(sparkline(values), style="bold red" if newest["violated"] else ""),
            )
        )
    ends = f"{times.show(rows['window_end'][0])} to {times.show(rows['window_end'][-1])}"
    left_out = f"Not shown: {unremarkable} that have always measured 0, or always 1"
    found = Table(
        *("monitor", "version", "feature or metric", "check", "last", "limit", "broken in"),
        "windows",
        title=f"The last windows, which ended from {ends}",
        caption=left_out if unremarkable else None,
    )
    for line in lines:
        found.add_row(*line)
    return found


def sparkline(values: Sequence[float | None]) -> str:
    """Values as bars, from the least to the greatest; a point for one that is not known."""
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    bars = (value if value is None else BARS[round((value - low) * scale)] for value in values)
    return "".join(bar or "·" for bar in bars)


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
