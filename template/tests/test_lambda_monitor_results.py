"""What a monitor has found becomes metrics, and is there for the mails of alarms."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from support.fake_sagemaker import BUCKET

from lambdas import monitor_results
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

MONITOR = names.MONITORS[0]
PLAN = "monitoring/inputs/abc123/plan.json"
REPORT = f"monitoring/{MONITOR}/abc123"
EVENT = {"execution": "abc123"}
VIOLATION = {
    "feature_name": "distance",
    "constraint_check_type": "range_check",
    "description": "too far",
}
WINDOW = ("2026-01-31T00:00:00+00:00", "2026-02-01T00:00:00+00:00")
COVERAGE = {
    "version": "3",
    "start": WINDOW[0],
    "end": WINDOW[1],
    "judged": 90,
    "dropped": {"unreadable": 7, "mistimed": 3},
    "unlabelled": 20,
    "unmatched": 2,
    "problems": ["10.0% of 100 predictions could not be read."],
}


def put(session: boto3.Session, **documents: Any) -> None:
    """The report of the only monitor of a plan in the data bucket."""
    plan(session, MONITOR)
    for name, document in documents.items():
        write(session, f"{REPORT}/{name}.json", document)


def plan(session: boto3.Session, *monitors: str, **failed: str) -> None:
    """The plan of an execution; `failed` are the monitors that could not run."""
    write(session, PLAN, {"monitors": {name: {} for name in monitors}, "failed": failed})


def write(session: boto3.Session, key: str, document: Any) -> None:
    session.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(document).encode())


def metrics(session: boto3.Session) -> dict[str, float]:
    """The largest value of each metric of the monitor."""
    cloudwatch, now = session.client("cloudwatch"), datetime.now(UTC)
    found = {}
    for metric in cloudwatch.list_metrics(Namespace=NAMES.metric_namespace)["Metrics"]:
        assert metric["Dimensions"] == [{"Name": "Monitor", "Value": MONITOR}]
        (point,) = cloudwatch.get_metric_statistics(
            Namespace=NAMES.metric_namespace,
            MetricName=metric["MetricName"],
            Dimensions=metric["Dimensions"],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=7200,
            Statistics=["Maximum"],
        )["Datapoints"]
        found[metric["MetricName"]] = point["Maximum"]
    return found


def latest(session: boto3.Session, version: str) -> Any:
    key = f"monitoring/latest/{MONITOR}/version={version}.json"
    return json.loads(session.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())


def test_a_report_becomes_metrics(session: boto3.Session) -> None:
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=COVERAGE)
    for _ in range(2):  # doing it twice changes nothing
        assert monitor_results.handler(EVENT, None) == {"violations": 1, "problems": 1}
    assert metrics(session) == {
        "Violations": 1,
        "Problems": 1,
        "Judged": 90,
        "Dropped": 10,
        "Unlabelled": 20,
        "Unmatched": 2,
    }
    found = latest(session, "3")
    assert found["violations"] == [VIOLATION | {"since": WINDOW[0]}]
    assert found["report"] == f"s3://{BUCKET}/{REPORT}"
    assert found["problems"] == COVERAGE["problems"]


def test_the_mail_says_which(session: boto3.Session) -> None:
    put(session, constraint_violations={"violations": [VIOLATION] * 22}, coverage=COVERAGE)
    monitor_results.handler(EVENT, None)
    quiet = COVERAGE | {"version": "4", "problems": [], "dropped": {}}
    put(session, constraint_violations={"violations": []}, coverage=quiet)
    monitor_results.handler(EVENT, None)
    # What another version has had long ago is no news.
    old = latest(session, "3") | {"version": "2", "published": "2025-01-31T00:00:00+00:00"}
    write(session, f"monitoring/latest/{MONITOR}/version=2.json", old)
    text = monitor_results.text(MONITOR)
    assert "Version 3, 2026-01-31T00:00:00+00:00 to 2026-02-01" in text
    assert text.count("  distance: range_check: too far") == 20
    assert "… and 3 more" in text
    assert f"uv run ops monitor --last --open --execution {EVENT['execution']}" in text
    assert "Version 4" in text
    assert "Nothing was found." in text
    assert "Version 2" not in text


def test_the_mail_says_how_bad_it_is_and_since_when(session: boto3.Session) -> None:
    """In the words of the table `monitor_results`; since the first of the windows that had it."""
    measured = {"name": "distance", "kind": "range_check", "value": 0.25, "threshold": 0.01}
    row = measured | {"low": 0.2, "high": 0.3, "violated": True, "message": "too far"}
    fine = row | {"name": "hour", "violated": False}
    violations = {"violations": [VIOLATION]}
    put(session, constraint_violations=violations, coverage=COVERAGE, results={"results": [row]})
    monitor_results.handler(EVENT, None)
    later = COVERAGE | {"start": WINDOW[1], "end": "2026-02-02T00:00:00+00:00"}
    for _ in range(2):  # once more is no later
        rows = {"results": [fine, row]}
        put(session, constraint_violations=violations, coverage=later, results=rows)
        monitor_results.handler(EVENT, None)
    (found,) = latest(session, "3")["violations"]
    bounds = {key: row[key] for key in ("value", "threshold", "low", "high")}
    assert found == VIOLATION | bounds | {"since": WINDOW[0]}
    line = "distance: range_check: too far (value 0.25, threshold 0.01, 95 % interval 0.2 to 0.3, "
    assert f"  {line}since {WINDOW[0]})" in monitor_results.text(MONITOR)
    console = f"s3/buckets/{BUCKET}?region={names.REGION}&prefix={REPORT}/"
    assert console in monitor_results.text(MONITOR)
    # A window without it ends it.
    put(session, constraint_violations={"violations": []}, coverage=later)
    monitor_results.handler(EVENT, None)
    # An image of an earlier version does not tell what was measured.
    session.client("s3").delete_object(Bucket=BUCKET, Key=f"{REPORT}/results.json")
    put(session, constraint_violations=violations, coverage=later)
    monitor_results.handler(EVENT, None)
    (found,) = latest(session, "3")["violations"]
    assert found == VIOLATION | {"since": WINDOW[1]}


def test_an_older_window_that_is_caught_up_does_not_hide_a_newer_one(
    session: boto3.Session,
) -> None:
    later = COVERAGE | {"start": WINDOW[1], "end": "2026-02-02T00:00:00+00:00"}
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=later)
    monitor_results.handler(EVENT, None)
    put(session, constraint_violations={"violations": []}, coverage=COVERAGE | {"problems": []})
    monitor_results.handler(EVENT, None)
    found = latest(session, "3")
    assert (found["start"], len(found["violations"])) == (WINDOW[1], 1)
    put(session, constraint_violations={"violations": []}, coverage=later | {"problems": []})
    monitor_results.handler(EVENT, None)
    assert latest(session, "3")["violations"] == []


def test_what_an_older_window_has_found_is_told_where_the_newer_one_has_nothing(
    session: boto3.Session,
) -> None:
    """Its alarm goes off now. Of a violation that the newer one has, too, it tells since when."""
    later = COVERAGE | {"start": WINDOW[1], "end": "2026-02-02T00:00:00+00:00", "problems": []}
    calm = COVERAGE | {"problems": []}
    put(session, constraint_violations={"violations": []}, coverage=later)
    monitor_results.handler(EVENT, None)
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=calm)
    monitor_results.handler(EVENT, None)
    assert latest(session, "3")["violations"] == [VIOLATION | {"since": WINDOW[0]}]
    put(session, constraint_violations={"violations": []}, coverage=later)
    monitor_results.handler(EVENT, None)
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=later)
    monitor_results.handler(EVENT, None)
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=calm)
    monitor_results.handler(EVENT, None)
    kept = latest(session, "3")
    assert kept["start"] == WINDOW[1]
    assert kept["violations"] == [VIOLATION | {"since": WINDOW[0]}]


def test_a_window_with_nothing_to_judge_does_not_end_what_was_found(
    session: boto3.Session,
) -> None:
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=COVERAGE)
    monitor_results.handler(EVENT, None)
    ends = [f"2026-02-0{day}T00:00:00+00:00" for day in (2, 3)]
    monitor_results.nothing(MONITOR, "3", WINDOW[1], ends[0], "")
    assert latest(session, "3")["violations"] == []
    last = COVERAGE | {"start": ends[0], "end": ends[1]}
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=last)
    monitor_results.handler(EVENT, None)
    assert latest(session, "3")["violations"] == [VIOLATION | {"since": WINDOW[0]}]


def test_values_are_metrics_as_well(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_results, "VALUES", 1)
    row = {"name": "distance", "kind": "range_check", "value": 0.25, "violated": False}
    nothing = [row | {"name": None}, row | {"value": None}]
    rows = {"results": [*nothing, row, row | {"name": "hour"}]}
    put(session, constraint_violations={"violations": []}, coverage=COVERAGE, results=rows)
    monitor_results.handler(EVENT, None)
    (metric,) = session.client("cloudwatch").list_metrics(MetricName="Value")["Metrics"]
    assert {each["Name"]: each["Value"] for each in metric["Dimensions"]} == {
        "Monitor": MONITOR,
        "Check": "range_check",
        "Name": "distance",
    }


def test_what_was_found_is_there_before_an_alarm_can_go_off(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=COVERAGE)
    monkeypatch.delenv("METRIC_NAMESPACE")
    with pytest.raises(KeyError, match="METRIC_NAMESPACE"):
        monitor_results.handler(EVENT, None)
    assert "distance: range_check: too far" in monitor_results.text(MONITOR)


def test_a_monitor_that_has_not_run_has_nothing_to_say(session: boto3.Session) -> None:
    assert session.region_name
    assert monitor_results.text(MONITOR) == ""


def test_nothing_to_look_at_is_a_problem(session: boto3.Session) -> None:
    reason = "There are no predictions."
    monitor_results.nothing(MONITOR, "3", *WINDOW, reason=reason)
    assert metrics(session) == {"Violations": 0, "Problems": 1, "Judged": 0}
    assert reason in monitor_results.text(MONITOR)


def test_no_version_is_no_problem_but_a_sign_of_life(session: boto3.Session) -> None:
    monitor_results.nothing(MONITOR, "", *WINDOW, reason="No version serves.")
    assert metrics(session) == {"Violations": 0, "Problems": 0, "Judged": 0}


def test_a_monitor_that_failed_takes_no_other_along(session: boto3.Session) -> None:
    """What the others found is published; the execution fails with the reason of each."""
    put(session, constraint_violations={"violations": [VIOLATION]}, coverage=COVERAGE)
    plan(session, "broken", MONITOR, "silent", unknown="its image does not know it")
    write(session, "monitoring/broken/abc123/failure.json", {"reason": "no rows"})
    with pytest.raises(monitor_results.MonitorFailed) as raised:
        monitor_results.handler(EVENT, None)
    assert str(raised.value) == (
        "unknown: its image does not know it; broken: no rows; "
        f"silent: it has left no report in s3://{BUCKET}/monitoring/silent/abc123"
    )
    assert metrics(session)["Violations"] == 1
    assert latest(session, "3")["violations"] == [VIOLATION | {"since": WINDOW[0]}]
