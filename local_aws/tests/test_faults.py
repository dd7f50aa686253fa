"""What goes wrong in one place stays there: loops go on, others are served, nothing is lost."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError
from conftest import REGION, Aws, make_service, training_request, until
from faults import failing, refused, stand_in
from host_process import ACCOUNT, HostProcess
from model_server import Hosted, host, running

from local_aws.sagemaker.core.logs import LogShipper
from local_aws.sagemaker.core.loops import attempt, repeat
from local_aws.sagemaker.hosting import async_queue, autoscaler, autoscaling
from local_aws.sagemaker.monitoring.definitions import Monitor
from local_aws.sagemaker.monitoring.inputs import Window


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(autoscaler, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(async_queue, "RETRY_SECONDS", 0.05)
    with host(aws, tmp_path) as served:
        yield served


# The helper of all loops


def test_a_turn_that_fails_does_not_end_the_loop() -> None:
    closing = threading.Event()
    turns: list[int] = []

    def turn() -> None:
        turns.append(len(turns))
        if len(turns) == 3:
            closing.set()
        raise LookupError

    repeat("turning", 0.0, closing, turn)
    assert turns == [0, 1, 2]


def test_an_attempt_tells_how_it_went(caplog: pytest.LogCaptureFixture) -> None:
    assert attempt("looking", [].append, 1)
    assert not attempt("looking", [].pop)
    assert "looking failed; the others go on" in caplog.text


# Autoscaling


def register(service: Any, endpoint: str, variant: str = "AllTraffic", **bounds: int) -> None:
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": autoscaler.DIMENSION,
    }
    autoscaling.call(service, "RegisterScalableTarget", {**target, **bounds})


def test_a_serverless_variant_has_no_instances_to_scale(hosted: Hosted) -> None:
    hosted.model("m1")
    config = {"MemorySizeInMB": 2048, "MaxConcurrency": 1}
    variant = {"VariantName": "AllTraffic", "ModelName": "m1", "ServerlessConfig": config}
    hosted.aws.sagemaker.create_endpoint_config(
        EndpointConfigName="c1", ProductionVariants=[variant]
    )
    hosted.aws.sagemaker.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    hosted.wait("e1")
    with pytest.raises(Exception, match="AllTraffic of endpoint e1 is serverless"):
        register(hosted.aws.service, "e1", MinCapacity=1, MaxCapacity=2)


def test_a_target_that_fails_leaves_the_others_scaled(hosted: Hosted) -> None:
    service = hosted.aws.service
    hosted.endpoint("e1")
    hosted.endpoint("e2")
    register(service, "e1", MinCapacity=1, MaxCapacity=1)
    broken = "endpoint/e1/variant/AllTraffic"
    service.store.update(autoscaler.TARGET_KIND, broken, MinCapacity=None)
    register(service, "e2", MinCapacity=2, MaxCapacity=2)
    until(lambda: len(running(hosted.aws)) == 3)


def test_a_step_policy_may_watch_metric_math(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = hosted.aws.service
    hosted.endpoint("e1")
    register(service, "e1", MinCapacity=1, MaxCapacity=5)
    policy = {
        "PolicyName": "steps",
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/e1/variant/AllTraffic",
        "ScalableDimension": autoscaler.DIMENSION,
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "Cooldown": 0,
            "StepAdjustments": [
                {
                    "MetricIntervalLowerBound": 0,
                    "MetricIntervalUpperBound": 10,
                    "ScalingAdjustment": 0,
                },
                {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 2},
            ],
        },
    }
    arn = autoscaling.call(service, "PutScalingPolicy", policy)["PolicyARN"]
    metric = {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}
    queries = [
        {"Id": "m", "MetricStat": metric, "ReturnData": False},
        {"Id": "twice", "Expression": "m * 2"},
    ]
    alarm = {
        "AlarmName": "math",
        "AlarmActions": [arn],
        "StateValue": "ALARM",
        "Metrics": queries,
        "Threshold": 1.0,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    asked: list[Any] = []

    class Pages:
        def paginate(self) -> list[dict[str, Any]]:
            return [{"MetricAlarms": [alarm]}]

    def data(**request: Any) -> dict[str, Any]:
        asked.append(request["MetricDataQueries"])
        alarm["StateValue"] = "OK"  # one step is enough
        return {"MetricDataResults": [{"Id": "twice", "Values": [12.0, 0.0]}]}

    stand_in(
        monkeypatch, service, "cloudwatch", get_paginator=lambda _: Pages(), get_metric_data=data
    )
    until(lambda: len(running(hosted.aws)) == 3)
    assert asked[0] == queries


# Alarms


def test_an_alarm_that_fails_leaves_the_others_evaluated(tmp_path: Path) -> None:
    broken = {
        "AlarmName": "a",
        "AlarmArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:a",
        "Namespace": "N",
        "MetricName": "M",
        "ComparisonOperator": "NoSuch",
        "EvaluationPeriods": 1,
        "Period": 60,
        "Statistic": "Sum",
        "TreatMissingData": "breaching",
        "Threshold": 1.0,
        "StateValue": "OK",
    }
    stores = {"__account_region_scoped__": True, "data": {f"{ACCOUNT}\0{REGION}\0'a'": broken}}
    aws = HostProcess(tmp_path / "aws")
    (aws.data_dir / "state").mkdir()
    with sqlite3.connect(aws.data_dir / "state" / "services.sqlite") as state:
        state.execute("create table services (name text primary key, state text not null)")
        metrics = {"__account_region_scoped__": True, "data": {}}
        text = json.dumps({"metrics": metrics, "alarms": stores})
        state.execute("insert into services values ('cloudwatch', ?)", (text,))
    with aws:
        cloudwatch = aws.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName="b",
            Namespace="N",
            MetricName="M",
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
            Period=10,
            Statistic="Sum",
            TreatMissingData="breaching",
            Threshold=1.0,
        )

        def state_of_b() -> str:
            [alarm] = cloudwatch.describe_alarms(AlarmNames=["b"])["MetricAlarms"]
            return str(alarm["StateValue"])

        until(lambda: "evaluating the alarm a failed" in aws.log.read_text())
        cloudwatch.set_alarm_state(AlarmName="b", StateValue="OK", StateReason="test")
        until(lambda: state_of_b() == "ALARM")  # which comes after the other at each turn


# Events, logs, checkpoints, manifests


def test_an_event_that_was_not_taken_is_sent_again(
    tmp_path: Path, emulator_port: int, isolation: str
) -> None:
    seen: list[str] = []

    def emit(_: str, detail: dict[str, Any], __: list[str]) -> None:
        seen.append(detail["ModelApprovalStatus"])
        if len(seen) == 1:
            raise ConnectionError

    service = make_service(tmp_path, emulator_port, isolation, emit)
    try:
        service.call("CreateModelPackageGroup", {"ModelPackageGroupName": "g"})
        for status in ("Approved", "Rejected"):
            service.call(
                "CreateModelPackage", {"ModelPackageGroupName": "g", "ModelApprovalStatus": status}
            )
        until(lambda: sorted(seen) == ["Approved", "Approved", "Rejected"])
        until(lambda: service.store.next_event() is None)
    finally:
        service.close()


def logged(aws: Aws, group: str, stream: str) -> list[str]:
    logs = aws.service.client("logs")
    try:
        found = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"] for event in found["events"]]


def test_a_log_goes_on_after_a_time_out(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    real = aws.service.client("logs")
    put = failing(real.put_log_events, ConnectTimeoutError(endpoint_url="here"), refused(500))
    stand_in(monkeypatch, aws.service, "logs", put_log_events=put)
    path, group = aws.folder / "log.txt", f"/faults/{aws.bucket}"
    seen: list[str] = []

    def see(line: str) -> None:
        seen.append(line)
        raise ValueError(line)

    path.write_text("one\n")
    shipper = LogShipper(aws.service, group, "stream", path, see)
    try:
        until(lambda: logged(aws, group, "stream") == ["one"])
        with path.open("a") as file:
            file.write("two\n")
        until(lambda: logged(aws, group, "stream") == ["one", "two"])
    finally:
        shipper.close()
    assert seen == ["one", "two"]


def test_no_line_is_lost_where_many_are_printed_at_once(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def put(*, logEvents: list[dict[str, Any]], **_: object) -> None:  # noqa: N803 - boto3's
        sent.extend(event["message"] for event in logEvents)

    stand_in(monkeypatch, aws.service, "logs", put_log_events=put)
    printed = [str(number % 10) for number in range(250_000)]
    path = aws.folder / "log.txt"
    path.write_text("\n".join(printed))
    LogShipper(aws.service, f"/faults/{aws.bucket}", "many", path).close()
    assert sent == printed


def test_a_job_that_does_not_start_leaves_no_thread(
    aws: Aws, tmp_path: Path, emulator_port: int
) -> None:
    # Without a namespace there is no program in between: the start itself fails.
    service = make_service(tmp_path / "other", emulator_port, "environment", lambda *_: None)
    try:
        request = training_request(
            service.settings.data_dir,
            "job",
            "pass",
            f"s3://{aws.bucket}/models",
            CheckpointConfig={"S3Uri": f"s3://{aws.bucket}/kept/"},
            AlgorithmSpecification={"ContainerEntrypoint": ["/no/such/program"]},
        )
        service.call("CreateTrainingJob", request)
        described: dict[str, Any] = {}

        def ended() -> bool:
            described.update(service.call("DescribeTrainingJob", {"TrainingJobName": "job"}))
            return bool(described["TrainingJobStatus"] == "Failed")

        until(ended)
        assert "/no/such/program" in described["FailureReason"]
        until(lambda: not service.runs)
        assert [each for each in threading.enumerate() if each.name == "checkpoints"] == []
    finally:
        service.close()


def test_all_manifests_of_an_hour_are_seen(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    real = aws.service.client("s3")
    pages = real.get_paginator

    class Small:
        """S3 with pages of two keys, which it is free to make."""

        def paginate(self, **request: Any) -> Any:
            request["PaginationConfig"] = {"PageSize": 2}
            return pages("list_objects_v2").paginate(**request)

    def small(**request: Any) -> Any:
        return real.list_objects_v2(**{**request, "MaxKeys": 2})

    stand_in(monkeypatch, aws.service, "s3", get_paginator=lambda _: Small(), list_objects_v2=small)
    for number in range(5):
        aws.put(f"captured/input/2026/11/28/10/manifest-{number}", "[]")
    data = {
        "DataCapturedDestinationS3Uri": f"s3://{aws.bucket}/captured",
        "LocalPath": "/opt/ml/processing/input",
    }
    monitor = Monitor(
        type="DataQuality",
        name="m",
        app={"ImageUri": "image"},
        environment={},
        input={"BatchTransformInput": data},
        output={},
        baseline={},
        rest={},
    )
    begin = datetime(2026, 11, 28, 10, tzinfo=UTC)
    window = Window(aws.service, monitor, begin, begin.replace(hour=11))
    assert len(window.captured(window.place)) == 5
