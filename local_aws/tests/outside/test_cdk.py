"""CDK's own command: bootstrap, deploy, again, destroy, with nothing but the endpoint set."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from shlex import join

import pytest
from conftest import REGION
from host_process import ACCOUNT, HostProcess
from others_tools import environment, run, tool

FOLDER = Path(__file__).parent
CDK = "aws-cdk@2.1148.1"  # the library's constructs need this one or a later 2.x
LIBRARY = ("aws-cdk-lib==2.275.0", "constructs>=10,<11")

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(shutil.which("npx") is None, reason="CDK's command runs on Node.js"),
]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    running = HostProcess(tmp_path / "data")
    running.start()
    try:
        yield running
    finally:
        running.end()


def test_a_stack_of_everything_lives_and_goes(host: HostProcess, tmp_path: Path) -> None:
    env = environment(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{host.port}",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_REGION=REGION,
        CDK_DISABLE_VERSION_CHECK="1",
        JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION="1",
        NO_PROXY="127.0.0.1",
    )
    program = join([*tool(*LIBRARY), "python", str(FOLDER / "cdk_app.py")])
    made = ["--output", str(tmp_path / "cdk.out")]

    def cdk(*arguments: str) -> None:
        run(["npx", "--yes", CDK, *arguments], env, seconds=600)

    cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
    cdk("synth", "--quiet", "--app", program, *made)
    app = ["--app", str(tmp_path / "cdk.out"), "--require-approval", "never"]
    cdk("deploy", "around", *app)

    stacks = host.client("cloudformation")
    described = stacks.describe_stacks(StackName="around")["Stacks"][0]
    assert described["StackStatus"] == "CREATE_COMPLETE"
    outputs = {item["OutputKey"]: item["OutputValue"] for item in described["Outputs"]}
    assert outputs["DataSetArn"] == f"arn:aws:quicksight:{REGION}:{ACCOUNT}:dataset/around"
    assert outputs["ProfileArn"].endswith("/person")
    name = outputs["BucketName"]
    said = host.client("s3").get_object(Bucket=name, Key="files/said.txt")["Body"].read()
    assert said.decode() == f"of arn:aws:s3:::{name}"
    schedules = host.client("scheduler").list_schedules()["Schedules"]
    found = host.client("scheduler").get_schedule(Name=schedules[0]["Name"])
    assert found["ScheduleExpressionTimezone"] == "Europe/Berlin"
    kinds = {item["ResourceType"] for item in resources(host)}
    assert {"AWS::EC2::NatGateway", "AWS::ApplicationAutoScaling::ScalingPolicy"} <= kinds

    cdk("deploy", "around", *app)  # nothing has changed
    again = stacks.describe_stacks(StackName="around")["Stacks"][0]
    assert again["StackStatus"] == "CREATE_COMPLETE"
    assert again["StackId"] == described["StackId"]

    cdk("destroy", "around", "--force", *app[:2])
    assert "around" not in {
        item["StackName"]
        for item in stacks.list_stacks()["StackSummaries"]
        if item["StackStatus"] != "DELETE_COMPLETE"
    }
    sagemaker = host.client("sagemaker")
    assert sagemaker.list_pipelines()["PipelineSummaries"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert host.client("scheduler").list_schedules()["Schedules"] == []


def resources(host: HostProcess) -> list[dict[str, str]]:
    pages = (
        host.client("cloudformation")
        .get_paginator("list_stack_resources")
        .paginate(StackName="around")
    )
    return [item for page in pages for item in page["StackResourceSummaries"]]
