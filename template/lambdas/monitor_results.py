"""What the monitors have found, and how much they judged: as metrics, and for mails of alarms."""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lambdas.aws import below, cloudwatch, find_json, read_json, s3, split_uri
from workflows import keys

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

METRICS = {
    "Judged": "judged",
    "Unlabelled": "unlabelled",
    "Unmatched": "unmatched",
    "UnseenCategories": "unseen_categories",
}
"""Metrics, and what they are called in coverage.json; each monitor has some of them."""
MEASURED = ("value", "threshold", "low", "high")
VALUES = 100  # so many values of a monitor are metrics of CloudWatch
SHOWN = 20  # so many violations and problems are in a mail; all of them are in the report
AT_ONCE = timedelta(hours=1)  # that the results of one run's versions are apart, at the most


class MonitorFailed(Exception):  # noqa: N818  its name is what people read
    """Monitors have failed; the message has the reason of each, by its name."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{monitor}: {reason}" for monitor, reason in reasons.items()))


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Publish what the monitors have reported: metrics for their alarms, and their newest results.

    Doing it twice changes nothing, as the alarms look at maxima, or at whether there is anything.

    Args:
        event: `execution`, the id of the workflow's execution, whose plan.json has its monitors.

    Returns:
        How many `violations` and how many `problems` there are.

    Raises:
        MonitorFailed: When a monitor has failed; what the others have reported is published.
    """
    bucket, execution = os.environ["BUCKET"], event["execution"]
    plan = read_json(bucket, f"{keys.MONITOR_INPUTS}{execution}/plan.json")
    failed: dict[str, str] = dict(plan["failed"])
    total = {"violations": 0, "problems": 0}
    for monitor in plan["monitors"]:
        folder = f"{keys.MONITORING}{monitor}/{execution}"
        if failure := find_json(bucket, f"{folder}/failure.json"):
            failed[monitor] = failure["reason"]
        elif coverage := find_json(bucket, f"{folder}/coverage.json"):
            violations = read_json(bucket, f"{folder}/constraint_violations.json")["violations"]
            # Images of earlier versions do not tell what was measured.
            measured = (find_json(bucket, f"{folder}/results.json") or {"results": []})["results"]
            violations = [explained(violation, measured) for violation in violations]
            # The mail of an alarm can be written as soon as there are metrics.
            keep(monitor, coverage, violations, f"s3://{bucket}/{folder}")
            publish(monitor, coverage, len(violations), len(coverage["problems"]))
            publish_values(monitor, measured)
            total["violations"] += len(violations)
            total["problems"] += len(coverage["problems"])
            log.info("%s: %d violations, %s", folder, len(violations), coverage)
        else:
            failed[monitor] = f"it has left no report in s3://{bucket}/{folder}"
    if failed:
        raise MonitorFailed(failed)
    return total


