"""Pipelines that SageMaker's own SDK writes, creates, starts and waits for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION
from host_process import HostProcess
from others_tools import environment, run, tool

from local_aws.images.images import Image, Images

FOLDER = Path(__file__).parent
IMAGE = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/sdk:1"
BUCKET = "sdk-pipelines"
NO_TELEMETRY = """
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    """A local AWS with the toy image, and a bucket with some points."""
    running = HostProcess(tmp_path / "data")
    python = str(Path(sys.executable).parent)
    image = Image(
        root=FOLDER, path=python, env={}, entrypoint=["python", "sdk_image.py"], command=[]
    )
    Images(running.data_dir).register(IMAGE, image)
    running.start()
    try:
        # Version 3 asks IAM what the role may do before it lets it train.
        iam = running.client("iam")
        iam.create_role(RoleName="sdk", AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.put_role_policy(RoleName="sdk", PolicyName="all", PolicyDocument=json.dumps(ALL))
        s3 = running.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=BUCKET, Key="points/points.csv", Body=b"1\n2\n3\n")
        yield running
    finally:
        running.end()


def run_program(host: HostProcess, program: str, *packages: str) -> dict[str, str]:
    """Run a program of this folder with the SDK; return the executions that it names."""
    queue = host.client("sqs").create_queue(QueueName="callbacks")["QueueUrl"]
    settings = host.data_dir.parent / "sdk.yaml"
    settings.write_text(NO_TELEMETRY)
    env = environment(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{host.port}",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION=REGION,
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(settings),
    )
    argv = [*tool(*packages), "python", str(FOLDER / program), IMAGE, queue, BUCKET]
    started: dict[str, str] = json.loads(run(argv, env, seconds=1200).stdout.splitlines()[-1])
    return started


def steps_of(host: HostProcess, execution: str) -> dict[str, dict[str, Any]]:
    listed = host.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=execution)
    return {step["StepName"]: step for step in listed["PipelineExecutionSteps"]}


def status(host: HostProcess, execution: str) -> str:
    described = host.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=execution)
    found: str = described["PipelineExecutionStatus"]
    return found


def check(host: HostProcess, executions: dict[str, str], group: str) -> None:
    """Look at what the program's three executions left."""
    sagemaker, s3 = host.client("sagemaker"), host.client("s3")
    good, bad, part = (executions[name] for name in ("good", "bad", "part"))
    assert (status(host, good), status(host, bad), status(host, part)) == (
        "Succeeded",
        "Failed",
        "Succeeded",
    )
    steps = steps_of(host, good)
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    (register,) = [step for step in steps.values() if "RegisterModel" in step["Metadata"]]
    package = sagemaker.describe_model_package(
        ModelPackageName=register["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["ModelPackageGroupName"] == group
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    key = f"{good.rpartition('/')[2]}/predictions/points.csv.out"
    predictions = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
    assert predictions.split() == ["6.0", "12.0", "18.0"]

    tuned = steps["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    best = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuned)
    assert best["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 12

    failed = steps_of(host, bad)
    assert failed["Tune"]["CacheHitResult"] == {"SourcePipelineExecutionArn": good}
    assert failed["Prepare"]["CacheHitResult"] == {"SourcePipelineExecutionArn": good}
    assert failed["Refuse"]["FailureReason"] == "fewer than 100 rows: 3"

    partial = steps_of(host, part)
    assert set(partial) == {"Prepare", "Train"}
    assert partial["Prepare"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": good}
    job = partial["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    described = sagemaker.describe_training_job(TrainingJobName=job)
    assert "3" in described["HyperParameters"]["scale"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("program", "package", "pipeline"),
    [
        ("sdk_v2_pipeline.py", "sagemaker==2.257.*", "sdk-v2"),
        ("sdk_v3_pipeline.py", "sagemaker-mlops==1.27.*", "sdk-v3"),  # of SDK 3.27
    ],
)
def test_a_pipeline_of_the_sdk(
    host: HostProcess, program: str, package: str, pipeline: str
) -> None:
    check(host, run_program(host, program, package), pipeline)
    described = host.client("sagemaker").describe_pipeline(PipelineName=pipeline)
    tags = host.client("sagemaker").list_tags(ResourceArn=described["PipelineArn"])["Tags"]
    assert tags == [{"Key": "made-by", "Value": "sdk"}]
