"""The local AWS by itself: what it adds to a process, to a request, and how it starts and lasts."""

import json
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import boto3

from benchmarks import bare, invoke, timing
from tests import template

REGION = "eu-west-1"
REGION_OPTION = f"--region={REGION}"
WHERE = "import sys; print(sys.executable)"
IMAGE = "bench:1"
ROLE = "arn:aws:iam::000000000000:role/bench"
JOBS_AT_ONCE = 8
EXECUTIONS = 100
WARM_UP = 10

DOCKERFILE = """\
FROM python:3.12-slim
WORKDIR /opt/bench
COPY *.py ./
ENTRYPOINT ["python", "server.py"]
"""
HELLO = "print('hello')\n"
BUSY = """\
total = 0
for number in range(20_000_000):
    total += number
print(total)
"""
SERVER = """\
import http.server
import os
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # a response in one piece

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_):
        pass


port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "0"))
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@dataclass(frozen=True)
class LocalAws:
    """What was measured.

    Attributes:
        first_start: Seconds of `local-aws start` in a new folder.
        second_start: The same in a folder that holds what the other measurements left.
        job: Median seconds from a trivial job's creation to its end.
        process: Median seconds of its process alone.
        one_busy_job: Seconds of a job that keeps a processor busy.
        busy_jobs: Seconds of `JOBS_AT_ONCE` such jobs, from the first creation to the last end.
        through: Median seconds of one request to an endpoint, data capture included.
        direct: Median seconds of the same request to the container.
        execution: Median seconds of a pipeline execution of one trivial job.
        memory_before: Bytes that the process has for its own after `WARM_UP` executions.
        memory_after: The same after `EXECUTIONS` more.
    """

    first_start: float
    second_start: float
    job: float
    process: float
    one_busy_job: float
    busy_jobs: float
    through: float
    direct: float
    execution: float
    memory_before: int
    memory_after: int

    @property
    def busy_ratio(self) -> float:
        """Time of the jobs at once, relative to what the processors need for that much work."""
        cores = min(os.cpu_count() or 1, JOBS_AT_ONCE)
        return self.busy_jobs / (JOBS_AT_ONCE * self.one_busy_job / cores)


@dataclass(frozen=True)
class Running:
    """A local AWS of this checkout that runs for the measurement."""

    command: Path
    data_dir: Path
    status: dict[str, Any]

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3's clients have no common type
        """A client of it."""
        environment = self.status["environment"]
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
        return _client(service, *(environment[name] for name in names))

    @property
    def memory(self) -> int:
        """Bytes of the process's own, files that it has mapped not counted."""
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.status["pid"])],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        file = Path(f"/proc/{self.status['pid']}/status")
        own = re.search(r"RssAnon:\s+(\d+)", file.read_text()) if file.exists() else None
        return int(own[1] if own else shown) * 1024


@cache
def _client(service: str, key: str, secret: str, url: str) -> Any:  # noqa: ANN401 - as above
    """A client, made once: that takes longer than most calls."""
    session = boto3.session.Session(key, secret, region_name=REGION)
    return session.client(service, endpoint_url=url)


def measure(folder: Path) -> LocalAws:
    """Measure in an empty folder."""
    context = image(folder)
    command = installed()
    data_dir = folder / "aws"
    warm = folder / "warm-up"  # the first start of an installation compiles its Python files
    call(command, warm, "start", "--port=0")
    call(command, warm, "stop")
    first = timing.seconds(lambda: call(command, data_dir, "start", "--port=0", REGION_OPTION))
    try:
        local = Running(command, data_dir, status(command, data_dir))
        python = build(local, context)
        job, process = _trivial_jobs(local, python, context)
        one, busy = _busy_jobs(local)
        through, direct = _invocations(local, python, context)
        execution, before, after = _executions(local)
        call(command, data_dir, "stop")
        second = timing.seconds(lambda: call(command, data_dir, "start", "--port=0", REGION_OPTION))
    finally:
        call(command, data_dir, "stop")
    return LocalAws(
        first, second, job, process, one, busy, through, direct, execution, before, after
    )


def image(folder: Path) -> Path:
    """Write the image of jobs and endpoints; return its folder."""
    context = folder / "image"
    context.mkdir()
    for name, text in {"Dockerfile": DOCKERFILE, "hello.py": HELLO, "busy.py": BUSY}.items():
        (context / name).write_text(text)
    (context / "server.py").write_text(SERVER)
    return context


def installed() -> Path:
    """The `local-aws` of this checkout, installed."""
    shown = template.run(
        ["uvx", "--quiet", "--from", template.ROOT / "local_aws", "python", "-c", WHERE],
        template.ROOT,
    )
    return Path(shown.strip()).with_name("local-aws")


def call(command: Path, data_dir: Path, *arguments: str) -> str:
    """Run a command of `local-aws`; return what it prints."""
    return template.run([command, *arguments, "--data-dir", data_dir], data_dir.parent)


def status(command: Path, data_dir: Path) -> dict[str, Any]:
    """What `local-aws status` tells."""
    status: dict[str, Any] = json.loads(call(command, data_dir, "status", "--json"))
    return status


