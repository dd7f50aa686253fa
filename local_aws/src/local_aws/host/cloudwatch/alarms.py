"""How CloudWatch decides on the state of an alarm, knowing nothing of where the data are.

Source: Amazon CloudWatch User Guide, "Alarm evaluation" and "Configuring how CloudWatch alarms
treat missing data".
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_aws.host.cloudwatch import metric_math
from local_aws.host.cloudwatch.metric_math import MetricMathError, Series

Read = Callable[[Mapping[str, Any], str, float, Sequence[float]], Series]
"""Reads a metric {Namespace, MetricName, Dimensions, Unit}: its statistic over the periods of a
length in seconds that start at some times, without those that have no data."""

_MORE_PERIODS = 2  # than EvaluationPeriods are looked at, as in the user guide's examples
_COMPARISONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


@dataclass(frozen=True)
class Verdict:
    """What an evaluation found.

    Attributes:
        state: OK, ALARM or INSUFFICIENT_DATA.
        reason: Why, in words.
        data: The same as JSON.
    """

    state: str
    reason: str
    data: str


def check(alarm: Mapping[str, Any]) -> None:
    """Check what the evaluation needs of an alarm.

    Args:
        alarm: The members of PutMetricAlarm.

    Raises:
        ValueError: The alarm cannot be evaluated; it says why in words for the caller.
    """
    comparison = alarm.get("ComparisonOperator")
    if comparison not in _COMPARISONS:
        raise ValueError(
            f"ComparisonOperator {comparison} is not there; there are {', '.join(_COMPARISONS)}"
        )
    queries = alarm.get("Metrics") or []
    if not queries:
        return
    if len([query for query in queries if query.get("ReturnData", True)]) != 1:
        raise ValueError("Metrics must have exactly one query whose ReturnData is true")
    _period(alarm)
    try:
        series = _series(alarm, lambda *_: {}, [])
    except MetricMathError as error:
        raise ValueError(f"Invalid metrics list: {error}") from error
    if not isinstance(series, dict):
        raise ValueError("Invalid metrics list: the expression must return a single time series")


def evaluate(alarm: Mapping[str, Any], read: Read, now: float) -> Verdict | None:
    """Find the state that an alarm should be in.

    A window slides each minute, or each ten seconds when the period is shorter. The period that
    is not over yet counts as soon as it has data, unless more data could take the breach back:
    so an alarm is quicker than on AWS, where data take some minutes, but not wrong.

    Args:
        alarm: The members of PutMetricAlarm, and `StateValue`.
        read: Reads a metric.
        now: The time, in seconds since 1970.

    Returns:
        The state, or none if it stays as it is.
    """
    period = _period(alarm)
    count = int(alarm.get("EvaluationPeriods") or 1)
    needed = int(alarm.get("DatapointsToAlarm") or count)
    step = 60.0 if period >= 60 else 10.0
    over = now // step * step
    times = [over - period * back for back in range(count + _MORE_PERIODS, 0, -1)]
    series = _series(alarm, read, times)
    if not _may_be_taken_back(alarm):
        shifted = [time + step for time in times]
        running = _series(alarm, read, shifted)
        if shifted[-1] in running:
            times, series = shifted, running
    values = [series.get(time) for time in times]
    breaches = [None if value is None else _breaches(alarm, value) for value in values]
    treat = str(alarm.get("TreatMissingData") or "missing")
    state = decide(breaches, count, needed, treat)
    if state is None or state == alarm.get("StateValue"):
        return None
    return _explain(alarm, state, list(zip(times, values, strict=True)), needed)


def decide(breaches: Sequence[bool | None], count: int, needed: int, treat: str) -> str | None:
    """Decide as the user guide's tables do.

    Args:
        breaches: Whether each data point is beyond the threshold, oldest first; none if missing.
        count: The alarm's EvaluationPeriods.
        needed: The alarm's DatapointsToAlarm.
        treat: The alarm's TreatMissingData.

    Returns:
        The state, or none if it stays as it is.
    """
    found = [breach for breach in breaches if breach is not None][-count:]
    breaching = sum(found)
    if len(found) == count or treat in {"breaching", "notBreaching"}:
        if treat == "breaching":
            breaching += count - len(found)
        return "ALARM" if breaching >= needed else "OK"
    if not found:
        return "INSUFFICIENT_DATA" if treat == "missing" else None
    if breaching >= needed:
        return "ALARM"
    if not all(found):
        return "OK"
    # Only breaching ones: it goes to ALARM once the oldest of them is old enough.
    age = len(breaches) - next(i for i, breach in enumerate(breaches) if breach)
    return "ALARM" if treat == "missing" and age >= needed else None


def _period(alarm: Mapping[str, Any]) -> float:
    queries = alarm.get("Metrics") or []
    periods = {
        float(query["MetricStat"]["Period"]) for query in queries if query.get("MetricStat")
    } | {float(query["Period"]) for query in queries if query.get("Period")}
    if len(periods) > 1:
        raise ValueError("Metrics must all have the same Period")
    return periods.pop() if periods else float(alarm.get("Period") or 60)


def _series(alarm: Mapping[str, Any], read: Read, times: Sequence[float]) -> Series:
    period = _period(alarm)
    queries = alarm.get("Metrics")
    if not queries:
        stat = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
        return read(alarm, stat, period, times)
    metrics = {
        query["Id"]: read(
            {**query["MetricStat"]["Metric"], "Unit": query["MetricStat"].get("Unit")},
            query["MetricStat"]["Stat"],
            period,
            times,
        )
        for query in queries
        if query.get("MetricStat")
    }
    expressions = {q["Id"]: q["Expression"] for q in queries if q.get("Expression")}
    values = {**metrics, **metric_math.evaluate(expressions, metrics, times, period)}
    watched = next(query["Id"] for query in queries if query.get("ReturnData", True))
    value = values[watched]
    if not isinstance(value, dict):
        raise MetricMathError("the expression must return a single time series")
    return value


def _breaches(alarm: Mapping[str, Any], value: float) -> bool:
    compare, _ = _COMPARISONS[alarm["ComparisonOperator"]]
    return compare(value, float(alarm["Threshold"]))


def _may_be_taken_back(alarm: Mapping[str, Any]) -> bool:
    """Tell whether a period that breaches may no longer do so when it is over."""
    if alarm.get("Metrics"):
        return True
    grows = alarm.get("Statistic") in {"Sum", "SampleCount"}
    return grows and str(alarm["ComparisonOperator"]).startswith("Less")


def _explain(
    alarm: Mapping[str, Any], state: str, points: list[tuple[float, float | None]], needed: int
) -> Verdict:
    count = int(alarm.get("EvaluationPeriods") or 1)
    known = [(time, value) for time, value in points if value is not None][-count:]
    threshold = float(alarm["Threshold"])
    data = {
        "version": "1.0",
        "queryDate": stamp(datetime.now(UTC).timestamp()),
        **({"startDate": stamp(known[0][0])} if known else {}),
        **({"statistic": alarm["Statistic"]} if alarm.get("Statistic") else {}),
        "period": int(_period(alarm)),
        "recentDatapoints": [value for _, value in known],
        "threshold": threshold,
    }
    _, words = _COMPARISONS[alarm["ComparisonOperator"]]
    change = f"{alarm.get('StateValue')} -> {state} transition"
    if state == "INSUFFICIENT_DATA":
        verb = "was" if count == 1 else "were"
        reason = f"Insufficient Data: {_counted(count)} {verb} unknown."
    elif not known:
        treated = "Breaching" if state == "ALARM" else "NonBreaching"
        periods = f"{count} period{'s' if count > 1 else ''}"
        verb = "was" if count == 1 else "were"
        reason = (
            f"Threshold Crossed: no datapoints were received for {periods} and {count} missing "
            f"datapoint{'s' if count > 1 else ''} {verb} treated as [{treated}]."
        )
    else:
        shown = [
            (time, value) for time, value in known if _breaches(alarm, value) == (state == "ALARM")
        ] or known
        listed = ", ".join(
            f"{value} ({datetime.fromtimestamp(time, UTC):%d/%m/%y %H:%M:%S})"
            for time, value in reversed(shown)
        )
        verb = "was" if len(shown) == 1 else "were"
        least = needed if state == "ALARM" else count - needed + 1
        reason = (
            f"Threshold Crossed: {len(shown)} out of the last {len(known)} datapoints [{listed}] "
            f"{verb} {'' if state == 'ALARM' else 'not '}{words} the threshold ({threshold}) "
            f"(minimum {_counted(least)} for {change})."
        )
    return Verdict(state, reason, json.dumps(data))


def _counted(number: int) -> str:
    return f"{number} datapoint{'' if number == 1 else 's'}"


def stamp(seconds: float) -> str:
    """Write a time as CloudWatch's events do."""
    written = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "+0000")


