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
from datetime import datetime
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
        execution: The execution of a workflow that it belongs to, as its folder in S3 is named.
        step: What it does: the command of the image.
        created: When it was created.
        ended: When it ended.
        environment: Environment variables.
        inputs: S3 sources, by their folder in the container.
        hyperparameters: Of a training.
    """

    execution: str
    step: str
    created: datetime
    ended: datetime
    environment: dict[str, str]
    inputs: dict[Path, dict[str, str]]
    hyperparameters: dict[str, str]

    @property
    def managed(self) -> float:
        """Seconds between its creation and its end."""
        return (self.ended - self.created).total_seconds()


def jobs(life: Life, workflow: str) -> list[Job]:
    """The processing and training jobs of all executions of a workflow, oldest first.

    They are found by where they read and write, so it does not matter what has run them.

    Args:
        life: Whose local AWS runs.
        workflow: `training` or `monitoring`.
    """
    sagemaker = life.client("sagemaker")
    found = []
    for kind, read in READERS.items():
        pages = sagemaker.get_paginator(f"list_{kind}_jobs").paginate()
        for page in pages:
            for summary in page[f"{kind.title()}JobSummaries"]:
                name = summary[f"{kind.title()}JobName"]
                job = getattr(sagemaker, f"describe_{kind}_job")(**{f"{kind.title()}JobName": name})
                if job[f"{kind.title()}JobStatus"] == "Completed":
                    found.append(read(job, workflow))
    return sorted((job for job in found if job), key=lambda job: job.created)


def execution_of(uri: str, workflow: str) -> str | None:
    """The execution that an S3 URI is of, `None` if it is of another workflow.

    What a training writes is under `training/<execution>/`, what a monitoring reads under
    `monitoring/inputs/<execution>/`.
    """
    folder, *rest = uri.removeprefix("s3://").split("/")[1:]
    if folder != workflow:
        return None
    return rest[1] if workflow == "monitoring" else rest[0]


def processing_job(job: Mapping[str, Any], workflow: str) -> Job | None:
    """A processing job, `None` if it is one of another workflow."""
    if workflow == "monitoring":
        where = job["ProcessingInputs"][0]["S3Input"]["S3Uri"]
    else:
        where = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    execution = execution_of(where, workflow)
    if execution is None:
        return None
    return Job(
        execution=execution,
        step=job["AppSpecification"]["ContainerArguments"][0],
        created=job["CreationTime"],
        ended=job["ProcessingEndTime"],
        environment=job.get("Environment", {}),
        inputs={
            Path(entry["S3Input"]["LocalPath"]): entry["S3Input"]
            for entry in job.get("ProcessingInputs", [])
        },
        hyperparameters={},
    )


def training_job(job: Mapping[str, Any], workflow: str) -> Job | None:
    """A training job, `None` if it is one of another workflow."""
    execution = execution_of(job["OutputDataConfig"]["S3OutputPath"], workflow)
    if execution is None:
        return None
    return Job(
        execution=execution,
        step="train",
        created=job["CreationTime"],
        ended=job["TrainingEndTime"],
        environment=job.get("Environment", {}),
        inputs={
            ML / "input" / "data" / channel["ChannelName"]: channel["DataSource"]["S3DataSource"]
            for channel in job["InputDataConfig"]
        },
        hyperparameters=job["HyperParameters"],
    )


READERS = {"processing": processing_job, "training": training_job}


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


def python(project: Path) -> Path:
    """The interpreter of an environment with what the image has, and no more."""
    folder = project.with_name(f"{project.name}-bare")
    if not folder.exists():
        own = {"UV_PROJECT_ENVIRONMENT": str(folder)}
        template.run(["uv", "sync", "--quiet", "--no-dev"], project, own)
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
        command: list[str | Path] = [python(life.project), "-m", "usecase", job.step]
        return timing.seconds(
            lambda: subprocess.run(
                command,
                cwd=life.project,
                env=environment(base) | job.environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        )


def bring_model(life: Life, base: Path) -> None:
    """Bring the newest version's model to `base`/model, where the image looks for it."""
    sagemaker = life.client("sagemaker")
    packages = sagemaker.list_model_packages(
        ModelPackageGroupName=life.slug, SortBy="CreationTime", SortOrder="Descending"
    )["ModelPackageSummaryList"]
    newest = sagemaker.describe_model_package(ModelPackageName=packages[0]["ModelPackageArn"])
    uri = newest["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    download(life, {"S3Uri": uri, "S3DataType": "S3Prefix"}, base)
    with tarfile.open(base / Path(uri).name) as archive:
        safe = getattr(tarfile, "data_filter", lambda member, _: member)  # from 3.11.4 on
        for member in archive:
            archive.extract(safe(member, str(base / "model")), base / "model")


@contextmanager
def server(life: Life) -> Iterator[int]:
    """Serve the newest version's model without the local AWS; the port of the server."""
    with tempfile.TemporaryDirectory() as folder:
        bring_model(life, Path(folder))
        with served(python(life.project), life.project, Path(folder)) as port:
            yield port


@contextmanager
def served(python: Path, project: Path, base: Path) -> Iterator[int]:
    """Serve the model in `base`/model with a project's code; the port of the server."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    process = subprocess.Popen(
        [python, "-m", "usecase", "serve"],
        cwd=project,
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