def explained(
    violation: Mapping[str, Any], measured: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """A violation with what was measured: its value, its limit and the interval.

    Args:
        violation: An entry of constraint_violations.json.
        measured: The content of results.json.
    """
    for row in measured:
        if (row["name"], row["kind"]) == check(violation) and row["violated"]:
            known = {key: row[key] for key in MEASURED if row[key] is not None}
            return {**violation, **known}
    return dict(violation)


def nothing(monitor: str, version: str, start: str, end: str, reason: str) -> None:
    """Publish that a monitor had nothing to look at.

    Args:
        monitor: Its name.
        version: The version; empty when none serves.
        start: Begin of the window, in ISO 8601.
        end: End of the window, in ISO 8601.
        reason: Why, as a sentence; empty when that is as it should be.
    """
    coverage = {"version": version or None, "start": start, "end": end, "judged": 0}
    problems = [reason] if version and reason else []
    if version:
        keep(monitor, coverage | {"problems": problems}, [], "")
    publish(monitor, coverage, 0, len(problems))
    log.info("%s of version %s: nothing to look at. %s", monitor, version or "none", reason)


def publish(monitor: str, coverage: Mapping[str, Any], violations: int, problems: int) -> None:
    """Put the metrics of a run.

    Args:
        monitor: The dimension of them all.
        coverage: The content of coverage.json; what it does not have is not a metric.
        violations: How many there are.
        problems: How many there are.
    """
    values = {name: coverage[key] for name, key in METRICS.items() if key in coverage}
    if "dropped" in coverage:
        values["Dropped"] = sum(coverage["dropped"].values())
    values |= {"Violations": violations, "Problems": problems}
    cloudwatch().put_metric_data(
        Namespace=os.environ["METRIC_NAMESPACE"],
        MetricData=[
            {
                "MetricName": name,
                "Dimensions": [{"Name": "Monitor", "Value": monitor}],
                "Value": value,
                "Unit": "Count",
            }
            for name, value in values.items()
        ],
    )


def publish_values(monitor: str, measured: Iterable[Mapping[str, Any]]) -> None:
    """Put what was measured as metrics: a value for each check of each feature, or each metric.

    Each is a metric of CloudWatch that costs, so there are VALUES of them at the most; the table
    `monitor_results` has all.

    Args:
        monitor: The monitor.
        measured: The content of results.json.
    """
    known = [row for row in measured if row["name"] and row["value"] is not None][:VALUES]
    if not known:
        return
    cloudwatch().put_metric_data(
        Namespace=os.environ["METRIC_NAMESPACE"],
        MetricData=[
            {
                "MetricName": "Value",
                "Dimensions": [
                    {"Name": "Monitor", "Value": monitor},
                    {"Name": "Check", "Value": row["kind"]},
                    {"Name": "Name", "Value": row["name"]},
                ],
                "Value": row["value"],
            }
            for row in known
        ],
    )


def keep(
    monitor: str, coverage: Mapping[str, Any], violations: list[dict[str, Any]], report: str
) -> None:
    """Keep a result as the newest of the monitor and the version.

    Runs that are caught up end in any order: an older window takes the place of a newer one only
    with what nothing was found of there, so that the mail of its alarm says what it is about.

    Args:
        monitor: Its name.
        coverage: The content of coverage.json.
        violations: What `explained` returned. Each gets `since`, the begin of the first of the
            windows, one judged after the other, that had it.
        report: S3 URI of the folder with the report; empty when there is none.
    """
    start, end = coverage["start"], coverage["end"]
    key = f"{keys.LATEST}{monitor}/version={coverage['version']}.json"
    before = find_json(os.environ["BUCKET"], key) or {}
    known = since(before) if before else {}
    older = bool(before) and end < before["end"]  # in UTC, as `isoformat` writes it
    told = {"violations": violations, "problems": coverage["problems"]}
    # Why there was nothing to look at is told to whoever has asked for that window.
    if older and (report or not any(told.values())) and all(before[k] or not told[k] for k in told):
        had = {check(entry) for entry in violations}
        for entry in before["violations"]:
            begin = known[check(entry)]
            joined = check(entry) in had and end >= begin
            entry["since"] = min(begin, start) if joined else begin
        write(key, before)
        return
    for entry in violations:
        entry["since"] = min(known.get(check(entry), start), start)
    result = {
        **coverage,
        "report": report,
        "violations": violations,
        # A window in which nothing was judged does not say that something has ended.
        "open": [] if coverage["judged"] else [[*of, begin] for of, begin in known.items()],
        "published": datetime.now(UTC).isoformat(),
    }
    write(key, result)


def since(result: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Since when the newest result has had each violation, as `keep` has written it."""
    now = {check(entry): entry.get("since", result["start"]) for entry in result["violations"]}
    return {(name, kind): begin for name, kind, begin in result.get("open", [])} | now


def check(violation: Mapping[str, Any]) -> tuple[str, str]:
    """What a violation is one of: what it is about, and the check."""
    return name_of(violation), violation["constraint_check_type"]


def write(key: str, result: Mapping[str, Any]) -> None:
    """Write a result to the data bucket."""
    body = json.dumps(result, indent=1).encode()
    s3().put_object(Bucket=os.environ["BUCKET"], Key=key, Body=body)


def last_run(monitor: str) -> list[dict[str, Any]]:
    """What a monitor has found in its newest run: a result for each version, as `keep` wrote it."""
    bucket = os.environ["BUCKET"]
    results = [read_json(bucket, key) for key in below(f"{keys.LATEST}{monitor}/")]
    times = [datetime.fromisoformat(result["published"]) for result in results]
    return [
        result for result, time in zip(results, times, strict=True) if time >= max(times) - AT_ONCE
    ]


def text(monitor: str) -> str:
    """What a monitor has found in its newest run, version by version, for a mail."""
    return "\n".join(paragraph(result) for result in last_run(monitor))


def paragraph(result: Mapping[str, Any]) -> str:
    """What was found of a version."""
    window = f", {result['start']} to {result['end']}" if result.get("start") else ""
    lines = [
        *(f"{violation_of(entry)}" for entry in result["violations"]),
        *result.get("problems", []),
    ]
    return "\n".join(
        [
            f"Version {result['version']}{window}: {result['judged']} predictions judged.",
            *shortened(lines or ["Nothing was found."]),
            *([f"  The report: {link(result['report'])}"] if result["report"] else []),
        ]
    )


def link(folder: str) -> str:
    """Where a browser shows a folder of the data bucket, and how a terminal does."""
    bucket, prefix = split_uri(folder)
    region = s3().meta.region_name
    host = "amazonaws.cn" if region.startswith("cn-") else "aws.amazon.com"
    console = f"https://console.{host}/s3/buckets/{bucket}?region={region}&prefix={prefix}/"
    return f"{console}\n  uv run ops monitor --last --open --execution {prefix.rpartition('/')[2]}"


def told_in(monitor: str, kind: str) -> str:
    """Which windows of which versions a monitor's newest run has found something in.

    Args:
        monitor: The monitor.
        kind: `violations` or `problems`.
    """
    found = (result for result in last_run(monitor) if result.get(kind))
    windows = (f"{each['version']} {each['start']} {each['end']}" for each in found)
    return ", ".join(sorted(windows))


def violation_of(entry: Mapping[str, Any]) -> str:
    """A violation as a line: what, how bad, since when."""
    line = f"{name_of(entry)}: {entry['constraint_check_type']}: {entry['description']}"
    known = [f"{key} {entry[key]:.4g}" for key in ("value", "threshold") if key in entry]
    if "low" in entry:
        known.append(f"95 % interval {entry['low']:.4g} to {entry['high']:.4g}")
    known += [f"since {entry['since']}"] if "since" in entry else []
    return f"{line} ({', '.join(known)})" if known else line


def name_of(violation: Mapping[str, Any]) -> str:
    """What an entry of constraint_violations.json is about: a feature or a metric, and of whom.

    `usecase.monitors.results` calls them the same.
    """
    name: str = violation.get("feature_name") or violation["metric_name"]
    if "facet" in violation:
        return f"{name} of {violation['facet']} {violation['facet_value']}"
    return f"{name} of {violation['label']}" if "label" in violation else name


def shortened(lines: Iterable[str]) -> list[str]:
    """The first lines, indented, and how many more there are."""
    every = list(lines)
    more = [f"  … and {len(every) - SHOWN} more"] if len(every) > SHOWN else []
    return [*(f"  {line}" for line in every[:SHOWN]), *more]
