"""Batch transform of many rows, against one call of `Model.predict` over the same rows."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import bare
from tests import template
from tests.scenarios import Scene, until

# So many files, each with so many times the flights of half a year: half a million rows, as the
# workflow's step Select cuts its files.
FILES, COPIES = 4, 3

# Where the model's role may read and write.
FOLDER = "batch/benchmark"

ONE_CALL = Path(__file__).with_name("one_call.py")


@dataclass(frozen=True)
class Batch:
    """Median seconds for the same files.

    Attributes:
        rows: Rows of all files.
        size: Their bytes.
        job: Of the transform job, from its creation to its end.
        start: Of the same job with one row.
        read: Of reading the files in one process.
        predict: Of one call of `Model.predict` over all its rows there.
        write: Of writing the rows with their answers.
        encode: Of encoding the rows for the model, as whole columns.
        encode_memory: The bytes that this takes at most.
        encode_lists: Of the same as lists.
        encode_lists_memory: The bytes that this takes at most.
    """

    rows: int
    size: int
    job: float
    start: float
    read: float
    predict: float
    write: float
    encode: float
    encode_memory: float
    encode_lists: float
    encode_lists_memory: float

    @property
    def rate(self) -> float:
        """Rows a second in batch transform, once its container answers."""
        return self.rows / (self.job - self.start)

    @property
    def rate_of_one_call(self) -> float:
        """Rows a second of reading, one call and writing."""
        return self.rows / self.one_call

    @property
    def one_call(self) -> float:
        """Seconds of reading, one call and writing."""
        return self.read + self.predict + self.write


def measure(scene: Scene, times: int = 3) -> Batch:
    """Score the records of half a year with the batch workflow, then many times as many."""
    days = {"Start": "2013-01-01", "End": "2013-06-30"}
    started = scene.call("ops.workflow.start", scene.workflow("batch"), days)
    state = scene.ended(started)
    if state["status"] != "succeeded":
        raise RuntimeError(f"{started} has {state['status']}: {state['reason']}")
    sagemaker, s3 = scene.life.client("sagemaker"), scene.life.client("s3")
    newest = sagemaker.list_transform_jobs(SortBy="CreationTime", SortOrder="Descending")
    name = newest["TransformJobSummaries"][0]["TransformJobName"]
    job = sagemaker.describe_transform_job(TransformJobName=name)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        bare.bring_model(scene.life, base)
        records = base / "records"
        bare.download(scene.life, job["TransformInput"]["DataSource"]["S3DataSource"], records)
        content = b"".join(part.read_bytes() for part in sorted(records.iterdir()))
        large, one = base / "large", base / "one"
        for size, rows, number in (
            (large, content * COPIES, FILES),
            (one, content.splitlines(keepends=True)[0], 1),
        ):
            size.mkdir()
            for file in (size / f"{i}.csv" for i in range(number)):
                file.write_bytes(rows)
                s3.upload_file(str(file), scene.bucket, f"{FOLDER}/{size.name}/{file.name}")
        measured = [
            (
                transform(scene, job, "large"),
                transform(scene, job, "one"),
                *predict_in_one_call(scene, base),
            )
            for _ in range(times)
        ]
    job_seconds, start, row_count, *call = (
        median(values) for values in zip(*measured, strict=True)
    )
    return Batch(round(row_count), len(content) * COPIES * FILES, job_seconds, start, *call)


def transform(scene: Scene, like: Mapping[str, Any], size: str) -> float:
    """Seconds of a job like another one, over the files of a size."""
    sagemaker = scene.life.client("sagemaker")
    name = f"{size}-{len(scene.jobs())}"
    same = ("ModelName", "BatchStrategy", "MaxPayloadInMB", "DataProcessing", "TransformResources")
    optional = ("MaxConcurrentTransforms", "Environment")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{scene.bucket}/{FOLDER}/{size}/"}
    output = f"s3://{scene.bucket}/{FOLDER}/out-{size}"
    sagemaker.create_transform_job(
        TransformJobName=name,
        TransformInput=like["TransformInput"] | {"DataSource": {"S3DataSource": source}},
        TransformOutput=like["TransformOutput"] | {"S3OutputPath": output},
        **{key: like[key] for key in same},
        **{key: like[key] for key in optional if key in like},
    )

    def ended() -> Mapping[str, Any] | None:
        state: Mapping[str, Any] = sagemaker.describe_transform_job(TransformJobName=name)
        return None if state["TransformJobStatus"] == "InProgress" else state

    job = until(f"the end of {name}", ended, seconds=600)
    if job["TransformJobStatus"] != "Completed":
        raise RuntimeError(f"{name}: {job['TransformJobStatus']}: {job.get('FailureReason', '')}")
    return float((job["TransformEndTime"] - job["CreationTime"]).total_seconds())


def predict_in_one_call(scene: Scene, base: Path) -> tuple[float, ...]:
    """Rows, then the seconds and bytes of `Batch` from `read` on."""
    printed = template.run(
        [bare.python(scene.life.project), ONE_CALL, base / "large", base / "answers.csv"],
        scene.life.project,
        {"SAGEMAKER_BASE_DIR": str(base), "OMP_WAIT_POLICY": "PASSIVE"},
    )
    answer = json.loads(printed)
    return answer["rows"], *answer["seconds"], *answer["encode"][0], *answer["encode"][1]
