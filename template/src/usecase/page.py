"""report.html: an evaluation as one page, of evaluation.json.

It needs no network and no scripts. Whatever comes from data is escaped: all HTML is made by `tag`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

#: Colours that people with any colour vision tell apart (Okabe and Ito 2008), also by their dashes.
STYLE = """
:root { color-scheme: light dark; --l0: #0072b2; --l1: #767676; --l2: #d55e00; --l3: #009e73;
  --l4: #cc79a7; --line: #8886; --heat: 0, 114, 178 }
@media (prefers-color-scheme: dark) { :root { --l0: #56b4e9; --l1: #a0a0a0; --l2: #e69f00;
  --heat: 86, 180, 233 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin-top: 2.5rem; overflow-wrap: anywhere }
.wide { overflow-x: auto } .charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap } th:first-child { text-align: left; font-weight: 600 }
td.heat { text-align: center; padding: .2rem .5rem } figure { margin: 0; min-width: 0 }
figcaption { font-weight: 600; overflow-wrap: anywhere }
.key { font-size: .85rem; margin-right: 1em; white-space: nowrap }
.key svg { width: 2em; height: .6em; margin-right: .4em }
svg { fill: currentColor; font: 11px system-ui, sans-serif } .chart { width: 100% }
.whisker { width: 140px }
path { fill: none; stroke-width: 2 } .axis { stroke: var(--line); stroke-width: 1 }
.l0 { stroke: var(--l0) } .l1 { stroke: var(--l1); stroke-dasharray: 5 4 }
.l2 { stroke: var(--l2); stroke-dasharray: 9 3 } .l3 { stroke: var(--l3); stroke-dasharray: 2 3 }
.l4 { stroke: var(--l4); stroke-dasharray: 9 3 2 3 } circle { fill: var(--l0); stroke: none }
.note { opacity: .75; font-size: .9rem }
@media (max-width: 40rem) { body { font-size: 14px } th, td { padding-right: .4rem } }
"""
LEFT, RIGHT, TOP, FLOOR = 50, 320, 8, 210  # the corners of a chart within its axes


class Html(str):
    """Text that is HTML; any other text is escaped."""

    __slots__ = ()


def tag(name: str, *content: object, **attributes: object) -> Html:
    """An element; `class_` is the attribute class, of names `_` stands for `-`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{given}>{joined(content)}</{name}>")


def joined(content: Iterable[object]) -> Html:
    """One after the other, escaped where it is not HTML."""
    return Html("".join(each if isinstance(each, Html) else escape(str(each)) for each in content))


def page(document: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: What `report.document` returned.
        statistics: What `metrics.statistics` returned, which has a confusion matrix where there are
            classes.
    """
    title = f"Evaluation: {document['target']['column']}"
    drawn = tag("div", *map(chart, document["charts"]), class_="charts")
    sections = [
        ("Metrics on the test data", metrics_table(document)),
        ("How it predicts", drawn),
    ]
    section = next(values for key, values in statistics.items() if key.endswith("_metrics"))
    if "confusion_matrix" in section:
        sections.append(("Confusion matrix", confusion(section["confusion_matrix"])))
    whole, metric = document["metrics"], document["gate"]["metric"]
    sections.append(("By month", groups(document["months"], whole, metric)))
    for name, found in document["facets"].items():
        sections.append((f"By {name}", groups(found, whole, metric)))
    if not document["facets"]:
        none = note("[facets] in usecase.toml names no feature to tell groups by.")
        sections.append(("By group", none))
    sections.append(("Importance of the features", importances(document)))
    sections.append(("Data and model", sources(document)))
    return whole_page(title, gate(document), sections)


def whole_page(title: str, summary: Html, sections: Iterable[tuple[str, Html]]) -> str:
    """A page of sections, each with its heading."""
    head = joined(
        [
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", title),
            tag("style", Html(STYLE)),
        ]
    )
    parts = [joined([tag("h2", heading), content]) for heading, content in sections]
    body = tag("body", tag("h1", title), summary, *parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


def number(value: object) -> str:
    """A number as people read it."""
    if not isinstance(value, int | float):
        return "not defined"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4f}"


def interval(entry: Mapping[str, Any]) -> str:
    """The interval of a metric."""
    return f"{number(entry['low'])} to {number(entry['high'])}" if "low" in entry else "none"


def note(text: str) -> Html:
    """An explanation."""
    return tag("p", text, class_="note")


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """A table, the first column being the rows' headings; it scrolls where it is too wide."""
    lines = [tag("tr", *(tag("th", each) for each in head))]
    for first, *others in rows:
        contents = (joined([each]) for each in others)
        cells = (each if each.startswith("<td") else tag("td", each) for each in contents)
        lines.append(tag("tr", tag("th", first), *cells))
    return tag("div", tag("table", *lines), class_="wide", tabindex=0)


def gate(document: Mapping[str, Any]) -> Html:
    """Whether the model reaches what usecase.toml asks of it."""
    wanted = document["gate"]
    found = document["metrics"][wanted["metric"]]
    value, threshold = found["value"], wanted["threshold"]
    if value == "NaN":
        outcome = "cannot be judged by"
    else:
        reached = value >= threshold if wanted["higher_is_better"] else value <= threshold
        outcome = "passes" if reached else "misses"
    side = "at least" if wanted["higher_is_better"] else "at most"
    return tag(
        "p",
        tag("strong", f"{wanted['metric']} {number(value)}"),
        f" (95 % interval: {interval(found)}) {outcome} the gate of usecase.toml: {side} "
        f"{number(threshold)}.",
    )


def metrics_table(document: Mapping[str, Any]) -> Html:
    """All metrics with their intervals."""
    rows = [
        (name, number(entry["value"]), interval(entry))
        for name, entry in document["metrics"].items()
    ]
    explained = (
        "Percentile bootstrap (Efron and Tibshirani 1993), as if each row were independent of the "
        "others: where they come in clusters, the true interval is wider. “none”: the metric is "
        "not defined in some resamples, or the same in all."
    )
    return joined([table(["metric", "value", "95 % interval"], rows), note(explained)])


def groups(
    found: Sequence[Mapping[str, Any]], whole: Mapping[str, Mapping[str, Any]], metric: str
) -> Html:
    """The metrics of each group; the gate's is drawn, beside that of all rows."""
    if not found:
        return note("The test data has no column with the time.")
    names = [metric, *(name for name in whole if name != metric)]
    shown = [entry["metrics"][metric] for entry in found if "metrics" in entry]
    scale = bounds(value for each in [*shown, whole[metric]] for value in numbers(each))
    rows: list[list[object]] = []
    for entry in found:
        row: list[object] = [group(entry), number(entry["rows"])]
        if "metrics" in entry:
            values = [entry["metrics"][name] for name in names]
            row.append(whisker(values[0], scale, whole[metric]["value"]))
            row += (f"{number(each['value'])} ({interval(each)})" for each in values)
        else:
            row.append(unjudged(entry))
        rows.append(row)
    explained = (
        f"The point is {metric} of the group with its 95 % interval, the dashed line that of all "
        "rows. Of many groups, one in twenty lies beside it by chance alone."
    )
    return joined([table(["group", "rows", "", *names], rows), note(explained)])


def group(entry: Mapping[str, Any]) -> str:
    """What a group is called."""
    if "others" in entry:
        return f"smaller groups: {entry['others']}"
    return "no value" if entry["group"] is None else str(entry["group"])


def unjudged(entry: Mapping[str, Any]) -> str:
    """Why a group has no metrics."""
    return "not told apart" if "others" in entry else "too few rows to judge"


def importances(document: Mapping[str, Any]) -> Html:
    """How much worse the gate's metric gets without what each feature tells."""
    metric = document["gate"]["metric"]
    spans = {
        entry["feature"]: {
            "value": entry["mean"],
            "low": entry["mean"] - entry["standard_deviation"],
            "high": entry["mean"] + entry["standard_deviation"],
        }
        if entry["mean"] != "NaN"
        else {"value": "NaN"}
        for entry in document["importances"]
    }
    scale = bounds([0.0, *(value for each in spans.values() for value in numbers(each))])
    rows = (
        (name, number(each["value"]), whisker(each, scale, 0.0)) for name, each in spans.items()
    )
    explained = (
        f"By how much {metric} gets worse when the feature's values are shuffled among the rows "
        "(permutation importance, Breiman 2001): mean and standard deviation of several shuffles. "
        "Of features that tell the same, each may look useless. It says what the model uses, not "
        "what causes the outcome."
    )
    return joined([table(["feature", "importance", ""], rows), note(explained)])


def confusion(matrix: Mapping[str, Mapping[str, int]]) -> Html:
    """How often each class was taken for each, the darker the larger its fraction of the row."""
    rows: list[list[object]] = []
    for true, counts in matrix.items():
        total = sum(counts.values())
        row: list[object] = [f"true {true}"]
        for count in counts.values():
            fraction = count / total if total else 0
            style = f"background: rgba(var(--heat), {fraction * 0.6:.2f})"
            row.append(tag("td", number(count), class_="heat", style=style))
        rows.append([*row, number(counts[true] / total) if total else "no rows"])
    predicted = {name: sum(counts[name] for counts in matrix.values()) for name in matrix}
    precision = [
        number(matrix[name][name] / total) if total else "never"
        for name, total in predicted.items()
    ]
    head = ["", *(f"predicted {name}" for name in matrix), "recall"]
    return table(head, [*rows, ["precision", *precision]])


def sources(document: Mapping[str, Any]) -> Html:
    """What the model was made of."""
    used = [
        (f"{part} data", number(each["rows"]), span(each))
        for part, each in document["data"].items()
    ]
    unknown = "not on record"
    libraries = ", ".join(f"{name} {each}" for name, each in document["libraries"].items())
    made = [
        ("training", document["execution"] or unknown),
        ("commit", document["commit"] or unknown),
        ("libraries of the model", libraries or unknown),
    ]
    return joined([table(["", "rows", "from, to"], used), table(["", ""], made)])


def span(part: Mapping[str, Any]) -> str:
    """From when to when data is."""
    return f"{part['first']} to {part['last']}" if "first" in part else "not on record"


def numbers(entry: Mapping[str, Any]) -> list[float]:
    """The value and the ends of a metric that are defined."""
    found = (entry.get(key) for key in ("value", "low", "high"))
    return [each for each in found if isinstance(each, int | float)]


def bounds(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest value, a little apart where they are the same."""
    found = [*values] or [0.0]
    low, high = min(found), max(found)
    apart = max(0.5, abs(low) / 100)
    return (low, high) if low < high else (low - apart, high + apart)


def scaled(ends: tuple[float, float], start: float, stop: float) -> Callable[[float], float]:
    """What brings values to their place in a drawing."""
    return lambda value: round(start + (stop - start) * (value - ends[0]) / (ends[1] - ends[0]), 1)


def whisker(entry: Mapping[str, Any], ends: tuple[float, float], reference: object) -> Html:
    """A value with its interval on a common scale, and a reference."""
    x, drawn = scaled(ends, 4, 136), []
    if isinstance(reference, int | float):
        drawn.append(tag("path", d=f"M{x(reference)} 0V20", class_="l1"))
    if "low" in entry:
        drawn.append(tag("path", d=f"M{x(entry['low'])} 10H{x(entry['high'])}", class_="l0"))
    if isinstance(entry["value"], int | float):
        drawn.append(tag("circle", cx=x(entry["value"]), cy=10, r=4))
    label = f"{number(entry['value'])}, interval {interval(entry)}"
    return svg(label, 140, 20, *drawn, class_="whisker")


def chart(content: Mapping[str, Any]) -> Html:
    """A chart with its title and what its lines are."""
    points = [point for line in content["lines"] for point in line["points"]]
    across, up = (bounds(point[axis] for point in points) for axis in (0, 1))
    x, y = scaled(across, LEFT, RIGHT), scaled(up, FLOOR, TOP)
    drawn, keys = [], []
    for value in ticks(across):
        drawn.append(tag("path", d=f"M{x(value)} {TOP}V{FLOOR}", class_="axis"))
        drawn.append(text(f"{value:g}", x(value), FLOOR + 14))
    for value in ticks(up):
        drawn.append(tag("path", d=f"M{LEFT} {y(value)}H{RIGHT}", class_="axis"))
        drawn.append(text(f"{value:g}", LEFT - 5, y(value) + 4, text_anchor="end"))
    middle = (FLOOR + TOP) / 2
    drawn.append(text(content["x"], (LEFT + RIGHT) / 2, FLOOR + 32))
    drawn.append(text(content["y"], 10, middle, transform=f"rotate(-90 10 {middle})"))
    for place, line in enumerate(content["lines"]):
        corners = [(x(across), y(up)) for across, up in line["points"]]
        path = "L".join(f"{across} {up}" for across, up in corners)
        drawn.append(tag("path", d=f"M{path}", class_=f"l{place}"))
        if line["marked"]:
            drawn += [tag("circle", cx=across, cy=up, r=3) for across, up in corners]
        sample = svg("", 28, 10, tag("path", d="M0 5H28", class_=f"l{place}"))
        keys.append(tag("span", sample, line["name"], class_="key"))
    picture = svg(content["title"], RIGHT + 10, FLOOR + 38, *drawn, class_="chart")
    return tag("figure", tag("figcaption", content["title"]), *keys, picture)


def svg(label: str, width: int, height: int, *content: Html, **attributes: object) -> Html:
    """A drawing, with what it tells those who cannot see it; without a label it is ornament."""
    told = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return tag("svg", *content, viewBox=f"0 0 {width} {height}", **told, **attributes)


def text(content: str, x: float, y: float, **attributes: object) -> Html:
    """Text in a drawing."""
    return tag("text", content, x=x, y=y, **{"text_anchor": "middle", **attributes})


def ticks(ends: tuple[float, float]) -> list[float]:
    """About five round numbers between two."""
    rough = (ends[1] - ends[0]) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * each for each in (1, 2, 5, 10) if unit * each >= rough)
    first, last = math.ceil(ends[0] / step), math.floor(ends[1] / step)
    return [each * step for each in range(first, last + 1)]
