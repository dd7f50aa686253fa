"""What comes over HTTP and makes no sense gets an error as AWS has them, and soon."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from conftest import IMAGE, REGION, ROLE
from generated_requests import (
    Request,
    by_shape,
    control,
    fuzz,
    senseless,
    to_the_runtime,
    wrong_on_the_wire,
)
from host_process import HostProcess
from hypothesis import given
from hypothesis import strategies as st
from model_server import SERVER, SERVER_IMAGE

from local_aws.images.images import Image, Images

SECONDS = 20.0


class Wire:
    """A connection that stays open, to a local AWS in which something is there."""

    def __init__(self, host: HostProcess) -> None:
        self.host = host
        self.connection = HTTPConnection("127.0.0.1", host.port, timeout=SECONDS)

    def send(self, request: Request) -> tuple[int, str, bytes]:
        """Return status, error type by header, and body."""
        self.connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in request.headers.items():
            self.connection.putheader(name, value.encode("latin-1"))
        self.connection.putheader("Content-Length", str(len(request.body)))
        self.connection.endheaders(request.body)
        answer = self.connection.getresponse()
        return answer.status, answer.getheader("x-amzn-errortype", ""), answer.read()

    def check(self, request: Request) -> int:
        """Send a request; what comes back is a response, or an error in AWS's shape."""
        status, kind, body = self.send(request)
        shown = (request.method, request.path[:200], request.headers, request.body[:300], body)
        assert status == 200 or 400 <= status < 500 or status == 501, shown
        if status != 200:
            error = json.loads(body)
            assert re.fullmatch(r"[A-Za-z]+", error.get("__type", kind) or "None"), shown
            assert error["message"], shown
        return status


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A local AWS in which some of the names that are tried exist."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "server.py").write_text(SERVER)
    python = str(Path(sys.executable).parent)
    image = Image(folder, python, {}, ["python", "server.py"], [])
    for uri in (IMAGE, SERVER_IMAGE):
        Images(folder).register(uri, image)
    with HostProcess(folder) as host:
        fill(host)
        yield Wire(host)
        # Nor did what goes on behind the answers meet what it cannot handle.
        assert "Traceback" not in host.log.read_text(), host.log.read_text()[-3000:]


def fill(host: HostProcess) -> None:
    sagemaker, s3 = host.client("sagemaker"), host.client("s3")
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="models", Key="name", Body=b"there")
    source = {"S3DataType": "S3Prefix", "CompressionType": "None", "S3Uri": "s3://models/"}
    container = {"Image": SERVER_IMAGE, "ModelDataSource": {"S3DataSource": source}}
    sagemaker.create_model(ModelName="served", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker.create_model(
        ModelName="there", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}
    )
    sagemaker.create_model_package_group(ModelPackageGroupName="there")
    sagemaker.create_model_package(ModelPackageGroupName="there")
    variant = {"VariantName": "there", "ModelName": "served", "InstanceType": "ml.m5.large"}
    variants = [{**variant, "InitialInstanceCount": 1}]
    sagemaker.create_endpoint_config(EndpointConfigName="there", ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName="there", EndpointConfigName="there")
    waiter = sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName="there", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})


def send_many(wire: Wire, examples: int) -> None:
    statuses: Counter[int] = Counter()

    @fuzz(examples)
    @given(st.one_of(by_shape(), by_shape(), wrong_on_the_wire(), to_the_runtime()))
    def malformed(request: Request) -> None:
        status = wire.check(request)
        statuses[status] += 1
        # 501 is for what is not there, and this is about what is.
        assert status != 501 or request.path.startswith("/endpoints/")

    malformed()
    assert statuses.total() >= examples * 0.9
    assert statuses[400] > examples / 2


def test_malformed_requests_get_an_error_in_the_shape_of_aws(wire: Wire) -> None:
    send_many(wire, 500)


@pytest.mark.exhaustive
def test_many_malformed_requests_get_an_error_in_the_shape_of_aws(wire: Wire) -> None:
    send_many(wire, 10_000)


def test_whatever_satisfies_the_model_gets_an_answer(wire: Wire) -> None:
    statuses = set()

    @fuzz(200)
    @given(senseless())
    def send(request: Request) -> None:
        statuses.add(wire.check(request))

    send()
    assert {200, 400} <= statuses


def test_a_target_without_an_operation_is_no_operation(wire: Wire) -> None:
    for operation in ("", "X", "Create Model", "CreateModel.X"):
        status, _, body = wire.send(control(operation, b"{}"))
        assert (status, json.loads(body)["__type"]) == (400, "UnknownOperationException")


def test_a_body_that_is_too_long_is_refused(wire: Wire) -> None:
    status, _, body = wire.send(control("CreateModel", b" " * (64 * 1024**2 + 1)))
    assert (status, json.loads(body)["__type"]) == (413, "RequestEntityTooLarge")
