"""When alarms change: the user guide's tables, and CloudWatch of a running local AWS."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, until
from host_process import ACCOUNT, HostProcess, queue, receive

from local_aws.host.cloudwatch import alarms, metric_math

# Amazon CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data": data points
# (0 within the threshold, X beyond it, - missing) and the state by TreatMissingData: missing,
# ignore, breaching, notBreaching. Three evaluation periods; None: the state is kept.
ALL_OF_THREE = {
    "0-X-X": ("OK", "OK", "OK", "OK"),
    "0----": ("OK", "OK", "OK", "OK"),
    "-----": ("INSUFFICIENT_DATA", None, "ALARM", "OK"),
    "0XX-X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "--X--": ("ALARM", None, "ALARM", "OK"),
}
TWO_OF_THREE = {
    "0-X-X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "00X0X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "0-X--": ("OK", "OK", "ALARM", "OK"),
    "----0": ("OK", "OK", "ALARM", "OK"),
    "---X-": ("ALARM", None, "ALARM", "OK"),
}


@pytest.mark.parametrize(
    ("needed", "points", "states"),
    [(3, *row) for row in ALL_OF_THREE.items()] + [(2, *row) for row in TWO_OF_THREE.items()],
)
def test_missing_data_are_treated_as_in_the_user_guide(
    needed: int, points: str, states: tuple[str | None, ...]
) -> None:
    breaches = [{"0": False, "X": True, "-": None}[point] for point in points]
    treatments = ("missing", "ignore", "breaching", "notBreaching")
    assert states == tuple(alarms.decide(breaches, 3, needed, treat) for treat in treatments)


@pytest.mark.parametrize("points", ["----X", "---X-"])
def test_one_late_breach_is_no_alarm_yet(points: str) -> None:
    breaches = [True if point == "X" else None for point in points]
    assert alarms.decide(breaches, 3, 3, "missing") is None


METRIC = {
    "Namespace": "N",
    "MetricName": "M",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 2.0,
    "ComparisonOperator": "GreaterThanThreshold",
    "StateValue": "OK",
}


def series(values: dict[float, float]) -> alarms.Read:
    return lambda _metric, _stat, _period, times: {at: values[at] for at in times if at in values}


def test_a_breach_in_the_running_minute_counts_at_once() -> None:
    verdict = alarms.evaluate(METRIC, series({600.0: 3.0}), now=612.0)
    assert verdict is not None
    assert verdict.state == "ALARM"
    assert verdict.reason == (
        "Threshold Crossed: 1 out of the last 1 datapoints [3.0 (01/01/70 00:10:00)] was greater "
        "than the threshold (2.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert json.loads(verdict.data)["recentDatapoints"] == [3.0]


def test_too_little_in_the_running_minute_does_not_count_before_it_is_over() -> None:
    alarm = {**METRIC, "ComparisonOperator": "LessThanThreshold"}
    read = series({540.0: 5.0, 600.0: 1.0})
    assert alarms.evaluate(alarm, read, now=612.0) is None
    verdict = alarms.evaluate(alarm, read, now=661.0)
    assert verdict is not None
    assert verdict.state == "ALARM"


def test_an_alarm_on_missing_data_says_so() -> None:
    alarm = {**METRIC, "TreatMissingData": "breaching"}
    verdict = alarms.evaluate(alarm, series({}), now=612.0)
    assert verdict is not None
    assert verdict.reason == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was "
        "treated as [Breaching]."
    )


# Metric math

M1 = {0.0: 4.0, 60.0: 9.0, 180.0: 0.0}
M2 = {0.0: 2.0, 60.0: 0.0, 120.0: 5.0, 180.0: 8.0}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m1 + m2 * 2", {0.0: 8.0, 60.0: 9.0, 180.0: 16.0}),
        ("m1 / m2", {0.0: 2.0, 180.0: 0.0}),  # nothing divided by zero
        ("100 * (m1 ^ 2)", {0.0: 1600.0, 60.0: 8100.0, 180.0: 0.0}),
        ("-m1 + 1", {0.0: -3.0, 60.0: -8.0, 180.0: 1.0}),
        ("m1 > 3 AND m2 > 1", {0.0: 1.0, 60.0: 0.0, 180.0: 0.0}),
        ("m1 > 5 || m2 > 5", {0.0: 0.0, 60.0: 1.0, 180.0: 1.0}),
        ("IF(m1 > 3, m2, 7)", {0.0: 2.0, 60.0: 0.0, 180.0: 7.0}),
        ("FILL(m1, 1)", {0.0: 4.0, 60.0: 9.0, 120.0: 1.0, 180.0: 0.0}),
        ("FILL(m1, REPEAT)", {0.0: 4.0, 60.0: 9.0, 120.0: 9.0, 180.0: 0.0}),
        ("FILL(m1, LINEAR)", {0.0: 4.0, 60.0: 9.0, 120.0: 4.5, 180.0: 0.0}),
        ("SUM(METRICS())", {0.0: 6.0, 60.0: 9.0, 120.0: 5.0, 180.0: 8.0}),
        ("MAX([m1, m2])", {0.0: 4.0, 60.0: 9.0, 120.0: 5.0, 180.0: 8.0}),
        ("DIFF(m2)", {60.0: -2.0, 120.0: 5.0, 180.0: 3.0}),
        ("RATE(m2)", {60.0: -2 / 60, 120.0: 5 / 60, 180.0: 3 / 60}),
        ("m2 / PERIOD(m2) * 60", M2),
        ("TIME_SERIES(MAX(m1))", dict.fromkeys((0.0, 60.0, 120.0, 180.0), 9.0)),
        ("AVG(m2)", 3.75),
        ("DATAPOINT_COUNT(m1)", 3.0),
        ("e1 + 1", {0.0: 5.0, 60.0: 10.0, 180.0: 1.0}),
    ],
)
def test_metric_math(expression: str, expected: metric_math.Value) -> None:
    found = metric_math.evaluate(
        {"wanted": expression, "e1": "m1"}, {"m1": M1, "m2": M2}, [0.0, 60.0, 120.0, 180.0], 60.0
    )
    assert found["wanted"] == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("m1 +", "cannot be read"),
        ("m9", "m9"),
        ("SEARCH('x', 'Sum')", "SEARCH"),
        ("wanted + 1", "refers to itself"),
        ("m1.real", "cannot be calculated"),
        ("__import__('os')", "__import__"),
        ("(" * 5000, "cannot be read"),
        ("m1 % m2", "m1 % m2 cannot be calculated"),
        ("m1 // m2", "cannot be calculated"),
        ("m1 in m2", "cannot be calculated"),
        ("m1" + " + m1" * 5000, "too many parts|cannot be read"),
    ],
)
def test_metric_math_refuses_by_name(expression: str, message: str) -> None:
    with pytest.raises(metric_math.MetricMathError, match=message):
        metric_math.evaluate({"wanted": expression}, {"m1": M1}, [0.0], 60.0)


def test_an_aggregate_of_nothing_is_no_number() -> None:
    found = metric_math.evaluate({"e": "MAX(m1)"}, {"m1": {}}, [0.0], 60.0)["e"]
    assert isinstance(found, float)
    assert math.isnan(found)


# A running local AWS


def put(
    host: HostProcess, name: str, value: float, minutes_ago: int = 0, **dimensions: str
) -> None:
    at = time.time() - 60 * minutes_ago
    host.client("cloudwatch").put_metric_data(
        Namespace="Test",
        MetricData=[
            {
                "MetricName": name,
                "Value": value,
                "Timestamp": datetime.fromtimestamp(at, UTC),
                "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()],
            }
        ],
    )


def alarm(host: HostProcess, name: str, **more: Any) -> None:
    request = {
        "AlarmName": name,
        "Namespace": "Test",
        "MetricName": name,
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 2.0,
        "ComparisonOperator": "GreaterThanThreshold",
        **more,
    }
    if "Metrics" in request:
        for single in ("Namespace", "MetricName", "Statistic", "Period"):
            del request[single]
    host.client("cloudwatch").put_metric_alarm(**request)


def found(host: HostProcess, name: str) -> dict[str, Any]:
    answer = host.client("cloudwatch").describe_alarms(AlarmNames=[name])
    described: dict[str, Any] = answer["MetricAlarms"][0]
    return described


def test_only_data_with_the_alarms_dimensions_count(host: HostProcess) -> None:
    alarm(host, "exact", Dimensions=[{"Name": "Endpoint", "Value": "a"}])
    put(host, "exact", 5.0, Endpoint="b")
    put(host, "exact", 5.0)
    assert found(host, "exact")["StateValue"] == "INSUFFICIENT_DATA"
    put(host, "exact", 5.0, Endpoint="a")
    assert found(host, "exact")["StateValue"] == "ALARM"


def test_two_of_three_data_points_make_an_alarm(host: HostProcess) -> None:
    alarm(host, "two", EvaluationPeriods=3, DatapointsToAlarm=2)
    put(host, "two", 5.0, minutes_ago=3)
    put(host, "two", 1.0, minutes_ago=2)
    assert found(host, "two")["StateValue"] == "OK"
    put(host, "two", 5.0, minutes_ago=1)
    described = found(host, "two")
    assert described["StateValue"] == "ALARM"
    assert "2 out of the last 3 datapoints" in described["StateReason"]


def test_an_alarm_changes_without_data_as_time_passes(host: HostProcess) -> None:
    alarm(host, "silence", Period=10, TreatMissingData="notBreaching")
    assert found(host, "silence")["StateValue"] == "OK"
    alarm(host, "silence", Period=10, TreatMissingData="breaching")
    assert found(host, "silence")["StateValue"] == "ALARM"
    alarm(host, "silence", Period=10, TreatMissingData="missing")
    host.client("cloudwatch").set_alarm_state(
        AlarmName="silence", StateValue="OK", StateReason="by hand"
    )
    until(lambda: found(host, "silence")["StateValue"] == "INSUFFICIENT_DATA")


def test_a_change_is_an_event_in_awss_form(host: HostProcess) -> None:
    url, arn = queue(host, "changes")
    events = host.client("events")
    pattern = {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "detail": {"alarmName": ["told", "either"]},
    }
    events.put_rule(Name="changes", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="changes", Targets=[{"Id": "1", "Arn": arn}])
    alarm(host, "told", AlarmDescription="says", Dimensions=[{"Name": "E", "Value": "a"}])
    put(host, "told", 5.0, E="a")
    event = json.loads(receive(host, url))
    alarm_arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:told"
    assert event["resources"] == [alarm_arn]
    detail = event["detail"]
    assert set(detail) == {"alarmName", "state", "previousState", "configuration"}
    assert set(detail["state"]) == {"value", "reason", "reasonData", "timestamp"}
    assert detail["state"]["value"] == "ALARM"
    assert detail["previousState"]["value"] == "INSUFFICIENT_DATA"
    (metric,) = detail["configuration"]["metrics"]
    assert metric["metricStat"] == {
        "metric": {"namespace": "Test", "name": "told", "dimensions": {"E": "a"}},
        "period": 60,
        "stat": "Sum",
    }
    # A composite alarm's change is one, too.
    host.client("cloudwatch").put_composite_alarm(AlarmName="either", AlarmRule="ALARM(told)")
    detail = json.loads(receive(host, url))["detail"]
    assert detail["configuration"]["alarmRule"] == "ALARM(told)"
    assert detail["state"]["value"] == "ALARM"


def test_an_alarm_on_metric_math(host: HostProcess) -> None:
    def query(name: str, metric: str) -> dict[str, Any]:
        stat = {"Metric": {"Namespace": "Test", "MetricName": metric}, "Period": 60, "Stat": "Sum"}
        return {"Id": name, "MetricStat": stat, "ReturnData": False}

    metrics = [query("errors", "e"), query("all", "a"), {"Id": "rate", "Expression": "errors/all"}]
    alarm(host, "math", Metrics=metrics, Threshold=0.5)
    put(host, "e", 8.0, minutes_ago=1)
    put(host, "a", 10.0, minutes_ago=1)
    described = found(host, "math")
    assert described["StateValue"] == "ALARM"
    assert described["Metrics"][2]["Expression"] == "errors/all"
    assert "MetricName" not in described
    now = time.time()
    (result,) = host.client("cloudwatch").get_metric_data(
        MetricDataQueries=metrics, StartTime=now - 300, EndTime=now
    )["MetricDataResults"]
    assert result["Values"] == [0.8]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"DatapointsToAlarm": 2}, "DatapointsToAlarm"),
        ({"ThresholdMetricId": "band"}, "anomaly detection"),
        ({"ExtendedStatistic": "IQM"}, "IQM"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "GreaterThanUpperThreshold"),
        ({"Metrics": [{"Id": "e", "Expression": "SEARCH(1)"}]}, "SEARCH"),
        ({"Metrics": [{"Id": "e", "Expression": "5 % 2"}]}, "5 % 2 cannot be calculated"),
        ({"Metrics": [{"Id": "e", "Expression": "1 + 1"}]}, "single time series"),
    ],
)
def test_an_alarm_that_cannot_be_evaluated_is_refused(
    host: HostProcess, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message) as caught:
        alarm(host, "refused", **more)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    answer = host.client("cloudwatch").describe_alarms(AlarmNames=["refused"])
    assert answer["MetricAlarms"] == []


def test_messages_that_wait_in_a_queue_are_a_metric(host: HostProcess) -> None:
    url, _ = queue(host, "waiting")
    alarm(
        host,
        "waiting",
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Statistic="Maximum",
        Dimensions=[{"Name": "QueueName", "Value": "waiting"}],
        Threshold=0.0,
    )
    host.client("sqs").send_message(QueueUrl=url, MessageBody="m")
    until(lambda: found(host, "waiting")["StateValue"] == "ALARM")
