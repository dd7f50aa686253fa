"""SageMaker alone, beside an S3 that knows nothing of it: moto's."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cli_process import Cli, fresh_cli
from conftest import REGION, ROLE, free_port, training_request, until
from model_server import SERVER, SERVER_IMAGE
from others_tools import environment, tool

from local_aws.images import ecr
from local_aws.images.images import DOCKER_MANIFEST, Image, Images
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.server.alone import MetricsFile

SERVE = """
import sys
sys.modules["ministack"] = None  # whoever imports it fails
from pathlib import Path
from local_aws.server.alone import serve
from local_aws.settings import Settings
folder, port, region, s3 = sys.argv[1:]
serve(Settings(Path(folder), int(port), region, endpoints={"s3": s3}))
"""
KEY = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owners-secret"}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def foreign_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an S3, and of an EventBridge, of moto."""
    port = free_port()
    argv = [*tool("moto[server,s3,events,logs,sqs]==5.2.5"), "moto_server", "-p", str(port)]
    log = tmp_path_factory.mktemp("moto") / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(argv, env=environment(), stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or listens(port), seconds=120)
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def client(name: str, url: str) -> Any:
    return boto3.session.Session().client(
        name,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="owner",
        aws_secret_access_key="owners-secret",
    )


def bucket(s3: Any, name: str) -> str:
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# Looks at what a job of SageMaker alone is told, and proves that its own S3 client works.
TRAIN = """
import json, os
from pathlib import Path
import boto3
names = [name for name in os.environ if name.startswith("AWS_")]
base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
(base / "model" / "name").write_text("alone")
print(json.dumps({name: os.environ[name] for name in names}))
boto3.client("s3").put_object(Bucket="alone", Key="from-the-job", Body=b"hello")
"""