def build(local: Running, context: Path) -> Path:
    """Build and push the image; return its Python."""
    docker = local.status["environment"]["CDK_DOCKER"]
    manifest = "--output=type=docker,oci-mediatypes=false"  # SageMaker's models take no OCI one
    for arguments in (["build", manifest, "-t", IMAGE, context], ["push", IMAGE]):
        template.run([docker, *arguments], context, local.status["environment"])
    image = json.loads((local.data_dir / "images.json").read_text())[IMAGE]
    return Path(image["path"].split(":")[0]) / "python"


def _request(script: str) -> dict[str, Any]:
    return {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python", script]},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
    }


def start_job(local: Running, script: str) -> str:
    """Create a job; return its name."""
    name = f"job-{uuid.uuid4().hex[:12]}"
    local.client("sagemaker").create_processing_job(ProcessingJobName=name, **_request(script))
    return name


def ended(local: Running, name: str) -> dict[str, Any]:
    """Wait for a job's end; return its description."""
    sagemaker = local.client("sagemaker")
    while True:
        job: dict[str, Any] = sagemaker.describe_processing_job(ProcessingJobName=name)
        if job["ProcessingJobStatus"] == "Completed":
            return job
        if job["ProcessingJobStatus"] != "InProgress":
            raise RuntimeError(f"{name}: {job.get('FailureReason')}")
        time.sleep(0.05)


def _seconds(jobs: Sequence[dict[str, Any]]) -> float:
    """Seconds from the first creation to the last end."""
    began = min(job["CreationTime"] for job in jobs)
    return float((max(job["ProcessingEndTime"] for job in jobs) - began).total_seconds())


def _trivial_jobs(
    local: Running, python: Path, context: Path, times: int = 15
) -> tuple[float, float]:
    process = timing.command([python, "hello.py"], context)
    managed, alone = [], []
    for _ in range(times):
        managed.append(_seconds([ended(local, start_job(local, "hello.py"))]))
        alone.append(timing.seconds(process))
    return median(managed), median(alone)


def _busy_jobs(local: Running, times: int = 3) -> tuple[float, float]:
    one, several = [], []
    for _ in range(times):
        one.append(_seconds([ended(local, start_job(local, "busy.py"))]))
        names = [start_job(local, "busy.py") for _ in range(JOBS_AT_ONCE)]
        several.append(_seconds([ended(local, name) for name in names]))
    return median(one), median(several)


def _invocations(
    local: Running, python: Path, context: Path, times: int = 500
) -> tuple[float, float]:
    through = endpoint(local)
    with _server(python, context) as direct:
        ways = [through, invoke.plain(direct, "/invocations")]
        row = b"1,2.5,some text\n"
        if {way(row) for way in ways} != {row}:
            raise RuntimeError("the server does not answer what it is sent")
        seconds = timing.in_turn(times, [lambda way=way: way(row) for way in ways])  # type: ignore[misc]  # a lambda's default
    return seconds[0], seconds[1]


def endpoint(local: Running) -> invoke.Send:
    """Make an endpoint with data capture; return what asks it over plain HTTP."""
    local.client("s3").create_bucket(
        Bucket="capture", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    sagemaker = local.client("sagemaker")
    names = {"EndpointName": "bench", "EndpointConfigName": "bench"}
    sagemaker.create_model(
        ModelName="bench", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="bench",
        ProductionVariants=[
            {
                "VariantName": "all",
                "ModelName": "bench",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://capture/bench",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        },
    )
    sagemaker.create_endpoint(**names)
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="bench", WaiterConfig={"Delay": 1}
    )
    port = int(local.status["endpoint_url"].rpartition(":")[2])
    return invoke.plain(port, "/endpoints/bench/invocations", "sagemaker")


@contextmanager
def _server(python: Path, context: Path) -> Iterator[int]:
    """The container by itself; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    environment = template.environment({"SAGEMAKER_BIND_TO_PORT": str(port)})
    process = subprocess.Popen([python, "server.py", "serve"], cwd=context, env=environment)
    try:
        bare.wait_until_it_answers(process, port)
        yield port
    finally:
        process.terminate()
        process.wait()


def pipeline(local: Running) -> None:
    """Make a pipeline of one trivial job."""
    step = {"Name": "Hello", "Type": "Processing", "Arguments": _request("hello.py")}
    local.client("sagemaker").create_pipeline(
        PipelineName="bench",
        PipelineDefinition=json.dumps({"Version": "2020-12-01", "Steps": [step]}),
        RoleArn=ROLE,
        ClientRequestToken=uuid.uuid4().hex,
    )


def _executions(local: Running) -> tuple[float, int, int]:
    pipeline(local)
    sagemaker = local.client("sagemaker")
    seconds, before = [], 0
    for number in range(WARM_UP + EXECUTIONS):
        if number == WARM_UP:
            before = local.memory
        seconds.append(timing.seconds(lambda: execute(sagemaker)))
    return median(seconds), before, local.memory


def execute(sagemaker: Any) -> None:  # noqa: ANN401 - boto3's clients have no common type
    """Run the pipeline once."""
    arn = sagemaker.start_pipeline_execution(
        PipelineName="bench", ClientRequestToken=uuid.uuid4().hex
    )["PipelineExecutionArn"]
    while True:
        found = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        status = found["PipelineExecutionStatus"]
        if status == "Succeeded":
            return
        if status not in ("Executing", "Starting"):
            raise RuntimeError(f"{arn}: {found.get('FailureReason')}")
        time.sleep(0.02)
