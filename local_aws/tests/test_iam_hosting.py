"""Endpoints work with the role of their model: its data, its captures, its alarms."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION, until
from host_process import HostProcess
from iam_roles import allow, logged, role, wait_for_call, wait_for_end
from model_server import SERVER, SERVER_IMAGE

from local_aws.images.images import Image, Images

BUCKET = "models"
LOGS = allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
READS = allow("s3:GetObject", on=f"arn:aws:s3:::{BUCKET}/*")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_IAM", "enforce")
        folder = tmp_path_factory.mktemp("host")
        host = HostProcess(folder)
        program = folder / "server.py"
        program.write_text(SERVER)
        python = str(Path(sys.executable).parent)
        image = Image(folder, python, {}, ["python", str(program)], [])
        Images(folder).register(SERVER_IMAGE, image)
        with host:
            s3 = host.client("s3")
            where = {"LocationConstraint": REGION}
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w:gz") as packed:
                member = tarfile.TarInfo("name")
                member.size = 4
                packed.addfile(member, io.BytesIO(b"good"))
            s3.put_object(Bucket=BUCKET, Key="good.tar.gz", Body=archive.getvalue())
            yield host


def endpoint(host: HostProcess, name: str, given: str) -> dict[str, Any]:
    sagemaker = host.client("sagemaker")
    container = {"Image": SERVER_IMAGE, "ModelDataUrl": f"s3://{BUCKET}/good.tar.gz"}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=given, PrimaryContainer=container)
    variant = {"VariantName": "V", "ModelName": name, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{**variant, "InitialInstanceCount": 1}],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}],
        },
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return wait_for_end(
        sagemaker.describe_endpoint, "EndpointStatus", "Creating", EndpointName=name
    )


def test_a_model_and_its_captures_need_the_role_s_permissions(host: HostProcess) -> None:
    writes = allow("s3:PutObject", on=f"arn:aws:s3:::{BUCKET}/capture/*")
    may = role(host, LOGS, READS, writes)
    assert endpoint(host, "may", may)["EndpointStatus"] == "InService"
    host.client("sagemaker-runtime").invoke_endpoint(EndpointName="may", Body=b"1,2")
    assert wait_for_call(host, may, "s3:PutObject")["allowed"] is True
    assert {call["action"] for call in logged(host, may)} >= {"s3:GetObject", "logs:PutLogEvents"}

    no_capture = role(host, LOGS, READS)
    assert endpoint(host, "no-capture", no_capture)["EndpointStatus"] == "InService"
    host.client("sagemaker-runtime").invoke_endpoint(EndpointName="no-capture", Body=b"1,2")
    assert wait_for_call(host, no_capture, "s3:PutObject")["allowed"] is False
    captured = host.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="capture/")["Contents"]
    assert {item["Key"].split("/")[1] for item in captured} == {"may"}


def test_an_endpoint_keeps_the_role_of_a_deleted_model(host: HostProcess) -> None:
    given = role(host, LOGS, READS, allow("s3:PutObject", on=f"arn:aws:s3:::{BUCKET}/capture/*"))
    assert endpoint(host, "kept", given)["EndpointStatus"] == "InService"
    host.client("sagemaker").delete_model(ModelName="kept")
    host.terminate()
    host.start()
    until(lambda: answers(host, "kept"))
    captured = {"Bucket": BUCKET, "Prefix": "capture/kept/"}
    until(lambda: host.client("s3").list_objects_v2(**captured)["KeyCount"] > 0)
    assert "s3:PutObject" in {call["action"] for call in logged(host, given)}


def answers(host: HostProcess, name: str) -> bool:
    try:
        host.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"1,2")
    except ClientError:
        return False
    return True


def test_a_model_that_its_role_may_not_read_does_not_serve(host: HostProcess) -> None:
    ended = endpoint(host, "may-not", role(host, LOGS))
    assert ended["EndpointStatus"] == "Failed"
    assert "not authorized to perform: s3:GetObject" in ended["FailureReason"]


def test_the_alarms_of_a_deployment_are_read_with_the_role(host: HostProcess) -> None:
    host.client("cloudwatch").put_metric_alarm(
        AlarmName="errors",
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    sagemaker = host.client("sagemaker")
    given = role(host, LOGS, READS)
    assert endpoint(host, "watched", given)["EndpointStatus"] == "InService"
    watched = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
    sagemaker.update_endpoint(
        EndpointName="watched", EndpointConfigName="watched", DeploymentConfig=watched
    )
    described = sagemaker.describe_endpoint
    ended = wait_for_end(described, "EndpointStatus", "Updating", EndpointName="watched")
    assert wait_for_call(host, given, "cloudwatch:DescribeAlarms")["allowed"] is False
    assert "cloudwatch:DescribeAlarms" in ended["FailureReason"]
