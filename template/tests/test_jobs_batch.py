"""The requests of the batch workflow."""

from dataclasses import replace
from pathlib import Path

from conftest import place, succeed
from request_shapes import errors

from usecase import config
from usecase.container import read_json
from workflows import batch as jobs
from workflows.jobs import PROCESSING, Settings

BUCKET = "bucket"
USE_CASE = config.load()


def settings(*tables: str) -> Settings:
    """Where the jobs run; `tables` are those of today's usecase.toml."""
    data = replace(USE_CASE.data, tables=tables or USE_CASE.data.tables)
    role = "arn:aws:iam::123456789012:role/jobs"
    return Settings(replace(USE_CASE, data=data), "image-deployed", role, BUCKET, "commit")


def test_jobs_run_in_the_image_of_the_version_that_predicts() -> None:
    for job in (jobs.select(settings()), jobs.collect(settings())):
        assert job["AppSpecification"]["ImageUri"] == "@{result.BatchInputs.image}"
    transform = jobs.transform(settings())
    assert transform["ModelName"] == "@{result.BatchInputs.model}"
    # The id and the time come before the features.
    assert transform["DataProcessing"] == {"InputFilter": "$[2:]", "JoinSource": "Input"}
    # SageMaker's limit is 100 MB for all requests at a time; the container asks for 16 at most.
    assert transform["MaxPayloadInMB"] * 16 <= 100
    outputs = {
        output["OutputName"]: output["S3Output"]["S3Uri"]
        for output in jobs.collect(settings())["ProcessingOutputConfig"]["Outputs"]
    }
    assert outputs["predictions"] == f"s3://{BUCKET}/predictions"
    assert outputs["report"] == jobs.rejections(settings())["report"]
    # Also when there is nothing to transform and to collect.
    selected = jobs.select(settings())["ProcessingOutputConfig"]["Outputs"]
    assert outputs.items() <= {o["OutputName"]: o["S3Output"]["S3Uri"] for o in selected}.items()


def test_version_reads_the_tables_that_it_was_trained_with_and_not_todays() -> None:
    asked = jobs.select(settings())
    assert jobs.select(settings("flights", "a_table_of_the_next_version")) == asked
    (mart,) = asked["ProcessingInputs"]
    # Each table's folder is then where an input of the table's name would be.
    assert mart["S3Input"]["S3Uri"] == f"s3://{BUCKET}/mart/"
    assert mart["S3Input"]["LocalPath"] == f"{PROCESSING}/input"
    assert errors("sagemaker", "CreateProcessingJob", asked | {"ProcessingJobName": "select"}) == []


def test_other_files_of_the_data_mart_are_passed_over(mart: Path, tmp_path: Path) -> None:
    """A load's marker, notes, and the tables of other versions."""
    found = []
    for name in ("tables alone", "with others"):
        place(mart, tmp_path / name / "processing" / "input")
        if name == "with others":
            inputs = tmp_path / name / "processing" / "input"
            (inputs / "_SUCCESS").touch()
            (inputs / "README.txt").write_text("how it is loaded")
            (inputs / "another_table").mkdir()
            (inputs / "another_table" / "part.parquet").write_text("of another version")
        succeed("select", tmp_path / name, MODEL_VERSION="1")
        output = tmp_path / name / "processing" / "output"
        found.append(read_json(output / "selection" / "selection.json"))
    assert found[0] == found[1]
