"""Tuning jobs that pipelines and state machines start and wait for."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import IMAGE, Aws
from host_process import HostProcess
from state_machines import machine, output, task
from test_tuning import PROGRAM, grid, tuning
from toy_pipelines import run


def request(bucket: str) -> dict[str, Any]:
    class Place:
        """What `tuning` takes of the services under test."""

    place: Any = Place()
    place.bucket = bucket
    return tuning(place, "job", grid("1", "2.5", "9"))


def test_the_best_model_of_a_tuning_step_is_registered(aws: Aws) -> None:
    program = PROGRAM + "open(ml + '/model/x', 'w').write(given['x'])\n"
    (aws.folder / "program.py").write_text(program)
    arguments = request(aws.bucket)
    del arguments["HyperParameterTuningJobName"]
    tune = {"Name": "Tune", "Type": "Tuning", "Arguments": arguments}
    best = {"Get": "Steps.Tune.TrainingJobSummaries[0].TrainingJobName"}
    place = [f"s3://{aws.bucket}/models", best, "output/model.tar.gz"]
    container = {"Image": IMAGE, "ModelDataUrl": {"Std:Join": {"On": "/", "Values": place}}}
    model = {
        "Name": "Model",
        "Type": "Model",
        "Arguments": {"ExecutionRoleArn": "arn:aws:iam::000000000000:role/x"}
        | {"PrimaryContainer": container},
    }
    execution, steps = run(aws, tune, model)
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    arn = steps["Tune"]["Metadata"]["TuningJob"]["Arn"]
    described = aws.sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=arn.rpartition("/")[2]
    )
    found = described["BestTrainingJob"]
    assert found["TunedHyperParameters"] == {"x": "2.5"}
    name = steps["Model"]["Metadata"]["Model"]["Arn"].rpartition("/")[2]
    used = aws.sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"]
    job = aws.sagemaker.describe_training_job(TrainingJobName=found["TrainingJobName"])
    assert used == job["ModelArtifacts"]["S3ModelArtifacts"]
    aws.s3.head_object(Bucket=aws.bucket, Key=used.split("/", 3)[3])


@pytest.mark.exhaustive
def test_a_state_machine_waits_for_a_tuning_job(host: HostProcess, name: str) -> None:
    (host.data_dir / "program.py").write_text(PROGRAM)
    host.client("s3").create_bucket(
        Bucket="tuned", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    resource = "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync"
    result = output(host, name, machine({"Tune": task(resource, request("tuned"))}))
    assert result["HyperParameterTuningJobStatus"] == "Completed"
    assert result["BestTrainingJob"]["TunedHyperParameters"] == {"x": "2.5"}
