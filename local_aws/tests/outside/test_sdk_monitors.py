"""Monitors that SageMaker's own SDK makes a baseline for, schedules and reads the reports of."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REGION, ROLE, until
from host_process import HostProcess
from others_tools import environment, run, tool
from test_sdk_pipelines import NO_TELEMETRY

from local_aws.images.images import Image, Images

FOLDER = Path(__file__).parent
BUCKET = "sdk-monitors"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    """A local AWS with an endpoint that has answered, and the data it was trained on."""
    running = HostProcess(tmp_path / "data")
    python = str(Path(sys.executable).parent)
    image = Image(root=FOLDER, path=python, entrypoint=["python", "sdk_image.py"])
    Images(running.data_dir).register("sdk:1", image)
    running.start()
    try:
        prepare(running)
        yield running
    finally:
        running.end()


def archive() -> bytes:
    """A model of the toy image."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("factor")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"2"))
    return packed.getvalue()


def prepare(host: HostProcess) -> None:
    s3, sagemaker = host.client("s3"), host.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    rows = "".join(f"{number}\n" for number in range(100))
    s3.put_object(Bucket=BUCKET, Key="training/data.csv", Body=f"point\n{rows}".encode())
    s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive())
    container = {"Image": "sdk:1", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": "m",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        },
    )
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e", WaiterConfig={"Delay": 1})
    runtime = host.client("sagemaker-runtime")
    body = "".join(f"{number + 500}\n" for number in range(100))
    runtime.invoke_endpoint(EndpointName="e", Body=body, ContentType="text/csv")
    until(lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix="capture/")["KeyCount"] == 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("sagemaker==2.257.*", "sagemaker.model_monitor"),
        ("sagemaker-core==2.27.*", "sagemaker.core.model_monitor"),  # of SDK 3.27
    ],
)
def test_a_monitor_of_the_sdk(host: HostProcess, package: str, module: str) -> None:
    settings = host.data_dir.parent / "sdk.yaml"
    settings.write_text(NO_TELEMETRY)
    env = environment(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{host.port}",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION=REGION,
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(settings),
    )
    argv = [*tool(package), "python", str(FOLDER / "sdk_monitor.py"), module, BUCKET, "e"]
    found = json.loads(run(argv, env, seconds=1200).stdout.splitlines()[-1])
    assert found["message"] == (
        "CompletedWithViolations: Job completed successfully with 1 violations."
    )
    (violation,) = found["violations"]
    assert violation["constraint_check_type"] == "baseline_drift_check"
    assert found["features"] == ["point"]
    assert (found["stopped"], found["started"]) == ("Stopped", "Scheduled")
    assert found["expression"]["ScheduleExpression"] == "cron(0 0 ? * * *)"
    assert host.client("sagemaker").list_monitoring_schedules()["MonitoringScheduleSummaries"] == []
