"""The jobs of a life once more as plain Python processes, without the local AWS around them."""

import json
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks import timing
from tests import template
from tests.life import Life

ML = Path("/opt/ml")


@dataclass(frozen=True)
class Job:
    """A job as SageMaker ran it.

    Attributes:
        execution: ARN of the pipeline execution it belongs to.
        step: Name of the step.
        managed: Seconds between its creation and its end.
        command: Arguments of the image's entry point.
        environment: Environment variables.
        inputs: S3 sources, by their folder in the container.
        hyperparameters: Of a training.
    """

    execution: str
    step: str
    managed: float
    command: list[str]
    environment: dict[str, str]
    inputs: dict[Path, dict[str, str]]
    hyperparameters: dict[str, str]


def jobs(life: Life, workflow: str) -> list[Job]:
    """The jobs of all executions of a workflow, oldest first."""
    sagemaker = life.client("sagemaker")
    executions = sagemaker.list_pipeline_executions(PipelineName=workflow, SortOrder="Ascending")
    found = []
    for execution in executions["PipelineExecutionSummaries"]:
        arn = execution["PipelineExecutionArn"]
        steps = sagemaker.list_pipeline_execution_steps(
            PipelineExecutionArn=arn, SortOrder="Ascending"
        )
        for step in steps["PipelineExecutionSteps"]:
            for kind, meta in step.get("Metadata", {}).items():
                if kind in READERS:
                    found.append(READERS[kind](sagemaker, arn, step["StepName"], meta["Arn"]))
    return found


def processing_job(sagemaker: Any, execution: str, step: str, arn: str) -> Job:  # noqa: ANN401 - boto3 has no types
    """A processing job."""
    job = sagemaker.describe_processing_job(ProcessingJobName=arn.rpartition("/")[2])
    return Job(
        execution=execution,
        step=step,
        managed=(job["ProcessingEndTime"] - job["CreationTime"]).total_seconds(),
        command=job["AppSpecification"]["ContainerArguments"],
        environment=job.get("Environment", {}),
        inputs={
            Path(entry["S3Input"]["LocalPath"]): entry["S3Input"]
            for entry in job.get("ProcessingInputs", [])
        },
        hyperparameters={},
    )


def training_job(sagemaker: Any, execution: str, step: str, arn: str) -> Job:  # noqa: ANN401 - boto3 has no types
    """A training job."""
    job = sagemaker.describe_training_job(TrainingJobName=arn.rpartition("/")[2])
    return Job(
        execution=execution,
        step=step,
        managed=(job["TrainingEndTime"] - job["CreationTime"]).total_seconds(),
        command=["train"],
        environment=job.get("Environment", {}),
        inputs={
            ML / "input" / "data" / channel["ChannelName"]: channel["DataSource"]["S3DataSource"]
            for channel in job["InputDataConfig"]
        },
        hyperparameters=job["HyperParameters"],
    )


READERS = {"ProcessingJob": processing_job, "TrainingJob": training_job}


def objects(s3: Any, source: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401 - boto3 has no types
    """Bucket, key and relative path of what an S3 source holds."""
    bucket, _, prefix = source["S3Uri"].removeprefix("s3://").partition("/")
    if source["S3DataType"] == "ManifestFile":
        first, *names = json.loads(s3.get_object(Bucket=bucket, Key=prefix)["Body"].read())
        bucket, _, prefix = first["prefix"].removeprefix("s3://").partition("/")
        yield from ((bucket, prefix + name, name) for name in names)
        return
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page["Contents"]:
            relative = entry["Key"].removeprefix(prefix).lstrip("/")
            yield bucket, entry["Key"], relative or Path(prefix).name


def download(life: Life, source: Mapping[str, str], folder: Path) -> None:
    """Bring what an S3 source holds into a folder."""
    s3 = life.client("s3")
    for bucket, key, relative in objects(s3, source):
        file = folder / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(file))


def environment(base: Path) -> dict[str, str]:
    """What a process needs to find its folders under `base` and nothing of AWS."""
    return template.environment() | {"SAGEMAKER_BASE_DIR": str(base)}


def python(life: Life) -> Path:
    """The interpreter of an environment with what the image has, and no more."""
    folder = life.project.parent / "bare"
    if not folder.exists():
        own = {"UV_PROJECT_ENVIRONMENT": str(folder)}
        template.run(["uv", "sync", "--quiet", "--no-dev"], life.project, own)
    return folder / "bin" / "python"


def run(life: Life, job: Job) -> float:
    """Run a job bare; the seconds of its process, without the download of its inputs."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for path, source in job.inputs.items():
            download(life, source, base / path.relative_to(ML))
        for name in ("model", "output", "processing/output", "input/config"):
            (base / name).mkdir(parents=True, exist_ok=True)
        parameters = base / "input" / "config" / "hyperparameters.json"
        parameters.write_text(json.dumps(job.hyperparameters))
        command: list[str | Path] = [python(life), "-m", "usecase", *job.command]
        return timing.seconds(
            lambda: subprocess.run(
                command,
                cwd=life.project,
                env=environment(base) | job.environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        )


@contextmanager
def server(life: Life) -> Iterator[int]:
    """Serve the newest version's model without the local AWS; the port of the server."""
    sagemaker = life.client("sagemaker")
    packages = sagemaker.list_model_packages(
        ModelPackageGroupName=life.slug, SortBy="CreationTime", SortOrder="Descending"
    )["ModelPackageSummaryList"]
    newest = sagemaker.describe_model_package(ModelPackageName=packages[0]["ModelPackageArn"])
    uri = newest["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        download(life, {"S3Uri": uri, "S3DataType": "S3Prefix"}, base)
        with tarfile.open(base / Path(uri).name) as archive:
            safe = getattr(tarfile, "data_filter", lambda member, _: member)  # from 3.11.4 on
            for member in archive:
                archive.extract(safe(member, str(base / "model")), base / "model")
        process = subprocess.Popen(
            [python(life), "-m", "usecase", "serve"],
            cwd=life.project,
            env=environment(base) | {"SAGEMAKER_BIND_TO_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_it_answers(process, port)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait for the server's /ping.

    Raises:
        RuntimeError: When the process ends, or does not answer within 30 s.
    """
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError(f"the server does not answer on port {port}")
