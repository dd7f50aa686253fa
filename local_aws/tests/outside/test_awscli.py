"""The AWS CLI, version 1: what people type."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_process import Cli, fresh_cli
from conftest import REGION, ROLE, training_request
from model_server import SERVER, SERVER_IMAGE
from others_tools import environment, run, tool

from local_aws.images.images import Image, Images

AWS = [*tool("awscli==1.46.3"), "aws"]
REFUSED = 255
"""Exit status when the service answers with an error."""


@dataclass
class Shell:
    """A shell as `eval "$(local-aws start)"` leaves it."""

    cli: Cli
    env: dict[str, str]

    def aws(self, *arguments: str) -> str:
        return run([*AWS, *arguments], self.env).stdout

    def refused(self, *arguments: str) -> str:
        return run([*AWS, *arguments], self.env, status=REFUSED).stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.aws(*arguments, "--output=json"))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("shell")
    with fresh_cli(folder) as cli:
        started = cli.start(f"--region={REGION}")
        yield Shell(cli, environment(**started["environment"]))


def test_a_model_is_trained_and_served(shell: Shell, tmp_path: Path) -> None:
    python = str(Path(sys.executable).parent)
    (tmp_path / "server.py").write_text(SERVER)
    images = Images(shell.cli.data_dir)
    images.register(SERVER_IMAGE, Image(tmp_path, python, {}, ["python", "server.py"], []))
    code = (
        "import os\n"
        "folder = os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml') + '/model'\n"
        "open(folder + '/name', 'w').write('typed')\n"
        "print('loss=0.25')\n"
    )
    request = training_request(tmp_path, "typed", code, "s3://typed/models")
    algorithm = request["AlgorithmSpecification"]
    algorithm["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    images.register(algorithm["TrainingImage"], Image(tmp_path, python, {}, [], []))
    (tmp_path / "request.json").write_text(json.dumps(request))

    shell.cli.client("s3").create_bucket(
        Bucket="typed", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    given = f"file://{tmp_path}/request.json"
    made = shell.json("sagemaker", "create-training-job", "--cli-input-json", given)
    assert made["TrainingJobArn"].endswith(":training-job/typed")
    sagemaker = shell.cli.client("sagemaker")
    # It looks once a minute.
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="typed", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
    )
    job = ["--training-job-name", "typed"]
    shell.aws("sagemaker", "wait", "training-job-completed-or-stopped", *job)
    query = "[TrainingJobStatus, FinalMetricDataList[0].Value, ModelArtifacts.S3ModelArtifacts]"
    found = shell.json("sagemaker", "describe-training-job", *job, "--query", query)
    artifact = "s3://typed/models/typed/output/model.tar.gz"
    assert found == ["Completed", 0.25, artifact]

    container = {"Image": SERVER_IMAGE, "ModelDataUrl": artifact}
    sagemaker.create_model(ModelName="t", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "t", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="t", ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName="typed", EndpointConfigName="t")
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="typed", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
    )
    body = ["--body", "1,2", str(tmp_path / "answer")]
    invoke = ["sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "typed"]
    told = shell.json(*invoke, "--content-type", "text/csv", *body)
    assert told["InvokedProductionVariant"] == "v"
    assert json.loads((tmp_path / "answer").read_text())["model"] == "typed"


def test_lists_are_paged_sorted_and_queried(shell: Shell) -> None:
    names = [f"listed-{number:02}" for number in range(12)]
    sagemaker = shell.cli.client("sagemaker")
    for name in names:
        sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "i:1"}
        )
    listed = ["sagemaker", "list-models", "--name-contains", "listed-"]
    order = ["--sort-by", "Name", "--sort-order", "Ascending", "--page-size", "5"]
    shown = shell.aws(*listed, *order, "--query", "Models[].ModelName", "--output", "text")
    assert shown.split() == names
    first = shell.json(*listed, "--max-items", "7")
    rest = shell.json(*listed, "--starting-token", first["NextToken"])
    assert [model["ModelName"] for model in first["Models"] + rest["Models"]] == names[::-1]


def test_errors_are_those_of_aws(shell: Shell) -> None:
    told = shell.refused("sagemaker", "describe-training-job", "--training-job-name", "nowhere")
    assert "(ValidationException) when calling the DescribeTrainingJob operation" in told
    assert "Could not find requested job with name: nowhere" in told
    told = shell.refused("sagemaker", "list-notebook-instances")
    assert "does not know SageMaker's ListNotebookInstances" in told