def configuration(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """Return an alarm's configuration as in its events.

    Source: Amazon CloudWatch User Guide, "Alarm events and EventBridge".
    """
    description = {"description": alarm.get("AlarmDescription") or ""}
    if "AlarmRule" in alarm:
        return {"alarmRule": alarm["AlarmRule"], **description}
    queries = alarm.get("Metrics") or [
        {
            "Id": "m1",
            "MetricStat": {
                "Metric": alarm,
                "Period": alarm.get("Period"),
                "Stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
                "Unit": alarm.get("Unit"),
            },
        }
    ]
    return {**description, "metrics": [_query(query) for query in queries]}


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
    if query.get("Label"):
        found["label"] = query["Label"]
    if query.get("Expression"):
        return {**found, "expression": query["Expression"]}
    stat = query["MetricStat"]
    metric = stat["Metric"]
    found["metricStat"] = {
        "metric": {
            "namespace": metric.get("Namespace", ""),
            "name": metric.get("MetricName", ""),
            "dimensions": {d["Name"]: d["Value"] for d in metric.get("Dimensions") or []},
        },
        "period": stat.get("Period"),
        "stat": stat.get("Stat"),
    }
    if stat.get("Unit"):
        found["metricStat"]["unit"] = stat["Unit"]
    return found
