"""The local AWS in a process of its own, as tests start, stop and kill it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from conftest import IMAGE, REGION, aws_client, free_port
from transform_requests import SERVER, TRANSFORM_IMAGE

from local_aws.images.images import Image, Images

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/toy"
# No test is to wait for the next full ten seconds, when alarms are evaluated.
PROGRAM = """
import sys
from pathlib import Path
from local_aws.host.cloudwatch import evaluation
from local_aws.server.with_ministack import serve
evaluation.TICK_SECONDS = 0.5
from local_aws.settings import Settings
serve(Settings(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], isolation="environment"))
"""


DEFINITION = {
    "Version": "2020-12-01",
    "Parameters": [{"Name": "Word", "Type": "String", "DefaultValue": "nothing"}],
    "Steps": [
        {
            "Name": "Say",
            "Type": "Fail",
            "Arguments": {"ErrorMessage": {"Get": "Parameters.Word"}},
        }
    ],
}


class HostProcess:
    """One local AWS on a free port; starting it again takes up the same data folder.

    As a context manager it runs inside the context.
    """

    def __init__(self, data_dir: Path, program: str = PROGRAM) -> None:
        self.data_dir, self._program = data_dir, program
        self.log = data_dir / "test.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        data_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def forget(self) -> None:
        """Remove the state of a process that has ended."""
        assert self.ended
        shutil.rmtree(self.data_dir)
        self.data_dir.mkdir()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self._program, str(self.data_dir), str(self.port), REGION],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_ministack/health").close()
                return
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=30)

    def kill_and_start(self) -> None:
        self.kill()
        self.start()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.terminate()

    def client(self, name: str) -> Any:
        return aws_client(name, self.port)


def register_images(folder: Path) -> None:
    """Make the data folder the image of jobs, and that of a toy server."""
    python = str(Path(sys.executable).parent)
    (folder / "transform_server.py").write_text(SERVER)
    images = Images(folder)
    for uri, program in ((IMAGE, "program.py"), (TRANSFORM_IMAGE, "transform_server.py")):
        images.register(uri, Image(folder, python, {}, ["python", program], []))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """A local AWS for a module's tests, which use names of their own; it has both images."""
    folder = tmp_path_factory.mktemp("host")
    register_images(folder)
    with HostProcess(folder) as process:
        yield process


@pytest.fixture
def name() -> str:
    """A name that nothing else has."""
    return f"t{uuid.uuid4().hex[:10]}"


def pipeline(host: HostProcess, name: str) -> str:
    arn: str = host.client("sagemaker").create_pipeline(
        PipelineName=name,
        PipelineDefinition=json.dumps(DEFINITION),
        RoleArn=ROLE,
        ClientRequestToken=uuid.uuid4().hex,
    )["PipelineArn"]
    return arn


def function(host: HostProcess, name: str, code: str, role: str = ROLE) -> str:
    """Create a Lambda function in Python, which has the handler `handler`, and return its ARN."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", code)
    arn: str = host.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="index.handler",
        Role=role,
        Code={"ZipFile": buffer.getvalue()},
        Timeout=30,
    )["FunctionArn"]
    return arn


def queue(host: HostProcess, name: str) -> tuple[str, str]:
    """Create a queue and return its URL and ARN."""
    url: str = host.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def receive(host: HostProcess, url: str, seconds: float = 20.0) -> str:
    """Take the next message of a queue, which must come in time."""
    sqs = host.client("sqs")
    deadline = time.monotonic() + seconds
    while True:
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
        if found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])
            body: str = found[0]["Body"]
            return body
        assert time.monotonic() < deadline, f"no message in {url}\n{host.log.read_text()[-3000:]}"
