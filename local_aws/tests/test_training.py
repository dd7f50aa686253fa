"""Training jobs, as real processes over real S3."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import timedelta
from typing import Any

import pytest
from conftest import (
    Aws,
    aws_client,
    processing_request,
    training_request,
)
from job_requests import (
    SLOW,
    channel,
    log_lines,
    process,
    refused,
    train,
    wait_for_output,
)


def archive(aws: Aws, key: str) -> dict[str, bytes]:
    data = aws.s3.get_object(Bucket=aws.bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        files = [member for member in packed if member.isfile()]
        return {member.name: packed.extractfile(member).read() for member in files}  # type: ignore[union-attr] # isfile() is checked


def test_a_model_is_trained(aws: Aws) -> None:
    aws.put("data/train/part.csv", "1,2\n")
    aws.put("data/test/part.csv", "3,4\n")
    code = (
        "import json, os, shutil\n"
        "from pathlib import Path\n"
        "ml = Path('/opt/ml')\n"
        "shutil.copytree(ml / 'input', ml / 'output/data/input')\n"
        "(ml / 'model/deep').mkdir()\n"
        "(ml / 'model/deep/model.json').write_text('{}')\n"
        "(ml / 'output/data/env').write_text(os.environ['TRAINING_JOB_NAME'])\n"
        "for epoch in range(3):\n"
        "    print(f'[{epoch}] validation-auc:{0.7 + epoch / 10:.2f} loss=nan')\n"
    )
    done = train(
        aws,
        code,
        "full",
        HyperParameters={"depth": "6", "objective": "binary:logistic"},
        InputDataConfig=[
            channel("train", f"s3://{aws.bucket}/data/train") | {"ContentType": "text/csv"},
            channel("test", f"s3://{aws.bucket}/data/test/"),
        ],
        AlgorithmSpecification={
            "MetricDefinitions": [
                {"Name": "validation:auc", "Regex": r"validation-auc:([0-9.]+)"},
                {"Name": "loss", "Regex": "loss=(.*)"},
                {"Name": "absent", "Regex": "absent=(.*)"},
            ]
        },
    )
    assert done["TrainingJobStatus"] == done["SecondaryStatus"] == "Completed", done
    model = done["ModelArtifacts"]["S3ModelArtifacts"]
    assert model == f"s3://{aws.bucket}/models/full/output/model.tar.gz"
    assert archive(aws, "models/full/output/model.tar.gz") == {"deep/model.json": b"{}"}
    (metric,) = done["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("validation:auc", pytest.approx(0.9))
    phases = [entry["Status"] for entry in done["SecondaryStatusTransitions"]]
    assert phases == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all("EndTime" in entry for entry in done["SecondaryStatusTransitions"])
    assert done["TrainingStartTime"] <= done["TrainingEndTime"]
    assert done["BillableTimeInSeconds"] >= 1

    seen = archive(aws, "models/full/output/output.tar.gz")
    assert seen["env"] == b"full"
    assert seen["input/data/train/part.csv"] == b"1,2\n"
    assert seen["input/data/test/part.csv"] == b"3,4\n"
    hyperparameters = json.loads(seen["input/config/hyperparameters.json"])
    assert hyperparameters == {"depth": "6", "objective": "binary:logistic"}
    channels = json.loads(seen["input/config/inputdataconfig.json"])
    assert channels["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    hosts = json.loads(seen["input/config/resourceconfig.json"])
    assert (hosts["current_host"], hosts["hosts"]) == ("algo-1", ["algo-1"])
    assert hosts["current_instance_type"] == "ml.m5.large"
    assert len(log_lines(aws, "/aws/sagemaker/TrainingJobs", "full")) == 3
    found = aws_client("cloudwatch", aws.service.settings.port).get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName="validation:auc",
        Dimensions=[{"Name": "TrainingJobName", "Value": "full"}],
        StartTime=done["TrainingStartTime"] - timedelta(minutes=1),
        EndTime=done["TrainingEndTime"] + timedelta(minutes=1),
        Period=3600,
        Statistics=["SampleCount", "Maximum"],
    )["Datapoints"]
    assert sum(point["SampleCount"] for point in found) == 3
    assert max(point["Maximum"] for point in found) == pytest.approx(0.9)


def test_an_image_is_run_with_train(aws: Aws) -> None:
    program = aws.folder / "program.py"
    program.write_text("import sys; print(*sys.argv[1:])")
    request = training_request(aws.folder, "plain", "", f"s3://{aws.bucket}/models")
    del request["AlgorithmSpecification"]["ContainerEntrypoint"]
    aws.sagemaker.create_training_job(**request)
    assert aws.wait("Training", "plain")["TrainingJobStatus"] == "Completed"
    assert log_lines(aws, "/aws/sagemaker/TrainingJobs", "plain") == ["train"]


def test_the_failure_file_is_the_reason(aws: Aws) -> None:
    code = (
        "import sys\n"
        "open('/opt/ml/output/failure', 'w').write('no rows left after cleaning' + '.' * 2000)\n"
        "open('/opt/ml/output/data/trace', 'w').write('t')\n"
        "print('something else')\n"
        "sys.exit(1)\n"
    )
    done = train(aws, code)
    assert done["TrainingJobStatus"] == done["SecondaryStatus"] == "Failed"
    assert done["FailureReason"].startswith("AlgorithmError: no rows left after cleaning...")
    assert done["FailureReason"].endswith(", exit code: 1")
    assert len(done["FailureReason"]) == 1024
    assert aws.keys("models") == ["models/job/output/output.tar.gz"]
    assert [e[1]["TrainingJobStatus"] for e in aws.wait_events(2)] == ["InProgress", "Failed"]


SAVES_ON_SIGTERM = (
    "import signal, sys, time\n"
    "def save(*_):\n"
    "    open('/opt/ml/model/model', 'w').write('saved')\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "print('up', flush=True)\n"
    "time.sleep(600)\n"
)


def test_a_stopped_training_job_may_save_its_model(aws: Aws) -> None:
    request = training_request(aws.folder, "job", SAVES_ON_SIGTERM, f"s3://{aws.bucket}/models")
    aws.sagemaker.create_training_job(**request)
    wait_for_output(aws, "training-job")
    aws.sagemaker.stop_training_job(TrainingJobName="job")
    done = aws.wait("Training", "job")
    assert done["TrainingJobStatus"] == done["SecondaryStatus"] == "Stopped"
    assert archive(aws, "models/job/output/model.tar.gz") == {"model": b"saved"}
    phases = [entry["Status"] for entry in done["SecondaryStatusTransitions"]]
    assert phases == ["Starting", "Downloading", "Training", "Stopping", "Stopped"]


def test_a_training_job_out_of_time_is_stopped_and_keeps_its_model(aws: Aws) -> None:
    limit = {"MaxRuntimeInSeconds": 1}
    done = train(aws, SAVES_ON_SIGTERM, StoppingCondition=limit)
    assert done["TrainingJobStatus"] == "Stopped"
    assert done["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert done["ModelArtifacts"]["S3ModelArtifacts"].endswith("/job/output/model.tar.gz")


def test_checkpoints_come_back_and_are_kept(aws: Aws) -> None:
    code = (
        "from pathlib import Path\n"
        "path = Path('/opt/ml/checkpoints/epoch')\n"
        "path.write_text(str(int(path.read_text() if path.exists() else '0') + 1))\n"
    )
    for number in (1, 2):
        config = {"S3Uri": f"s3://{aws.bucket}/checkpoints"}
        done = train(aws, code, f"job-{number}", CheckpointConfig=config)
        assert done["TrainingJobStatus"] == "Completed", done
        assert aws.get("checkpoints/epoch") == str(number)


def test_an_empty_channel_fails_the_job(aws: Aws) -> None:
    uri = f"s3://{aws.bucket}/nothing"
    done = train(aws, "pass", InputDataConfig=[channel("train", uri)])
    assert done["TrainingJobStatus"] == "Failed"
    assert f'No S3 objects found under S3 URL "{uri}"' in done["FailureReason"]


def test_training_requests_that_cannot_be_done_are_refused(aws: Aws) -> None:
    output = f"s3://{aws.bucket}/models"
    uri = f"s3://{aws.bucket}/x"
    instances = {"InstanceCount": 255, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    group = {"InstanceGroupName": "g", "InstanceCount": 1, "InstanceType": "ml.m5.large"}
    groups = {"InstanceGroups": [group], "VolumeSizeInGB": 1}
    files = {"FileSystemId": "fs-12345678901", "FileSystemAccessMode": "ro"}
    files |= {"FileSystemType": "EFS", "DirectoryPath": "/"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ResourceConfig": instances}, "InstanceCount"),
        ({"ResourceConfig": groups}, "InstanceGroups"),
        ({"InputDataConfig": [channel("a", uri), channel("a", uri)]}, "ChannelName"),
        ({"InputDataConfig": [channel("a", uri) | {"InputMode": "Pipe"}]}, "Pipe"),
        ({"InputDataConfig": [channel("a", uri) | {"CompressionType": "Gzip"}]}, "Compression"),
        (
            {"InputDataConfig": [channel("a", uri, S3DataType="AugmentedManifestFile")]},
            "AugmentedManifestFile",
        ),
        (
            {
                "InputDataConfig": [
                    {"ChannelName": "a", "DataSource": {"FileSystemDataSource": files}}
                ]
            },
            "S3DataSource",
        ),
        ({"AlgorithmSpecification": {"MetricDefinitions": [{"Name": "m", "Regex": "("}]}}, "Regex"),
        ({"AlgorithmSpecification": {"TrainingImage": "unknown:1"}}, "unknown:1"),
        ({"CheckpointConfig": {"S3Uri": uri, "LocalPath": "/data"}}, "CheckpointConfig"),
    ]
    for change, named in cases:
        code, message = refused(
            aws.sagemaker.create_training_job,
            training_request(aws.folder, "job", "pass", output, **change),
        )
        assert code == "ValidationException"
        assert named in message
    assert aws.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []


def test_only_a_job_that_has_ended_can_be_deleted(aws: Aws) -> None:
    request = processing_request(aws.folder, "job", SLOW)
    aws.sagemaker.create_processing_job(**request)
    wait_for_output(aws, "processing-job")
    delete = aws.sagemaker.delete_processing_job
    assert refused(delete, {"ProcessingJobName": "job"})[0] == "ResourceInUse"
    aws.sagemaker.stop_processing_job(ProcessingJobName="job")
    aws.wait("Processing", "job")
    delete(ProcessingJobName="job")
    assert not (aws.folder / "jobs" / "processing-job").exists()
    assert refused(delete, {"ProcessingJobName": "job"})[0] == "ResourceNotFound"
    assert process(aws, "pass")["ProcessingJobStatus"] == "Completed"
