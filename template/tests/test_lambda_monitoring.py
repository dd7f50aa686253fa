import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from fake_sagemaker import BUCKET, Endless, FakeSageMaker

from lambdas import deploy, monitoring
from workflows import names
from workflows.monitors import MONITORS, Monitor

pytest_plugins = ["lambda_account"]

CAPTURE = f"capture/{names.ENDPOINT}/{names.VARIANT}"
MONITOR = names.MONITORS[0]
START, END = "2026-01-31T23:00:00Z", "2026-02-01T01:30:00Z"


def event(**changes: Any) -> dict[str, Any]:
    return {
        "monitor": MONITOR,
        "baseline": "ModelQuality",
        "labels": True,
        "execution": "abc123",
        "start": START,
        "end": END,
        "window_hours": 24,
    } | changes


@pytest.fixture
def serving(sagemaker: FakeSageMaker) -> FakeSageMaker:
    package = sagemaker.add_package(7)
    deploy.run(package, datetime(2026, 1, 1, tzinfo=UTC), Endless())
    sagemaker.finish()
    return sagemaker


def put(session: boto3.Session, *keys: str) -> None:
    for key in keys:
        session.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{}")


def read(session: boto3.Session, uri: str) -> Any:
    key = uri.removeprefix(f"s3://{BUCKET}/")
    return json.loads(session.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())


@pytest.mark.usefixtures("serving")
def test_window_is_found_in_the_folders_of_its_hours(session: boto3.Session) -> None:
    hours = ("2026/01/31/22", "2026/01/31/23", "2026/02/01/00", "2026/02/01/02", "2026/02/01/03")
    put(session, *(f"{CAPTURE}/{hour}/a.jsonl" for hour in hours))
    put(session, f"capture/{names.ENDPOINT}/Other/2026/02/01/00/a.jsonl")
    put(session, "ground-truth/2026/01/31/22/a.jsonl", "ground-truth/2026/02/09/10/a.jsonl")
    found = monitoring.inputs(event(), None)
    # An hour more than the window, as captures can be filed late; labels come at any later time.
    assert read(session, str(found["predictions"])) == [
        {"prefix": f"s3://{BUCKET}/{CAPTURE}/"},
        *(f"{hour}/a.jsonl" for hour in hours[1:4]),
    ]
    assert read(session, str(found["labels"])) == [
        {"prefix": f"s3://{BUCKET}/ground-truth/"},
        "2026/02/09/10/a.jsonl",
    ]
    assert (found["predictions_count"], found["labels_count"]) == (3, 1)
    assert (found["start"], found["end"]) == (
        "2026-01-31T23:00:00+00:00",
        "2026-02-01T01:30:00+00:00",
    )
    # Done twice, it writes the same objects.
    assert monitoring.inputs(event(), None) == found


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("monitor", MONITORS)
def test_baseline_is_that_of_the_version_that_serves(monitor: Monitor) -> None:
    found = monitoring.inputs(event(baseline=monitor.baseline, labels=monitor.labels), None)
    folder = {"ModelQuality": "evaluation", "ModelDataQuality": "baseline"}[monitor.baseline]
    assert found["baseline"] == f"s3://{BUCKET}/training/execution7/{folder}/"
    assert ("labels" in found) == monitor.labels


@pytest.mark.usefixtures("sagemaker")
def test_no_endpoint_is_nothing_to_look_at(session: boto3.Session) -> None:
    put(session, f"{CAPTURE}/2026/02/01/00/a.jsonl")
    found = monitoring.inputs(event(), None)
    assert (found["predictions_count"], found["baseline"]) == (0, "")


@pytest.mark.usefixtures("serving")
def test_window_ends_now_unless_told() -> None:
    found = monitoring.inputs(event(start="auto", end="auto"), None)
    start, end = (datetime.fromisoformat(str(found[name])) for name in ("start", "end"))
    assert end - start == timedelta(hours=24)
    assert abs(datetime.now(UTC) - end) < timedelta(minutes=1)


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "yesterday"}, "WindowStart: 'yesterday' is not a time like"),
        ({"end": "2026-13-01"}, "WindowEnd: '2026-13-01' is not a time like"),
        ({"start": END, "end": START}, "is not before WindowEnd"),
        ({"baseline": "ModelFairness"}, "has no baseline ModelFairness"),
    ],
)
def test_bad_input_is_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        monitoring.inputs(event(**changes), None)


def test_model_from_elsewhere_is_named(serving: FakeSageMaker) -> None:
    for model in serving.models.values():
        model["PrimaryContainer"] = {"Image": "image"}
    with pytest.raises(ValueError, match="not serve a version of the model registry"):
        monitoring.inputs(event(), None)


@pytest.mark.parametrize("count", [0, 2])
def test_violations_become_a_metric(session: boto3.Session, count: int) -> None:
    report = {"violations": [{"feature_name": str(i)} for i in range(count)]}
    key = f"monitoring/{MONITOR}/abc123/constraint_violations.json"
    session.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(report).encode())
    request = {"monitor": MONITOR, "report": f"s3://{BUCKET}/monitoring/{MONITOR}/abc123"}
    for _ in range(2):  # doing it twice changes nothing
        assert monitoring.violations(request, None) == {"violations": count}
    now = datetime.now(UTC)
    (point,) = session.client("cloudwatch").get_metric_statistics(
        Namespace=names.METRIC_NAMESPACE,
        MetricName="Violations",
        Dimensions=[{"Name": "Monitor", "Value": MONITOR}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Maximum"],
    )["Datapoints"]
    assert point["Maximum"] == count
