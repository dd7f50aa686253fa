"""Monitors of endpoints: schedules, executions and what they find."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import IMAGE, REGION, Aws, aws_client, program, until
from host_process import HostProcess
from model_server import Hosted, host
from monitor_requests import (
    ANALYZER,
    batch_request,
    define,
    definition_request,
    listed,
    manifest,
    monitored_endpoint,
    put_baseline,
    schedule_request,
    wait_execution,
)

from local_aws.images.images import Image, Images

HOURLY = "cron(0 * ? * * *)"


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path) -> Iterator[Hosted]:
    with host(aws, tmp_path) as served:
        yield served


def send(hosted: Hosted, rows: list[str], first: int = 0) -> None:
    """Has an endpoint asked, and waits until everything is captured."""
    for number, row in enumerate(rows, start=first):
        hosted.invoke("watched", row, ContentType="text/csv", InferenceId=f"id-{number}")
    aws = hosted.aws
    until(
        lambda: (
            sum(len(aws.get(key).splitlines()) for key in aws.keys("capture")) == first + len(rows)
        )
    )


def reports(aws: Aws) -> dict[str, dict[str, Any]]:
    keys = [key for key in aws.keys("reports") if "/merge/" not in key]
    return {Path(key).stem: json.loads(aws.get(key)) for key in keys}


def test_the_quality_of_data_is_watched(hosted: Hosted) -> None:
    aws, client = hosted.aws, hosted.aws.sagemaker
    rows = [(number % 50, f"{number % 7 / 2 + 0.1:.2f}", "ab"[number % 2]) for number in range(400)]
    assert put_baseline(aws, rows, "age,weight,kind")["ExitMessage"].startswith("Completed")
    assert aws.keys("baseline") == ["baseline/constraints.json", "baseline/statistics.json"]
    monitored_endpoint(hosted)
    send(hosted, ["\n".join(f"{age},{weight},{kind}" for age, weight, kind in rows[:300])])
    assert define(aws, "DataQuality")["JobDefinitionArn"].endswith(
        ":data-quality-job-definition/job"
    )
    client.create_monitoring_schedule(**schedule_request("DataQuality"))

    found = wait_execution(aws)
    assert found["MonitoringExecutionStatus"] == "Completed", found
    assert found["EndpointName"] == "watched"
    described = client.describe_monitoring_schedule(MonitoringScheduleName="hourly")
    assert described["MonitoringScheduleStatus"] == "Scheduled"
    last = described["LastMonitoringExecutionSummary"]
    assert last["ProcessingJobArn"] == found["ProcessingJobArn"]
    assert {name: report.get("violations") for name, report in reports(aws).items()} == {
        "statistics": None,
        "constraints": None,
        "constraint_violations": [],
    }
    day = f"{datetime.now(UTC):%Y/%m}"
    assert all(key.startswith(f"reports/watched/hourly/{day}/") for key in aws.keys("reports"))
    job = client.describe_processing_job(
        ProcessingJobName=found["ProcessingJobArn"].rpartition("/")[2]
    )
    assert job["MonitoringScheduleArn"] == described["MonitoringScheduleArn"]

    send(hosted, ["60.5,9,c\n" * 100], first=1)
    client.start_monitoring_schedule(MonitoringScheduleName="hourly")
    found = wait_execution(aws, count=2)
    assert found["MonitoringExecutionStatus"] == "CompletedWithViolations"
    violations = reports(aws)["constraint_violations"]["violations"]
    assert {(v["feature_name"], v["constraint_check_type"]) for v in violations} == {
        ("age", "data_type_check"),
        ("age", "baseline_drift_check"),
        ("weight", "baseline_drift_check"),
        ("kind", "categorical_values_check"),
        ("kind", "baseline_drift_check"),
    }
    metrics = aws_client("cloudwatch", aws.service.settings.port)
    watched = {"Namespace": "aws/sagemaker/Endpoints/data-metrics"}
    dimensions = [
        {"Name": "Endpoint", "Value": "watched"},
        {"Name": "MonitoringSchedule", "Value": "hourly"},
    ]
    listed = metrics.list_metrics(**watched, Dimensions=dimensions)["Metrics"]
    assert "feature_baseline_drift_weight" in {metric["MetricName"] for metric in listed}
    assert ("SageMaker Monitoring Schedule State Change", "Scheduled") in [
        (title, detail.get("MonitoringScheduleStatus")) for title, detail, _ in aws.events
    ]


def test_the_quality_of_predictions_is_watched(hosted: Hosted) -> None:
    """The toy model predicts how many bytes it was sent."""
    aws = hosted.aws
    monitored_endpoint(hosted)
    send(hosted, ["1", "22", "333", "4444"])
    hour = f"{datetime.now(UTC):%Y/%m/%d/%H}"
    for number, label in enumerate(("1", "2", "3", "9", "5")):
        record = {
            "groundTruthData": {"data": label, "encoding": "CSV"},
            "eventMetadata": {"eventId": f"id-{number}"},
            "eventVersion": "0",
        }
        aws.put(f"labels/{hour}/{number}.jsonl", json.dumps(record))
    limit = {"threshold": 1.0, "comparison_operator": "GreaterThanThreshold"}
    constraints = {"version": 0.0, "regression_constraints": {"mae": limit, "rmse": limit}}
    aws.put("baseline/constraints.json", json.dumps(constraints))
    define(aws, "ModelQuality")
    aws.sagemaker.create_monitoring_schedule(**schedule_request("ModelQuality"))

    found = wait_execution(aws)
    assert found["MonitoringExecutionStatus"] == "CompletedWithViolations", found
    jobs = aws.sagemaker.list_processing_jobs(SortBy="CreationTime", SortOrder="Ascending")
    names = [job["ProcessingJobName"] for job in jobs["ProcessingJobSummaries"]]
    assert [name.rsplit("-", 2)[0] for name in names] == [
        "groundtruth-merge",
        "model-quality-monitoring",
    ]
    (merged,) = aws.keys("reports/merge")
    assert merged.startswith(f"reports/merge/watched/AllTraffic/{hour}/")
    lines = [json.loads(line) for line in aws.get(merged).splitlines()]
    assert [line["groundTruthData"]["data"] for line in lines] == ["1", "2", "3", "9"]
    report = reports(aws)
    measured = report["statistics"]["regression_metrics"]
    assert measured["mae"] == {"value": 1.25, "standard_deviation": "NaN"}
    assert measured["rmse"]["value"] == 2.5
    assert report["constraint_violations"]["violations"] == [
        {
            "metric_name": name,
            "constraint_check_type": "GreaterThanThreshold",
            "description": f"Metric {name} with {value} was GreaterThanThreshold 1.0000",
        }
        for name, value in (("mae", "1.2500"), ("rmse", "2.5000"))
    ]


def test_an_own_image_gets_the_container_contract(hosted: Hosted) -> None:
    aws = hosted.aws
    monitored_endpoint(hosted)
    send(hosted, ["1,2"])
    put_baseline(aws, [(1, 2)], "a,b")
    code = (
        "import json, os\n"
        "from pathlib import Path\n"
        "root = Path(os.environ['dataset_source'])\n"
        "files = [str(p.relative_to(root).parent) for p in root.rglob('*') if p.is_file()]\n"
        "seen = {'files': files, 'environment': dict(os.environ)}\n"
        "seen['baseline'] = [os.path.exists(os.environ[n]) for n in\n"
        "                    ('baseline_constraints', 'baseline_statistics')]\n"
        "out = Path(os.environ['output_path'], 'seen.json')\n"
        "out.write_text(json.dumps(seen))\n"
        "base = Path(os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml'), 'output')\n"
        "(base / 'message').write_text('CompletedWithViolations: two')\n"
        "(base / 'metrics').mkdir()\n"
        "time = os.environ['metric_time']\n"
        "metric = {'MetricName': 'own', 'Timestamp': time, 'Value': 2.5}\n"
        "(base / 'metrics' / 'cloudwatch').write_text(json.dumps(metric))\n"
    )
    request = definition_request(aws.bucket, "DataQuality")
    request["DataQualityAppSpecification"] = {
        "ImageUri": IMAGE,
        "ContainerEntrypoint": program(aws.folder, code),
        "Environment": {"own": "value"},
    }
    aws.sagemaker.create_data_quality_job_definition(**request)
    aws.sagemaker.create_monitoring_schedule(**schedule_request("DataQuality"))
    assert wait_execution(aws)["MonitoringExecutionStatus"] == "CompletedWithViolations"
    seen = reports(aws)["seen"]
    assert seen["files"] == [f"watched/AllTraffic/{datetime.now(UTC):%Y/%m/%d/%H}"]
    assert seen["baseline"] == [True, True]
    given = seen["environment"]
    assert {
        "own": "value",
        "publish_cloudwatch_metrics": "Enabled",
        "sagemaker_endpoint_name": "watched",
        "sagemaker_monitoring_schedule_name": "hourly",
    }.items() <= given.items()
    assert json.loads(given["dataset_format"]) == {
        "sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}
    }
    start, end = (datetime.fromisoformat(given[name]) for name in ("start_time", "end_time"))
    assert (end - start).total_seconds() == 3 * 3600
    metrics = aws_client("cloudwatch", aws.service.settings.port)
    listed = metrics.list_metrics(MetricName="own")["Metrics"]
    assert {metric["Namespace"] for metric in listed} == {"aws/sagemaker/Endpoints/data-metrics"}


def test_what_goes_into_batch_transform_is_watched(aws: Aws) -> None:
    put_baseline(aws, [(n,) for n in range(100)], "n")
    for name, first in (("a.csv", 0), ("b.csv", 700)):
        aws.put(f"in/{name}", "\n".join(["n", *(str(first + n) for n in range(100))]))
    aws.sagemaker.create_data_quality_job_definition(**batch_request(aws.bucket))
    aws.put(*manifest(aws.bucket, "in", "a.csv", "b.csv"))
    aws.sagemaker.create_monitoring_schedule(**schedule_request("DataQuality"))
    found = wait_execution(aws)
    assert found["MonitoringExecutionStatus"] == "CompletedWithViolations"
    assert "EndpointName" not in found
    assert all(key.startswith("reports/hourly/2") for key in aws.keys("reports"))
    report = reports(aws)
    assert report["statistics"]["dataset"] == {"item_count": 200}
    (violation,) = report["constraint_violations"]["violations"]
    assert violation["constraint_check_type"] == "baseline_drift_check"
    metrics = aws_client("cloudwatch", aws.service.settings.port)
    namespace = "aws/sagemaker/ModelMonitoring/data-metrics"
    (metric,) = metrics.list_metrics(Namespace=namespace, MetricName="feature_data_n")["Metrics"]
    assert metric["Dimensions"] == [{"Name": "MonitoringSchedule", "Value": "hourly"}]


def test_an_execution_ends_with_its_schedule_or_its_failed_job(aws: Aws) -> None:
    client = aws.sagemaker
    aws.put("in/a.csv", "n\n1\n")
    aws.put(*manifest(aws.bucket, "in", "a.csv"))
    put_baseline(aws, [(1,)], "n")
    for name, code in (("slow", "import time; time.sleep(600)"), ("broken", "exit('no luck')")):
        request = batch_request(aws.bucket) | {"JobDefinitionName": name}
        app = {"ImageUri": IMAGE, "ContainerEntrypoint": program(aws.folder, code)}
        request["DataQualityAppSpecification"] = app
        client.create_data_quality_job_definition(**request)
        client.create_monitoring_schedule(
            **schedule_request("DataQuality", name=name, definition=name)
        )
    failed = wait_execution(aws, "broken")
    assert failed["MonitoringExecutionStatus"] == "Failed"
    assert failed["FailureReason"] == "AlgorithmError: no luck, exit code: 1"
    until(lambda: bool(listed(aws, MonitoringScheduleName="slow", StatusEquals="InProgress")))
    client.delete_monitoring_schedule(MonitoringScheduleName="slow")
    assert wait_execution(aws, "slow")["MonitoringExecutionStatus"] == "Stopped"


@pytest.mark.exhaustive
def test_what_a_kill_interrupts_has_failed_and_schedules_go_on(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "data")
    python = str(Path(sys.executable))
    sleep = Image(tmp_path, entrypoint=[python, "-c", "import time; time.sleep(600)"])
    Images(host.data_dir).register(ANALYZER, sleep)  # in place of the stand-in
    with host:
        s3, client = host.client("s3"), host.client("sagemaker")
        s3.create_bucket(Bucket="watched", CreateBucketConfiguration={"LocationConstraint": REGION})
        key, text = manifest("watched", "in", "a.csv")
        for name, body in (
            (key, text),
            ("in/a.csv", "n\n1\n"),
            ("baseline/constraints.json", "{}"),
            ("baseline/statistics.json", "{}"),
        ):
            s3.put_object(Bucket="watched", Key=name, Body=body.encode())
        client.create_data_quality_job_definition(**batch_request("watched"))
        for name, expression in (("once", "NOW"), ("hourly", HOURLY)):
            client.create_monitoring_schedule(**schedule_request("DataQuality", expression, name))
        until(
            lambda: bool(
                client.list_monitoring_executions(StatusEquals="InProgress")[
                    "MonitoringExecutionSummaries"
                ]
            )
        )
        host.kill()
        host.start()
        client = host.client("sagemaker")
        (found,) = client.list_monitoring_executions()["MonitoringExecutionSummaries"]
        assert found["MonitoringExecutionStatus"] == "Failed"
        assert found["FailureReason"] == (
            "InternalServerError: The local AWS was killed while the execution ran."
        )
        schedules = client.list_monitoring_schedules()["MonitoringScheduleSummaries"]
        assert {schedule["MonitoringScheduleStatus"] for schedule in schedules} == {"Scheduled"}


def test_a_window_without_data_fails_in_aws_words(hosted: Hosted) -> None:
    aws = hosted.aws
    monitored_endpoint(hosted)
    define(aws, "DataQuality")
    aws.sagemaker.create_monitoring_schedule(**schedule_request("DataQuality"))
    found = wait_execution(aws)
    assert found["MonitoringExecutionStatus"] == "Failed"
    assert found["FailureReason"] == "Job inputs had no data"
    assert "ProcessingJobArn" not in found
