"""What hosting does when something fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from conftest import Aws, until
from faults import failing, refused, stand_in
from model_server import Hosted, host, next_service, running, serves

from local_aws.sagemaker.application import Application
from local_aws.sagemaker.hosting import async_queue, autoscaler, deployment, runtime
from local_aws.sagemaker.hosting.serving import Server


@pytest.fixture
def hosted(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(autoscaler, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(async_queue, "RETRY_SECONDS", 0.05)
    with host(aws, tmp_path) as served:
        yield served


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


def test_an_endpoint_outlives_its_config_and_model(hosted: Hosted) -> None:
    hosted.endpoint("e1")
    client = hosted.aws.sagemaker
    client.delete_endpoint_config(EndpointConfigName="e1")
    client.delete_model(ModelName="e1")
    change = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    client.update_endpoint_weights_and_capacities(
        EndpointName="e1", DesiredWeightsAndCapacities=change
    )
    assert hosted.wait("e1")["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    hosted.aws.service.close()
    with next_service(hosted) as service:
        until(lambda: serves(service))
        described = service.call("DescribeEndpoint", {"EndpointName": "e1"})
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "e1")


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


def test_a_request_that_gets_no_thread_waits(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = f"s3://{hosted.aws.bucket}/out"
    hosted.endpoint("e1", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": location}})
    service = hosted.aws.service
    submit = failing(service.submit, RuntimeError("can't start new thread"))
    monkeypatch.setattr(service, "submit", submit)
    request = hosted.aws.put("in", "x")
    answer = hosted.runtime.invoke_endpoint_async(EndpointName="e1", InputLocation=request)
    key = answer["OutputLocation"].removeprefix(f"s3://{hosted.aws.bucket}/")
    until(lambda: key in hosted.aws.keys("out/"))


def test_an_endpoint_without_its_queue_has_failed(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_queue(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(deployment, "AsyncQueue", no_queue)
    location = f"s3://{hosted.aws.bucket}/out"
    hosted.model("m")
    asynchronous = {"OutputConfig": {"S3OutputPath": location}}
    hosted.config("c", {"ModelName": "m"}, AsyncInferenceConfig=asynchronous)
    hosted.aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    described = hosted.wait("e")
    assert described["EndpointStatus"] == "Failed"
    assert "can't start new thread" in described["FailureReason"]
    until(lambda: running(hosted.aws) == [])


FULL = OSError(28, "No space left on device")


def test_a_rollback_that_fails_ends(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old", "new"):
        hosted.model(name)
        hosted.config(name, {"ModelName": name, "InitialInstanceCount": 2})
    client = hosted.aws.sagemaker
    client.create_endpoint(EndpointName="e", EndpointConfigName="old")
    hosted.wait("e")
    real = Server.start
    starts: list[Server] = []

    def start(server: Server) -> None:
        starts.append(server)
        if len(starts) > 1:  # the second new one, and the old one that is to come back
            raise FULL
        real(server)

    monkeypatch.setattr(Server, "start", start)
    one = {"Type": "INSTANCE_COUNT", "Value": 1}
    rolling = {"MaximumBatchSize": one, "WaitIntervalInSeconds": 0}
    client.update_endpoint(
        EndpointName="e",
        EndpointConfigName="new",
        DeploymentConfig={"RollingUpdatePolicy": rolling},
    )
    described = hosted.wait("e")
    assert len(starts) == 3
    assert described["EndpointConfigName"] == "old"
    assert "No space left on device" in described["FailureReason"]
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert hosted.invoke("e")["model"] == "old"


def test_a_cold_start_that_fails_is_told_of_and_tried_again(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted.model("m")
    capacity = {"MemorySizeInMB": 2048, "MaxConcurrency": 2}
    variant = {"VariantName": "V", "ModelName": "m", "ServerlessConfig": capacity}
    client = hosted.aws.sagemaker
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="e", EndpointConfigName="c")
    hosted.wait("e")
    monkeypatch.setattr(Server, "start", failing(Server.start, FULL))
    with pytest.raises(ClientError, match="No space left on device"):
        hosted.invoke("e")
    assert hosted.invoke("e")["model"] == "m"


def test_an_output_that_is_refused_ends_the_request(hosted: Hosted) -> None:
    location = "s3://not-there/out"
    hosted.endpoint("e1", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": location}})
    request = hosted.aws.put("in", "x")
    hosted.runtime.invoke_endpoint_async(EndpointName="e1", InputLocation=request)
    until(lambda: not hosted.aws.service.store.list("AsyncInvocation"))
