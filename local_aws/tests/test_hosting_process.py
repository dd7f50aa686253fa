"""Hosting in a real process: alarms decide on metrics, and kill -9 loses nothing."""

from __future__ import annotations

import io
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REGION, until
from host_process import ROLE, HostProcess
from model_server import SERVER, SERVER_IMAGE

from local_aws.images.images import Image, Images

BUCKET = "models"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    """A local AWS with the toy server's image and the models good and failing."""
    process = HostProcess(tmp_path / "aws")
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    python = Path(sys.executable)
    image = Image(tmp_path, str(python.parent), {}, ["python", str(program)], [])
    Images(process.data_dir).register(SERVER_IMAGE, image)
    process.start()
    s3 = process.client("s3")
    where = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    for name in ("good", "failing"):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as packed:
            member = tarfile.TarInfo("name")
            member.size = len(name)
            packed.addfile(member, io.BytesIO(name.encode()))
        s3.put_object(Bucket=BUCKET, Key=f"{name}.tar.gz", Body=archive.getvalue())
        process.client("sagemaker").create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": SERVER_IMAGE,
                "ModelDataUrl": f"s3://{BUCKET}/{name}.tar.gz",
            },
        )
    yield process
    process.end()


def status(host: HostProcess) -> str:
    described = host.client("sagemaker").describe_endpoint(EndpointName="e1")
    return str(described["EndpointStatus"])


def config(host: HostProcess, model: str, **fields: object) -> None:
    variant = {"VariantName": "V", "ModelName": model, "InstanceType": "ml.m5.large"}
    host.client("sagemaker").create_endpoint_config(
        EndpointConfigName=model,
        ProductionVariants=[{**variant, "InitialInstanceCount": 1}],
        **fields,
    )


def endpoint(host: HostProcess, **fields: object) -> None:
    config(host, "good", **fields)
    host.client("sagemaker").create_endpoint(EndpointName="e1", EndpointConfigName="good")
    until(lambda: status(host) == "InService")


@pytest.mark.exhaustive
def test_a_canary_that_fails_is_rolled_back_by_its_own_metrics(host: HostProcess) -> None:
    endpoint(host)
    config(host, "failing")
    dimensions = {"EndpointName": "e1", "VariantName": "V", "EndpointConfigName": "failing"}
    host.client("cloudwatch").put_metric_alarm(
        AlarmName="errors",
        Namespace="AWS/SageMaker",
        MetricName="Invocation4XXErrors",
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=3,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    host.client("sagemaker").update_endpoint(
        EndpointName="e1",
        EndpointConfigName="failing",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                    "WaitIntervalInSeconds": 120,
                }
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
        },
    )
    runtime = host.client("sagemaker-runtime")
    deadline = time.monotonic() + 90
    while status(host) != "InService":
        assert time.monotonic() < deadline
        # Both versions refuse this; the alarm sees the new one's part.
        with pytest.raises(runtime.exceptions.ModelError):
            runtime.invoke_endpoint(EndpointName="e1", Body=b"status 400")
    described = host.client("sagemaker").describe_endpoint(EndpointName="e1")
    assert described["EndpointConfigName"] == "good"
    assert "in the state ALARM, or were deleted: errors" in described["FailureReason"]
    assert runtime.invoke_endpoint(EndpointName="e1", Body=b"x")["Body"].read()


def test_a_kill_loses_no_request_that_was_taken(host: HostProcess) -> None:
    endpoint(
        host,
        AsyncInferenceConfig={
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
            "OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        },
    )
    runtime = host.client("sagemaker-runtime")
    taken = {
        runtime.invoke_endpoint_async(EndpointName="e1", Body=b"sleep 0.2")["OutputLocation"]
        for _ in range(8)
    }
    host.kill()
    host.start()
    s3 = host.client("s3")

    def outputs() -> set[str]:
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix="out/").get("Contents", [])
        return {f"s3://{BUCKET}/{item['Key']}" for item in found}

    until(lambda: outputs() == taken)
