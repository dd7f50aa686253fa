"""A SageMaker service behind real HTTP, with S3 and CloudWatch Logs of an emulator beside it."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from local_aws.images.containers import detect_isolation
from local_aws.images.images import Image, Images
from local_aws.sagemaker.assembly import SageMaker
from local_aws.sagemaker.core.service import Service
from local_aws.settings import Settings

# A run in the background has SIGINT ignored, and what it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["host_process"]  # fixtures

REGION = "eu-west-1"
IMAGE = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/toy:1"
ROLE = "arn:aws:iam::000000000000:role/toy"


# Below the ports that a system hands out by itself (32,768 and up), so that a server finds its port
# free when it starts again; of a hundred by this process's own number, for several run at once.
_PORTS = itertools.cycle(range(20_000 + os.getpid() % 120 * 100, 20_100 + os.getpid() % 120 * 100))


def free_port() -> int:
    """A port that nobody listens on, and that no other call here gives until long after.

    Raises:
        OSError: if all of this process's ports are taken.
    """
    for port in itertools.islice(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free for this test")


# Hypothesis writes to its folder from the moment it is used; this one goes with the process.
_HYPOTHESIS_HOME = tempfile.TemporaryDirectory()
set_hypothesis_home_dir(_HYPOTHESIS_HOME.name)
# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SESSION: Any = boto3.session.Session()  # one, for it keeps the service models that it has read


def aws_client(name: str, port: int, config: Any = None) -> Any:
    return SESSION.client(
        name,
        config=config or Config(inject_host_prefix=False),  # nobody knows api.127.0.0.1
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture(scope="session")
def emulator_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of an emulator that has S3 and CloudWatch Logs, and knows nothing of SageMaker."""
    folder = tmp_path_factory.mktemp("emulator")
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "MINISTACK_REGION": REGION,
    }
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ministack")],
            env=env,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health").close()
                break
            except urllib.error.URLError:
                assert process.poll() is None, (folder / "log.txt").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def isolation() -> str:
    return detect_isolation()


@dataclass
class Aws:
    """A service under test and what belongs to it."""

    service: Service
    sagemaker: Any
    s3: Any
    bucket: str
    events: list[tuple[str, dict[str, Any], list[str]]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.service.settings.data_dir

    def put(self, key: str, text: str = "x") -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode())
        return f"s3://{self.bucket}/{key}"

    def get(self, key: str) -> str:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body.decode()

    def keys(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]

    def wait(self, kind: str, name: str, *statuses: str) -> dict[str, Any]:
        """Wait until a job has one of the statuses, by default until it has ended."""
        wanted = statuses or ("Completed", "Failed", "Stopped")
        describe = {"Processing": "describe_processing_job", "Training": "describe_training_job"}
        deadline = time.monotonic() + 60
        while True:
            call = getattr(self.sagemaker, describe[kind])
            body: dict[str, Any] = call(**{f"{kind}JobName": name})
            if body[f"{kind}JobStatus"] in wanted:
                return body
            assert time.monotonic() < deadline, body
            time.sleep(0.01)

    def wait_events(self, count: int) -> list[tuple[str, dict[str, Any], list[str]]]:
        until(lambda: len(self.events) >= count)
        return self.events


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def make_service(folder: Path, port: int, isolation: str, emit: Callable[..., None]) -> Service:
    images = Images(folder)
    python = str(Path(sys.executable).parent)
    images.register(
        IMAGE,
        Image(
            root=folder,
            path=python,
            env={"IMAGE_SAYS": "hello"},
            entrypoint=["python", "program.py"],
            command=["process"],
        ),
    )
    settings = Settings(folder, port, REGION, isolation=isolation, stop_grace_seconds=1.0)
    service = SageMaker(settings, emit, images)
    service.resume()
    return service


@pytest.fixture
def aws(
    tmp_path: Path, emulator_port: int, isolation: str, request: pytest.FixtureRequest
) -> Iterator[Aws]:
    """A new service with its own data folder and bucket, answering HTTP."""
    events: list[tuple[str, dict[str, Any], list[str]]] = []
    service = make_service(tmp_path, emulator_port, isolation, lambda *event: events.append(event))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = service.handle(self.headers["X-Amz-Target"], body)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    s3 = aws_client("s3", emulator_port)
    bucket = f"bucket-{abs(hash((request.node.nodeid, time.time())))}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    try:
        sagemaker = aws_client("sagemaker", server.server_port)
        yield Aws(service, sagemaker, s3, bucket, events)
    finally:
        server.shutdown()
        server.server_close()
        service.close()


def program(folder: Path, code: str) -> list[str]:
    """Put Python code into the image; an argument may have neither line ends nor 256 characters."""
    file = folder / f"{hashlib.sha256(code.encode()).hexdigest()[:12]}.py"
    if not file.exists():  # another job may be reading it
        file.write_text(code)
    return ["python", file.name]


def processing_request(folder: Path, name: str, code: str, **more: Any) -> dict[str, Any]:
    """Make a processing job that runs Python code, with the service's data folder as its image."""
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": program(folder, code),
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 10,
            }
        },
        **more,
    }


def training_request(
    folder: Path, name: str, code: str, output: str, **more: Any
) -> dict[str, Any]:
    """Make a training job that runs Python code, with the service's data folder as its image."""
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": program(folder, code),
        **more.pop("AlgorithmSpecification", {}),
    }
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": algorithm,
        "OutputDataConfig": {"S3OutputPath": output},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": "ml.m5.large",
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }
