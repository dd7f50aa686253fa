"""The report of a run of the monitors: one page, without network or scripts, for any browser."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from botocore.exceptions import ClientError

from ops import OpsError, aws, times
from ops.monitor_history import CHECK
from usecase import container
from usecase.monitors import MONITORS
from usecase.page import (
    Html,
    bounds,
    chart,
    interval,
    joined,
    note,
    number,
    numbers,
    table,
    tag,
    whisker,
    whole_page,
)
from workflows import keys, names

#: Values of a category that are compared, the most frequent ones of both sides.
MOST_VALUES = 12

#: All that the page says, apart from what the monitors have written.
TEXTS = {
    "title": "Monitoring of version {version}",
    "window": "{monitor}: {start} to {end}, {judged} predictions judged, {violations} violations.",
    "found": "What was found",
    "nothing": "Nothing was found.",
    "intervals": "Metrics with their intervals",
    "intervals_note": "The point is the value of the window with its 95 % interval, the dashed "
    "line the limit. An interval that reaches across it does not tell on which side the value is.",
    "trend": "From window to window",
    "trend_note": "The windows of this version up to this one, of what has changed. The dashed "
    "line is the limit.",
    "trend_across": "days before the end of this window",
    "numeric": "Distributions of numbers",
    "numeric_note": "The fraction of the values that are at most so large. The greatest distance "
    "between the lines is what the check of drift measures, less what chance may bring.",
    "numeric_up": "fraction",
    "categories": "Distributions of categories",
    "categories_more": "The {shown} values that differ most, of {all}.",
    "unknown": "The training data of this version cannot be read: {reason}",
    "measured": "All that was measured",
}
HEADS = {
    "measured": ("monitor", "feature or metric", "check", "value", "limit", "95 % interval", ""),
    "intervals": ("", "check", "value", "limit", "95 % interval", ""),
    "categories": ("value", "this window", "training data", "difference"),
}
TREND_LINES = ("value", "limit")
SIDES = ("this window", "training data")

Rows = Sequence[Mapping[str, Any]]


def write(rows: pl.DataFrame, execution: str | None = None) -> Path:
    """Write the page of a run into `reports/`.

    Args:
        rows: What `monitor_history.read` returned.
        execution: The run; by default the newest one.

    Raises:
        OpsError: When there is no such run.
    """
    if execution is None and rows.is_empty():
        raise OpsError("no run is in the table monitor_results yet; `uv run ops monitor` runs one")
    run = execution or str(rows["execution"][-1])
    found = {
        monitor.name: document
        for monitor in MONITORS
        if (document := documents(monitor.name, run))["coverage"]
    }
    if not found:
        raise OpsError(f"{run}: there is no report of such a run; the mail of an alarm names one")
    path = Path("reports", f"monitoring-{run}.html")
    content = page(found, rows)
    container.write(path, lambda partial: partial.write_text(content, encoding="utf-8"))
    return path


def documents(monitor: str, run: str) -> dict[str, Any]:
    """The files that a monitor has written in a run, by name."""
    folder = f"s3://{aws.bucket()}/{keys.MONITORING}{monitor}/{run}"
    return {
        name: aws.find_json(f"{folder}/{name}.json") or {}
        for name in ("coverage", "results", "statistics", "constraint_violations")
    }


def page(found: Mapping[str, Mapping[str, Any]], rows: pl.DataFrame) -> str:
    """The page.

    Args:
        found: The files that each monitor has written, by name.
        rows: The rows of the table `monitor_results` of this and other windows.
    """
    version = next(iter(found.values()))["coverage"]["version"]
    summary = [
        tag("p", TEXTS["window"].format(**_told(monitor, document)))
        for monitor, document in found.items()
    ]
    every: list[dict[str, Any]] = [
        row | {"monitor": monitor}
        for monitor, document in found.items()
        for row in document["results"].get("results", [])
    ]
    sections = [(TEXTS["found"], violations(found, every))]
    if spans := [row for row in every if row["low"] is not None]:
        sections.append((TEXTS["intervals"], intervals(spans)))
    ends = {monitor: document["coverage"]["end"] for monitor, document in found.items()}
    if drawn := [*trends(rows.filter(model_version=int(version)), ends)]:
        content = joined([tag("div", *drawn, class_="charts"), note(TEXTS["trend_note"])])
        sections.append((TEXTS["trend"], content))
    for monitor, document in found.items():
        if "features" in document["statistics"]:
            sections += distributions(monitor, version, document["statistics"]["features"])
    whole = [_line(row) for row in every if row["name"]]
    sections.append((TEXTS["measured"], table(HEADS["measured"], whole)))
    return whole_page(TEXTS["title"].format(version=version), joined(summary), sections)


def _told(monitor: str, document: Mapping[str, Any]) -> dict[str, Any]:
    coverage = document["coverage"]
    return {
        "monitor": monitor,
        "start": times.show(datetime.fromisoformat(coverage["start"])),
        "end": times.show(datetime.fromisoformat(coverage["end"])),
        "judged": number(coverage["judged"]),
        "violations": len(document["constraint_violations"].get("violations", [])),
    }


def violations(found: Mapping[str, Mapping[str, Any]], rows: Rows) -> Html:
    """What broke a constraint, and what kept the monitors from judging well."""
    lines = [_line(row) for row in rows if row["violated"]]
    problems = [
        tag("p", f"{monitor}: {problem}")
        for monitor, document in found.items()
        for problem in document["coverage"]["problems"]
    ]
    listed = table(HEADS["measured"], lines) if lines else note(TEXTS["nothing"])
    return joined([listed, *problems])


def _line(row: Mapping[str, Any]) -> list[object]:
    """A row of the table `monitor_results` as one of the page."""
    known = (row["value"], row["threshold"])
    value, limit = ("" if each is None else number(each) for each in known)
    span = interval(row) if row["low"] is not None else ""
    return [row["monitor"], row["name"], row["kind"], value, limit, span, row["message"]]


def intervals(rows: Rows) -> Html:
    """Values with their intervals and limits, all on one scale by monitor."""
    lines: list[list[object]] = []
    for row in rows:
        known = [row["threshold"]] if row["threshold"] is not None else []
        scale = bounds([*numbers(row), *known])
        lines.append(
            [
                row["name"],
                row["kind"],
                number(row["value"]),
                number(row["threshold"]) if known else "",
                interval(row),
                whisker(row, scale, row["threshold"]),
            ]
        )
    return joined([table(HEADS["intervals"], lines), note(TEXTS["intervals_note"])])


def trends(rows: pl.DataFrame, ends: Mapping[str, str]) -> Iterator[Html]:
    """A chart of each check whose value has changed, up to the window.

    Args:
        rows: Rows of the table `monitor_results` of a version.
        ends: The end of the window, by monitor.
    """
    for part in rows.filter(pl.col("name").is_not_null()).partition_by(CHECK, maintain_order=True):
        first = part.row(0, named=True)
        if first["monitor"] not in ends:
            continue
        end = datetime.fromisoformat(ends[first["monitor"]]).astimezone(UTC).replace(tzinfo=None)
        known = part.filter(pl.col("value").is_not_null(), pl.col("window_end") <= end)
        if known["value"].n_unique() < 2:
            continue
        across = [(time - end).total_seconds() / 86400 for time in known["window_end"]]
        lines = [
            {"name": name, "points": [*zip(across, known[column], strict=True)], "marked": marked}
            for name, column, marked in zip(
                TREND_LINES, ("value", "threshold"), (True, False), strict=True
            )
            if known[column].null_count() == 0
        ]
        yield chart(
            {
                "title": f"{first['name']}: {first['kind']}",
                "x": TEXTS["trend_across"],
                "y": "",
                "lines": lines,
            }
        )


def distributions(monitor: str, version: str, now: Rows) -> Iterator[tuple[str, Html]]:
    """The distributions of features beside those of the training data.

    Args:
        monitor: Its baseline has them, in Model Monitor's format.
        version: The version.
        now: The features of the window's statistics.
    """
    try:
        before = {feature["name"]: feature for feature in baseline(monitor, version)["features"]}
    except (ClientError, KeyError) as error:
        yield TEXTS["numeric"], note(TEXTS["unknown"].format(reason=error))
        return
    pairs = [(feature, before[feature["name"]]) for feature in now if feature["name"] in before]
    charts, tables = [], []
    for pair in pairs:
        name = pair[0]["name"]
        if all("distribution" in each.get("numerical_statistics", {}) for each in pair):
            charts.append(cumulative(name, *pair))
        elif all("string_statistics" in each for each in pair):
            tables.append(joined([tag("h3", name), categories(*pair)]))
    if charts:
        drawn = tag("div", *charts, class_="charts")
        yield TEXTS["numeric"], joined([drawn, note(TEXTS["numeric_note"])])
    if tables:
        yield TEXTS["categories"], joined(tables)


def baseline(monitor: str, version: str) -> Any:  # noqa: ANN401 - a JSON document
    """The statistics of the training data of a version."""
    group = names.current().model_package_group
    arn = aws.arn("sagemaker", f"model-package/{group}/{version}")
    package: Any = aws.sagemaker().describe_model_package(ModelPackageName=arn)
    registered = next(each.registered for each in MONITORS if each.name == monitor)
    return aws.read_json(package["DriftCheckBaselines"][registered]["Statistics"]["S3Uri"])


def cumulative(name: str, *features: Mapping[str, Any]) -> Html:
    """The distribution functions of a number in the window and in the training data."""
    lines = [
        {"name": label, "points": steps(feature), "marked": False}
        for label, feature in zip(SIDES, features, strict=True)
    ]
    return chart({"title": name, "x": "", "y": TEXTS["numeric_up"], "lines": lines})


def steps(feature: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Values of a number, up to 101 of them, and which fraction of all is at most so large."""
    levels = feature["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"]
    values = sorted(value for level in levels for value in level)
    places = sorted({round(place * (len(values) - 1) / 100) for place in range(101)})
    return [(values[place], (place + 1) / len(values)) for place in places]


def categories(*features: Mapping[str, Any]) -> Html:
    """The fractions of the values of a category in the window and in the training data."""
    rows = fractions(*features)
    lines = [
        (value, f"{new:.1%}", f"{old:.1%}", f"{new - old:+.1%}")
        for value, new, old in rows[:MOST_VALUES]
    ]
    listed = table(HEADS["categories"], lines)
    if len(rows) <= MOST_VALUES:
        return listed
    return joined([listed, note(TEXTS["categories_more"].format(shown=MOST_VALUES, all=len(rows)))])


def fractions(*features: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The values of a category, those that differ most first, and how frequent each is.

    Args:
        features: The statistics of the window, and those of the training data.

    Returns:
        Each value, and its fraction in the one and in the other.
    """
    sides = []
    for feature in features:
        known = feature["string_statistics"]
        buckets = known["distribution"]["categorical"]["buckets"]
        present = known["common"]["num_present"] or 1
        sides.append({bucket["value"]: bucket["count"] / present for bucket in buckets})
    now, before = sides
    rows = [(value, now.get(value, 0.0), before.get(value, 0.0)) for value in {**now, **before}]
    return sorted(rows, key=lambda row: -abs(row[1] - row[2]))
