"""CloudWatch's alarms and metric math in ministack, as AWS evaluates them.

ministack looks at an alarm when metrics come in, takes all of a metric's dimensions for one, counts
no periods and knows neither missing data nor metric math.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import botocore.session

from local_aws.cloudformation.properties import typed
from local_aws.host.cloudwatch import alarms, metric_math
from local_aws.host.cloudwatch.metric_math import MetricMathError, Series
from local_aws.host.internals import module
from local_aws.sagemaker.core.events import Event
from local_aws.sagemaker.core.loops import attempt

DETAIL_TYPE = "CloudWatch Alarm State Change"
"""Of the events of alarms."""

TICK_SECONDS = 10.0
"""How often all alarms are evaluated: at each multiple of so many seconds since the epoch."""

_STATISTICS = re.compile(r"SampleCount|Average|Sum|Minimum|Maximum|p\d{1,2}(\.\d+)?|p100")
_SINGLE = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Unit")
_MAX_DATAPOINTS = 100_800  # of a GetMetricData
Lock = AbstractContextManager[bool]
_log = logging.getLogger(__name__)


def apply(send: Callable[[Event], None]) -> None:
    """Evaluate alarms as AWS does, and tell EventBridge and Lambda of each change.

    Args:
        send: Sends an event to EventBridge in the background (`Service.send`).
    """
    lock = threading.RLock()  # requests and the clock both change alarms
    _evaluate(lock)
    _tell_of_changes(send)
    _check_and_keep_metric_math(lock)
    _calculate_metric_data()
    clock = threading.Thread(target=_watch, name="alarms", daemon=True)
    clock.start()


def read(metric: Mapping[str, Any], stat: str, period: float, times: Sequence[float]) -> Series:
    """Read a metric's statistic; see `alarms.Read`. The times follow each other by the period."""
    cloudwatch = module("services.cloudwatch")
    dimensions = cloudwatch._dims_from_list(metric.get("Dimensions") or [])
    key = (metric.get("Namespace"), metric.get("MetricName"), cloudwatch._dims_key(dimensions))
    found: dict[float, list[Any]] = defaultdict(list)
    for point in list(cloudwatch._metrics.get(key) or []) if times else []:
        index = int((point["Timestamp"] - times[0]) // period)
        if 0 <= index < len(times) and metric.get("Unit") in {None, "", point.get("Unit")}:
            found[times[index]].append(point)
    series = {}
    for start, points in found.items():
        value = cloudwatch._stat_value(cloudwatch._calc_stats(points), stat, points)
        if value is not None:
            series[start] = float(value)
    return series


def _evaluate(lock: Lock) -> None:
    """Evaluate an alarm by periods.

    AWS: Amazon CloudWatch User Guide, "Alarm evaluation" and "Configuring how CloudWatch alarms
    treat missing data".
    """
    cloudwatch = module("services.cloudwatch")

    def evaluate(alarm: dict[str, Any]) -> None:
        if not (alarm.get("Metrics") or (alarm.get("Namespace") and alarm.get("MetricName"))):
            return
        with lock:
            verdict = alarms.evaluate(alarm, read, time.time())
            if verdict is None:
                return
            old = alarm["StateValue"]
            now = int(time.time())
            alarm.update(
                StateValue=verdict.state,
                StateReason=verdict.reason,
                StateReasonData=verdict.data,
                StateUpdatedTimestamp=now,
                StateTransitionedTimestamp=now,
            )
            data = json.loads(verdict.data)
            cloudwatch._record_history(
                alarm["AlarmName"], old, verdict.state, verdict.reason, reason_data=data
            )
            cloudwatch._dispatch_alarm_actions(alarm, old, verdict.state, verdict.reason)
            cloudwatch._evaluate_parent_alarms(alarm)

    def isolated(alarm: dict[str, Any]) -> None:
        attempt(f"evaluating the alarm {alarm.get('AlarmName')}", evaluate, alarm)

    def every(*arguments: object) -> object:
        with lock:
            return set_state(*arguments)

    cloudwatch._evaluate_alarm = isolated
    set_state = cloudwatch._set_alarm_state
    cloudwatch._set_alarm_state = every


def _watch() -> None:
    """Evaluate all alarms every `TICK_SECONDS`, for time passes without data, too."""
    cloudwatch, responses = module("services.cloudwatch"), module("core.responses")
    while True:
        time.sleep(TICK_SECONDS - time.time() % TICK_SECONDS + 0.01)
        attempt("measuring queues", _measure_queues)
        for (account, region, _), alarm in cloudwatch._alarms.all_items():
            responses.set_request_account_id(account)
            responses.set_request_region(region)
            cloudwatch._evaluate_alarm(alarm)


def _measure_queues() -> None:
    """Send how many messages queues hold, while they hold any and once when they no longer do.

    AWS: Amazon SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS".
    """
    cloudwatch, sqs = module("services.cloudwatch"), module("services.sqs")
    responses = module("core.responses")
    names = {
        "ApproximateNumberOfMessagesVisible": "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed": "ApproximateNumberOfMessagesDelayed",
    }

    def measure(queue: dict[str, Any]) -> None:
        with sqs._queues_lock:
            sqs._refresh_counts(queue)
            counts = {name: float(queue["attributes"][of]) for name, of in names.items()}
        dimensions = {"QueueName": queue["attributes"]["QueueArn"].rpartition(":")[2]}
        for name, count in counts.items():
            key = ("AWS/SQS", name, cloudwatch._dims_key(dimensions))
            before = cloudwatch._metrics.get(key)
            if count or (before and before[-1]["Value"]):
                cloudwatch.record_metric("AWS/SQS", name, count, "Count", dimensions)

    for (account, region, _), queue in list(sqs._queues._data.items()):
        responses.set_request_account_id(account)
        responses.set_request_region(region)
        attempt("measuring a queue", measure, queue)


def _tell_of_changes(send: Callable[[Event], None]) -> None:
    """Send an event when an alarm changes its state, and invoke functions that are its actions.

    AWS: Amazon CloudWatch User Guide, "Alarm events and EventBridge" and "Invoke a Lambda function
    from an alarm".
    """
    cloudwatch, eventbridge = module("services.cloudwatch"), module("services.eventbridge")
    original = cloudwatch._dispatch_alarm_actions
    lists = {"ALARM": "AlarmActions", "OK": "OKActions"}
    states: dict[str, dict[str, Any]] = {}

    def dispatch(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        original(alarm, old_state, new_state, reason)
        if old_state == new_state:
            return
        arn = alarm.get("AlarmArn", "")
        state = {"value": new_state, "reason": reason, "timestamp": alarms.stamp(time.time())}
        if alarm.get("StateReasonData"):
            state["reasonData"] = alarm["StateReasonData"]
        previous = states.get(arn, {})
        if previous.get("value") != old_state:
            previous = {"value": old_state}
        states[arn] = state
        detail = {
            "alarmName": alarm.get("AlarmName", ""),
            "state": state,
            "previousState": previous,
            "configuration": alarms.configuration(alarm),
        }
        attempt(f"telling EventBridge of {arn}", send, Event(DETAIL_TYPE, detail, [arn]))
        if not alarm.get("ActionsEnabled", True):
            return
        _, _, _, region, account, *_ = arn.split(":")
        event = {
            "source": "aws.cloudwatch",
            "alarmArn": arn,
            "accountId": account,
            "time": state["timestamp"],
            "region": region,
            "alarmData": detail,
        }
        for action in alarm.get(lists.get(new_state, "InsufficientDataActions")) or []:
            if action.startswith("arn:aws:lambda:"):
                eventbridge._dispatch_to_lambda(action, json.dumps(event))

    cloudwatch._dispatch_alarm_actions = dispatch


def _check_and_keep_metric_math(lock: Lock) -> None:
    """Check an alarm when it is put, and keep the `Metrics` of one on metric math.

    AWS: Amazon CloudWatch API Reference, PutMetricAlarm.
    """
    cloudwatch = module("services.cloudwatch")
    provisioners = module("services.cloudformation.provisioners")
    original, record = cloudwatch._put_metric_alarm, provisioners._cw_metric_alarm_record

    def put(
        params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False
    ) -> object:
        forms = {"use_json": is_json, "use_cbor": is_cbor}
        asked = data if is_cbor or is_json else _from_form(params, cloudwatch._p)
        try:
            _check(asked)
        except ValueError as error:
            return cloudwatch._error("ValidationError", str(error), 400, **forms)
        with lock:
            answer = original(params, data, is_cbor, is_json)
            if answer[0] == 200 and asked.get("Metrics"):
                alarm = cloudwatch._alarms[asked["AlarmName"]]
                _on_metrics(alarm, asked["Metrics"])
                cloudwatch._evaluate_alarm(alarm)
        return answer

    def provisioned(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        metrics = properties.get("Metrics")
        if metrics:  # numbers and booleans of a template may be strings
            model = botocore.session.get_session().get_service_model("cloudwatch")
            metrics = typed(model.shape_for("MetricDataQueries"), metrics)
        _check({**properties, "Metrics": metrics})
        if not metrics:
            single: dict[str, Any] = record(name, properties)
            return single
        others = {key: value for key, value in properties.items() if key != "Metrics"}
        stand_in = {"MetricName": "-", "Namespace": "-"}
        return _on_metrics(record(name, {**others, **stand_in}), metrics)

    cloudwatch._put_metric_alarm = put
    provisioners._cw_metric_alarm_record = provisioned


def _from_form(params: Mapping[str, Any], get: Callable[..., Any]) -> dict[str, Any]:
    """Return what is checked of an alarm in AWS's older protocol."""
    names = ("ComparisonOperator", "Statistic", "ExtendedStatistic", "EvaluationPeriods")
    found = {name: get(params, name) for name in (*names, "DatapointsToAlarm", "ThresholdMetricId")}
    if get(params, "Metrics.member.1.Id"):
        raise ValueError("Metrics are not read in the query protocol; use JSON or CBOR")
    return {name: value for name, value in found.items() if value}


def _check(asked: Mapping[str, Any]) -> None:
    if asked.get("ThresholdMetricId"):
        raise ValueError("ThresholdMetricId: anomaly detection is not there in this local AWS")
    stats = [asked.get("Statistic"), asked.get("ExtendedStatistic")] + [
        query["MetricStat"].get("Stat")
        for query in asked.get("Metrics") or []
        if query.get("MetricStat")
    ]
    for stat in stats:
        if stat and not _STATISTICS.fullmatch(stat):
            raise ValueError(f"The statistic {stat} is not there in this local AWS")
    count = int(asked.get("EvaluationPeriods") or 1)
    if int(asked.get("DatapointsToAlarm") or 1) > count:
        raise ValueError("DatapointsToAlarm must not be greater than EvaluationPeriods")
    alarms.check(asked)


def _on_metrics(alarm: dict[str, Any], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    for name in (*_SINGLE, "Dimensions"):
        alarm.pop(name, None)
    alarm["Metrics"] = metrics
    return alarm


def _calculate_metric_data() -> None:
    """Answer GetMetricData with expressions, and with a metric's exact dimensions.

    AWS: Amazon CloudWatch API Reference, GetMetricData; Amazon CloudWatch User Guide, "Using math
    expressions with CloudWatch metrics".
    """
    cloudwatch = module("services.cloudwatch")
    original = cloudwatch._get_metric_data

    def answer(
        params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False
    ) -> object:
        if not (is_cbor or is_json):
            return original(params, data, is_cbor, is_json)
        try:
            results = _metric_data(data, cloudwatch._parse_ts)
        except ValueError as error:
            message = str(error)
            return cloudwatch._error(
                "ValidationError", message, 400, use_json=is_json, use_cbor=is_cbor
            )
        if is_json:
            return cloudwatch._json_ok({"MetricDataResults": results})
        coded = [cloudwatch._cbor_metric_data_result(result) for result in results]
        return cloudwatch._cbor_ok({"MetricDataResults": coded})

    cloudwatch._get_metric_data = answer


def _metric_data(
    request: Mapping[str, Any], instant: Callable[[Any], float | None]
) -> list[dict[str, Any]]:
    queries = request.get("MetricDataQueries") or []
    start, end = instant(request.get("StartTime")), instant(request.get("EndTime"))
    if start is None or end is None or start >= end:
        raise ValueError("The parameter StartTime must be less than the parameter EndTime.")
    stats = [query for query in queries if query.get("MetricStat")]
    periods = [float(query["MetricStat"]["Period"]) for query in stats]
    periods += [float(query["Period"]) for query in queries if query.get("Period")]
    grids = {period: _grid(start, end, period) for period in periods or [60.0]}
    series: dict[str, Series] = {}
    for query in stats:
        stat = query["MetricStat"]
        if not _STATISTICS.fullmatch(stat["Stat"]):
            raise ValueError(f"The statistic {stat['Stat']} is not there in this local AWS")
        period = float(stat["Period"])
        metric = {**stat["Metric"], "Unit": stat.get("Unit")}
        series[query["Id"]] = read(metric, stat["Stat"], period, grids[period])
    expressions = {q["Id"]: q["Expression"] for q in queries if q.get("Expression")}
    values: dict[str, metric_math.Value] = dict(series)
    if expressions:
        period = max(periods or [60.0])
        if len(grids[period]) > _MAX_DATAPOINTS:
            raise ValueError(f"The request asks for more than {_MAX_DATAPOINTS} data points")
        try:
            values |= metric_math.evaluate(expressions, series, grids[period], period)
        except MetricMathError as error:
            raise ValueError(f"Error in expression: {error}") from error
    ascending = request.get("ScanBy") == "TimestampAscending"
    results = []
    for query in queries:
        if not query.get("ReturnData", True):
            continue
        value = values[query["Id"]]
        if not isinstance(value, (dict, list)):
            raise ValueError(f"Error in expression {query['Id']}: it must return a time series")
        for found in value if isinstance(value, list) else [value]:
            times = sorted(found, reverse=not ascending)
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label") or _label(query),
                    "Timestamps": [_iso(at) for at in times],
                    "Values": [found[at] for at in times],
                    "StatusCode": "Complete",
                }
            )
    return results


def _grid(start: float, end: float, period: float) -> range:
    step = int(period)
    return range(int(start // step * step), int(-(-end // 1)), step)


def _label(query: Mapping[str, Any]) -> str:
    if query.get("Expression"):
        return str(query["Id"])
    return str(query["MetricStat"]["Metric"].get("MetricName", ""))


def _iso(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
