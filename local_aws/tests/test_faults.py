"""What goes wrong in one place stays there: loops go on, others are served, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from conftest import REGION, Aws, make_service, training_request, until
from host_process import ACCOUNT, HostProcess
from model_server import SERVER_IMAGE, Hosted, host, running

from local_aws.sagemaker.application import Application
from local_aws.sagemaker.core.logs import LogShipper
from local_aws.sagemaker.core.loops import attempt, repeat
from local_aws.sagemaker.hosting import async_queue, autoscaler, autoscaling, runtime
from local_aws.sagemaker.monitoring.definitions import Monitor
from local_aws.sagemaker.monitoring.inputs import Window


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(autoscaler, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(async_queue, "RETRY_SECONDS", 0.05)
    with host(aws, tmp_path) as served:
        yield served


class Standing:
    """Stands for a client of boto3, with some operations of its own."""

    def __init__(self, real: Any, **operations: Callable[..., Any]) -> None:
        self._real = real
        vars(self).update(operations)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def stand_in(
    monkeypatch: pytest.MonkeyPatch, service: Any, name: str, **operations: Callable[..., Any]
) -> Any:
    """Let a service's client have some operations of ours; returns the real client."""
    client = service.client
    real = client(name)
    found = Standing(real, **operations)
    monkeypatch.setattr(
        service,
        "client",
        lambda asked, role="": found if asked == name else client(asked, role),
    )
    return real


def failing(operation: Callable[..., Any], *errors: Exception) -> Callable[..., Any]:
    """Return an operation that raises errors first, one a call."""
    left = list(errors)

    def called(*arguments: Any, **fields: Any) -> Any:
        if left:
            raise left.pop(0)
        return operation(*arguments, **fields)

    return called


def refused(status: int, code: str = "Broken") -> ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")  # type: ignore[arg-type]  # the rest is not looked at


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
    try:
        aws.start()
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
    finally:
        aws.end()


# The pools


def test_waiting_invocations_hold_nothing_else_up(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    waiting = threading.Semaphore(0)

    def invoke(*_: object) -> runtime.Response:
        waiting.release()
        assert released.wait(60)
        return 200, {}, b""

    monkeypatch.setattr(runtime, "invoke", invoke)
    application = Application(aws.service)

    async def call(path: str, headers: dict[str, str], body: bytes) -> int:
        answers: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            answers.append(message)

        encoded = [(key.encode(), value.encode()) for key, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "headers": encoded}
        await application(scope, receive, send)
        return int(answers[0]["status"])

    async def both() -> None:
        application.resumed.set()
        invocations = [
            asyncio.create_task(call("/endpoints/e/invocations", {}, b"")) for _ in range(100)
        ]
        for _ in invocations:
            while not waiting.acquire(blocking=False):
                await asyncio.sleep(0.001)
        target = {"x-amz-target": "SageMaker.ListModels"}
        assert await call("/", target, b"{}") == 200
        assert not any(task.done() for task in invocations)
        released.set()
        assert set(await asyncio.gather(*invocations)) == {200}

    try:
        asyncio.run(asyncio.wait_for(both(), 60))
    finally:
        released.set()


# Endpoints


def test_an_endpoint_outlives_its_config_and_model(
    hosted: Hosted, isolation: str, emulator_port: int
) -> None:
    hosted.endpoint("e1")
    client = hosted.aws.sagemaker
    client.delete_endpoint_config(EndpointConfigName="e1")
    client.delete_model(ModelName="e1")
    change = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    client.update_endpoint_weights_and_capacities(
        EndpointName="e1", DesiredWeightsAndCapacities=change
    )
    assert hosted.wait("e1")["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    old = hosted.aws.service
    old.close()
    service = make_service(old.settings.data_dir, emulator_port, isolation, lambda *_: None)
    try:
        service.images.register(SERVER_IMAGE, old.images.resolve(SERVER_IMAGE))
        call = ("POST", "/endpoints/e1/invocations", {"Content-Type": "text/csv"}, b"x")
        until(lambda: runtime.invoke(service, *call)[0] == 200)
        described = service.call("DescribeEndpoint", {"EndpointName": "e1"})
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "e1")
    finally:
        service.close()


def test_a_change_of_capacity_that_fails_half_way_is_taken_back(hosted: Hosted) -> None:
    hosted.model("m1")
    hosted.model("m2")
    hosted.config(
        "c1",
        {"VariantName": "V1", "ModelName": "m1"},
        {"VariantName": "V2", "ModelName": "m2"},
    )
    client = hosted.aws.sagemaker
    client.create_endpoint(EndpointName="e1", EndpointConfigName="c1")
    hosted.wait("e1")
    hosted.aws.s3.delete_object(Bucket=hosted.aws.bucket, Key="m2/model.tar.gz")
    change = [{"VariantName": name, "DesiredInstanceCount": 3} for name in ("V1", "V2")]
    client.update_endpoint_weights_and_capacities(
        EndpointName="e1", DesiredWeightsAndCapacities=change
    )
    described = hosted.wait("e1")
    counts = {
        found["VariantName"]: (found["CurrentInstanceCount"], found["DesiredInstanceCount"])
        for found in described["ProductionVariants"]
    }
    assert described["EndpointStatus"] == "InService"
    assert "Could not find model data" in described["FailureReason"]
    assert counts == {"V1": (1, 1), "V2": (1, 1)}
    assert len(running(hosted.aws)) == 2


def test_an_asynchronous_request_waits_until_its_output_can_be_stored(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = f"s3://{hosted.aws.bucket}/out"
    hosted.endpoint("e1", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": location}})
    service = hosted.aws.service
    real = service.client("s3")
    full = OSError(28, "No space left on device")
    put = failing(real.put_object, refused(500), full, ConnectTimeoutError(endpoint_url="here"))
    stand_in(monkeypatch, service, "s3", put_object=put)
    request = hosted.aws.put("in", "x")
    answer = hosted.runtime.invoke_endpoint_async(EndpointName="e1", InputLocation=request)
    key = answer["OutputLocation"].removeprefix(f"s3://{hosted.aws.bucket}/")
    until(lambda: key in hosted.aws.keys("out/"))
    assert json.loads(hosted.aws.get(key))["model"] == "e1"
    until(lambda: not service.store.list("AsyncInvocation"))


def test_an_output_that_is_refused_ends_the_request(hosted: Hosted) -> None:
    location = "s3://not-there/out"
    hosted.endpoint("e1", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": location}})
    request = hosted.aws.put("in", "x")
    hosted.runtime.invoke_endpoint_async(EndpointName="e1", InputLocation=request)
    until(lambda: not hosted.aws.service.store.list("AsyncInvocation"))


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