def test_it_trains_and_serves_without_the_emulator(tmp_path: Path, foreign_s3: str) -> None:
    s3 = client("s3", foreign_s3)
    bucket(s3, "alone")
    images = Images(tmp_path)
    python = str(Path(sys.executable).parent)
    (tmp_path / "server.py").write_text(SERVER)
    images.register(SERVER_IMAGE, Image(tmp_path, python, {}, ["python", "server.py"], []))
    request = training_request(tmp_path, "job", TRAIN, "s3://alone/models")
    image = request["AlgorithmSpecification"]["TrainingImage"]
    images.register(image, Image(tmp_path, python, {}, [], []))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(tmp_path), str(port), REGION, foreign_s3],
            env=environment(**KEY),
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: listens(port))
        sagemaker = client("sagemaker", url)
        sagemaker.create_training_job(**request)
        waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
        waiter.wait(TrainingJobName="job", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
        told = json.loads((tmp_path / "jobs" / "training-job" / "log.txt").read_text())
        assert told["AWS_ENDPOINT_URL_S3"] == foreign_s3
        assert told["AWS_ENDPOINT_URL"] == url  # all else ends here, not at AWS
        assert told["AWS_ACCESS_KEY_ID"] == "owner"
        assert s3.get_object(Bucket="alone", Key="from-the-job")["Body"].read() == b"hello"

        artifact = sagemaker.describe_training_job(TrainingJobName="job")["ModelArtifacts"]
        container = {"Image": SERVER_IMAGE, "ModelDataUrl": artifact["S3ModelArtifacts"]}
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
        variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large"}
        variant["InitialInstanceCount"] = 1  # type: ignore[assignment] # a request's member
        sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        waiter = sagemaker.get_waiter("endpoint_in_service")
        waiter.wait(EndpointName="e", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
        answer = client("sagemaker-runtime", url).invoke_endpoint(EndpointName="e", Body=b"x")
        assert json.loads(answer["Body"].read())["model"] == "alone"

        # What nobody's EventBridge and CloudWatch take is in files.
        events = lines(tmp_path / "events.jsonl")
        states = [event["detail"].get("TrainingJobStatus") for event in events]
        assert states[0] == "InProgress"
        assert "Completed" in states
        assert {event["source"] for event in events} == {"aws.sagemaker"}
        until(lambda: any(line["MetricName"] == "Invocations" for line in metrics(tmp_path)))

        # Another service than SageMaker is refused by name.
        with pytest.raises(
            Exception, match="SageMaker runs alone here and does not know AmazonSQS"
        ):
            client("sqs", url).create_queue(QueueName="q")
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, (tmp_path / "server.log").read_text()


def metrics(folder: Path) -> list[dict[str, Any]]:
    return lines(folder / "metrics.jsonl")


def test_the_commands_know_it(tmp_path: Path, foreign_s3: str) -> None:
    with fresh_cli(tmp_path, **KEY) as cli:
        neighbours = [f"--endpoint={name}={foreign_s3}" for name in ("s3", "events")]
        status = cli.start(*neighbours, f"--region={REGION}")
        url = status["endpoint_url"]
        env = status["environment"]
        assert env["AWS_ENDPOINT_URL_SAGEMAKER"] == env["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == url
        assert env["AWS_ENDPOINT_URL_S3"] == env["AWS_ENDPOINT_URL_EVENTBRIDGE"] == foreign_s3
        assert not {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & env.keys()
        shown = cli.run("status")
        assert f"export AWS_ENDPOINT_URL_S3={foreign_s3}" in shown.stdout
        assert "SageMaker alone" in shown.stderr
        queue_gets_the_events(cli, foreign_s3)
        assert "Running on" in cli.run("logs").stdout

        cli.run("reset")
        again = cli.status()
        assert again["environment"] == env
        assert again["pid"] != status["pid"]
        cli.run("stop")
        cli.status(3)
        # Without --endpoint the same folder is a whole local AWS.
        assert "AWS_ENDPOINT_URL" in cli.start()["environment"]


def queue_gets_the_events(cli: Cli, url: str) -> None:
    """A rule of somebody else's EventBridge sees what happens."""
    events, sqs = client("events", url), client("sqs", url)
    queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
    pattern = json.dumps({"source": ["local.sagemaker"]})
    events.put_rule(Name="all", EventPattern=pattern)
    arn = f"arn:aws:sqs:{REGION}:123456789012:heard"
    events.put_targets(Rule="all", Targets=[{"Id": "q", "Arn": arn}])
    cli_url = cli.status()["endpoint_url"]
    sagemaker = client("sagemaker", cli_url)
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    image = {"Containers": [{"Image": "i:1"}], "SupportedContentTypes": ["text/csv"]}
    specification = {**image, "SupportedResponseMIMETypes": ["text/csv"]}
    sagemaker.create_model_package(ModelPackageGroupName="g", InferenceSpecification=specification)
    deadline = time.monotonic() + 30
    while not (found := sqs.receive_message(QueueUrl=queue).get("Messages")):
        assert time.monotonic() < deadline, lines(cli.data_dir / "events.jsonl")
        time.sleep(0.1)
    event = json.loads(found[0]["Body"])
    assert event["detail"]["ModelPackageGroupName"] == "g"
    assert event["detail-type"] == "SageMaker Model Package State Change"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--endpoint=logs=http://127.0.0.1:1"], "--endpoint s3=URL"),
        (["--endpoint=s3=127.0.0.1"], "'127.0.0.1' is not a URL"),
        (["--endpoint=s3"], "'' is not a URL"),
        (["--endpoint=dynamodb=http://127.0.0.1:1"], "'dynamodb'"),
    ],
)
def test_wrong_endpoints_are_named(tmp_path: Path, arguments: list[str], told: str) -> None:
    error = Cli(tmp_path).run("start", *arguments, status=2).stderr
    assert told in error
    assert not (tmp_path / "data").exists()


def test_alarms_need_a_cloudwatch(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="without CloudWatch's describe_alarms"):
        MetricsFile(tmp_path / "metrics.jsonl").describe_alarms(AlarmNames=["a"])


def test_images_are_pushed_without_a_registry() -> None:
    uri = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/toy:1"
    ecr.put_image(uri, {}, DOCKER_MANIFEST, {"AWS_ENDPOINT_URL_SAGEMAKER": "http://127.0.0.1:9"})
    # Nor is one missed that somebody names.
    named = {"AWS_ENDPOINT_URL_SAGEMAKER": "x", "AWS_ENDPOINT_URL_ECR": "http://127.0.0.1:9"}
    with pytest.raises(ecr.PushError, match=r"127\.0\.0\.1:9"):
        ecr.put_image(uri, {}, DOCKER_MANIFEST, named)
