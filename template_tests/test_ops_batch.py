"""`ops invoke` where predictions are made in batches: a transform job of one file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from support.fake_sagemaker import ARN, BUCKET
from support.inference_batch import SageMaker

from lambdas import batch as functions
from ops import OpsError, aws, batch
from usecase.errors import UseCaseError
from workflows import keys, names

pytest_plugins = ["support.lambda_account"]


@pytest.fixture
def job(session: boto3.Session, sagemaker: SageMaker) -> Iterator[dict[str, Any]]:
    """How a job ends, which answers each line with its length; version 1 predicts."""
    for client in (aws.s3, aws.account, aws.sagemaker):
        client.cache_clear()
    end: dict[str, Any] = {"TransformJobStatus": "Completed"}
    states = iter([{"TransformJobStatus": "InProgress"}])

    def create(request: dict[str, Any]) -> dict[str, Any]:
        source = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        key = source.removeprefix(f"s3://{BUCKET}/")
        answers = "".join(f"{len(line)}\n" for line in aws.read(key).splitlines())
        session.client("s3").put_object(Bucket=BUCKET, Key=f"{key}.out", Body=answers.encode())
        return {"TransformJobArn": f"{ARN}:transform-job/{request['TransformJobName']}"}

    sagemaker.operations["CreateTransformJob"] = create
    sagemaker.operations["DescribeTransformJob"] = lambda _: next(states, end)
    package = sagemaker.add_package(1, ApprovedAt="2026-01-31T12:00:00+00:00")
    event = {"time": "2026-01-31T12:00:00Z", "detail": {"ModelPackageArn": package}}
    assert functions.deploy(event, None)["outcome"] == "predicts"
    yield end
    for client in (aws.s3, aws.account, aws.sagemaker):
        client.cache_clear()


def write(file: Path) -> Path:
    """Two rows, in the form that the name says."""
    rows = pl.DataFrame({"hour": [7.0, None], "carrier": ["UA", "B6"]})
    writers = {".csv": "write_csv", ".jsonl": "write_ndjson", ".parquet": "write_parquet"}
    options = {"include_header": False} if file.suffix == ".csv" else {}
    getattr(rows, writers[file.suffix])(file, **options)
    return file


@pytest.mark.parametrize("suffix", batch.CONTENT_TYPES)
@pytest.mark.usefixtures("job")
def test_the_version_that_predicts_answers_a_file(
    sagemaker: SageMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    batch.invoke(write(tmp_path / f"rows{suffix}"))
    (asked,) = sagemaker.called("CreateTransformJob")
    (model,) = sagemaker.models
    assert asked["ModelName"] == model
    assert asked["TransformInput"]["ContentType"] == batch.CONTENT_TYPES[suffix]
    # Where the role of the model may read and write.
    assert asked["TransformOutput"]["S3OutputPath"].startswith(f"s3://{BUCKET}/{keys.BATCH}")
    rows = ["7.0,UA", ",B6"]
    if suffix != ".csv":
        rows = ['{"hour":7.0,"carrier":"UA"}', '{"hour":null,"carrier":"B6"}']
    assert capsys.readouterr().out.split() == [str(len(row)) for row in rows]
    assert {"Key": "project", "Value": names.PROJECT} in asked["Tags"]


def test_a_job_that_fails_says_why(job: dict[str, Any], tmp_path: Path) -> None:
    job.update(TransformJobStatus="Failed", FailureReason="the container has ended")
    with pytest.raises(OpsError, match="has failed: the container has ended; its log is /aws/sage"):
        batch.invoke(write(tmp_path / "rows.csv"))


def test_what_cannot_be_sent_starts_nothing(
    sagemaker: SageMaker, job: dict[str, Any], tmp_path: Path
) -> None:
    assert job["TransformJobStatus"] == "Completed"
    with pytest.raises(OpsError, match=r"must end in \.csv or \.jsonl or \.parquet"):
        batch.invoke(tmp_path / "rows.json")
    odd = tmp_path / "rows.parquet"
    pl.DataFrame({"hour": [float("inf")]}).write_parquet(odd)
    with pytest.raises(UseCaseError, match="field hour: a number is infinite"):
        batch.invoke(odd)
    assert sagemaker.called("CreateTransformJob") == []
    sagemaker.models.clear()
    with pytest.raises(OpsError, match="no version is approved yet"):
        batch.invoke(write(tmp_path / "rows.csv"))
