"""What runs when the process is killed has ended, or goes on, after the next start."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import IMAGE, REGION, processing_request, training_request, until
from host_process import ROLE, HostProcess
from model_server import SERVER, SERVER_IMAGE
from state_machines import machine, task

from local_aws.images.images import Image, Images

SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
SLOW_IMAGE = f"{SERVER_IMAGE}-slow"
REASON = "The local AWS"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    host = HostProcess(tmp_path / "aws")
    folder = host.data_dir
    python = str(Path(sys.executable).parent)
    (folder / "program.py").write_text(SLEEP)
    (folder / "server.py").write_text(SERVER)
    images = Images(folder)
    serves = ["python", "server.py"]
    images.register(IMAGE, Image(folder, python, {}, ["python", "program.py"], []))
    images.register(SERVER_IMAGE, Image(folder, python, {}, serves, []))
    images.register(SLOW_IMAGE, Image(folder, python, {"START_SECONDS": "600"}, serves, []))
    with host:
        bucket = {"LocationConstraint": REGION}
        host.client("s3").create_bucket(Bucket="models", CreateBucketConfiguration=bucket)
        host.client("s3").put_object(Bucket="models", Key="name", Body=b"m")
        yield host


def tuning_request(host: HostProcess, name: str) -> dict[str, Any]:
    training = training_request(host.data_dir, name, SLEEP, "s3://models/tuned")
    del training["TrainingJobName"]
    algorithm = training["AlgorithmSpecification"]
    del algorithm["ContainerEntrypoint"]
    algorithm["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=(.*)"}]
    ranges = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["1", "2"]}]}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 2},
            "ParameterRanges": ranges,
        },
        "TrainingJobDefinition": training,
    }


def start_pipeline(host: HostProcess, name: str) -> str:
    arguments = processing_request(host.data_dir, name, SLEEP)
    del arguments["ProcessingJobName"]
    step = {"Name": "Sleep", "Type": "Processing", "Arguments": arguments}
    sagemaker = host.client("sagemaker")
    sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=json.dumps({"Version": "2020-12-01", "Steps": [step]}),
        RoleArn=ROLE,
        ClientRequestToken=uuid.uuid4().hex,
    )
    arn: str = sagemaker.start_pipeline_execution(
        PipelineName=name, ClientRequestToken=uuid.uuid4().hex
    )["PipelineExecutionArn"]
    return arn


def start_machine(host: HostProcess, name: str) -> str:
    request = processing_request(host.data_dir, name, SLEEP)
    states = {"Sleep": task("arn:aws:states:::sagemaker:createProcessingJob.sync", request)}
    states_client = host.client("stepfunctions")
    made = states_client.create_state_machine(
        name=name, definition=json.dumps(machine(states)), roleArn=ROLE
    )
    arn: str = states_client.start_execution(stateMachineArn=made["stateMachineArn"])[
        "executionArn"
    ]
    return arn


def make_endpoint(host: HostProcess, name: str) -> None:
    """Make an endpoint in service, and begin an update of it that takes long."""
    sagemaker = host.client("sagemaker")
    source = {"S3DataType": "S3Prefix", "CompressionType": "None", "S3Uri": "s3://models/"}
    for model, image in ((name, SERVER_IMAGE), (f"{name}-slow", SLOW_IMAGE)):
        container = {"Image": image, "ModelDataSource": {"S3DataSource": source}}
        sagemaker.create_model(ModelName=model, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.m5.large"}
        variants = [{**variant, "InitialInstanceCount": 1}]
        sagemaker.create_endpoint_config(EndpointConfigName=model, ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    waiter = sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-slow")


def test_nothing_stays_in_progress(host: HostProcess) -> None:
    sagemaker = host.client("sagemaker")
    sagemaker.create_processing_job(**processing_request(host.data_dir, "processing", SLEEP))
    sagemaker.create_training_job(
        **training_request(host.data_dir, "training", SLEEP, "s3://models/trained")
    )
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(host, "tuning"))
    execution = start_pipeline(host, "pipeline")
    machine_execution = start_machine(host, "machine")
    make_endpoint(host, "endpoint")
    logs = host.data_dir / "jobs"
    # Alone, of the tuning, of the pipeline and of the state machine.
    until(lambda: sum("up" in log.read_text() for log in logs.glob("*/log.txt")) >= 6, 60)
    until(lambda: len(containers(host)) == 8, 60)  # and two servers
    before = containers(host)
    ran = jobs(sagemaker)
    assert set(ran.values()) == {"InProgress"}
    host.kill()
    host.start()
    until(lambda: {jobs(sagemaker)[name] for name in ran} == {"Failed"}, 60)
    described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
    assert described["PipelineExecutionStatus"] == "Failed"
    [step] = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution)[
        "PipelineExecutionSteps"
    ]
    assert step["StepStatus"] == "Failed"
    told = host.client("stepfunctions").describe_execution(executionArn=machine_execution)
    assert told["status"] == "FAILED"
    reasons = [
        sagemaker.describe_processing_job(ProcessingJobName="processing")["FailureReason"],
        sagemaker.describe_training_job(TrainingJobName="training")["FailureReason"],
        described["FailureReason"],
        step["FailureReason"],
        told["cause"],
    ]
    assert [reason for reason in reasons if REASON not in reason] == []

    # The endpoint serves what it served.
    def serves() -> bool:
        endpoint = sagemaker.describe_endpoint(EndpointName="endpoint")
        assert endpoint["EndpointStatus"] in ("SystemUpdating", "Updating", "InService"), endpoint
        return bool(endpoint["EndpointStatus"] == "InService")

    until(serves, 60)
    assert sagemaker.describe_endpoint(EndpointName="endpoint")["EndpointConfigName"] == "endpoint"
    answer = host.client("sagemaker-runtime").invoke_endpoint(EndpointName="endpoint", Body=b"x")
    assert json.loads(answer["Body"].read())["model"] == "m"

    # The tuning job goes on, with new training jobs.
    assert tuning_status(sagemaker) == "InProgress"
    until(lambda: "InProgress" in jobs(sagemaker).values(), 60)
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tuning")
    until(lambda: tuning_status(sagemaker) == "Stopped", 60)
    assert not before & containers(host)
    until(lambda: len(containers(host)) == 1)  # the endpoint's


def jobs(sagemaker: Any) -> dict[str, str]:
    """The status of each processing and training job."""
    processing = sagemaker.list_processing_jobs()["ProcessingJobSummaries"]
    training = sagemaker.list_training_jobs()["TrainingJobSummaries"]
    return {
        **{job["ProcessingJobName"]: job["ProcessingJobStatus"] for job in processing},
        **{job["TrainingJobName"]: job["TrainingJobStatus"] for job in training},
    }


def tuning_status(sagemaker: Any) -> str:
    named = {"HyperParameterTuningJobName": "tuning"}
    status: str = sagemaker.describe_hyper_parameter_tuning_job(**named)[
        "HyperParameterTuningJobStatus"
    ]
    return status


def containers(host: HostProcess) -> set[tuple[int, str]]:
    """The containers that run: process ids and start times."""
    homes = tuple(f"HOME={host.data_dir / name}/".encode() for name in ("jobs", "endpoints"))
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and any(variable.startswith(homes) for variable in variables):
            found.add((int(entry.name), fields[19]))
    return found
