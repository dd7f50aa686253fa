"""All waiters and paginators that boto3 has for the operations that are here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import WaiterError
from conftest import ROLE, Aws, processing_request, training_request, until
from model_server import host
from transform_requests import create_model, transform_request

from local_aws.sagemaker.core.kinds import KINDS
from local_aws.sagemaker.core.operations import OPERATIONS
from local_aws.sagemaker.core.protocol import input_shape

SESSION = botocore.session.get_session()
WAITERS = SESSION.get_waiter_model("sagemaker")
PAGINATORS = SESSION.get_paginator_model("sagemaker")
KNOWN_WAITERS = {
    name for name in WAITERS.waiter_names if WAITERS.get_waiter(name).operation in OPERATIONS
}
KNOWN_PAGINATORS = sorted(PAGINATORS._paginator_config.keys() & OPERATIONS.keys())
COUNT = 5
MOMENT = 1_800_000_000.0


# Waiters


def wait(aws: Aws, name: str, **request: Any) -> None:
    config = {"Delay": 0.05, "MaxAttempts": 600}
    aws.sagemaker.get_waiter(xform_name(name)).wait(**request, WaiterConfig=config)


def process(aws: Aws, name: str, code: str, folder: Path) -> dict[str, str]:
    aws.sagemaker.create_processing_job(**processing_request(folder, name, code))
    return {"ProcessingJobName": name}


def train(aws: Aws, name: str, code: str, folder: Path) -> dict[str, str]:
    output = f"s3://{aws.bucket}/models"
    aws.sagemaker.create_training_job(**training_request(folder, name, code, output))
    return {"TrainingJobName": name}


def transform(aws: Aws, name: str, code: str, folder: Path) -> dict[str, str]:
    """Transform a record that the toy server takes, or one that it refuses."""
    del folder
    if name == "good":
        create_model(aws)
    aws.put(f"{name}/record", "bad" if "exit" in code else "fine")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{aws.bucket}/{name}/"}
    data = {"TransformInput": {"DataSource": {"S3DataSource": source}}}
    aws.sagemaker.create_transform_job(**transform_request(aws.bucket, name, **data))
    return {"TransformJobName": name}


@pytest.mark.parametrize(
    ("waiter", "start"),
    [
        ("ProcessingJobCompletedOrStopped", process),
        ("TrainingJobCompletedOrStopped", train),
        ("TransformJobCompletedOrStopped", transform),
    ],
)
def test_waiters_of_jobs(
    aws: Aws, waiter: str, start: Callable[[Aws, str, str, Path], dict[str, str]]
) -> None:
    wait(aws, waiter, **start(aws, "good", "print('done')", aws.folder))
    failing = start(aws, "bad", "raise SystemExit('exit')", aws.folder)
    with pytest.raises(WaiterError, match="encountered a terminal failure state"):
        wait(aws, waiter, **failing)
    with pytest.raises(WaiterError, match="ValidationException"):
        wait(aws, waiter, **dict.fromkeys(failing, "nowhere"))


def test_waiters_of_endpoints(aws: Aws) -> None:
    with host(aws, aws.folder) as hosted:
        for name in ("good", "broken"):
            hosted.model(name)
            hosted.config(name, {"ModelName": name})
            aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        wait(aws, "EndpointInService", EndpointName="good")
        with pytest.raises(WaiterError, match="encountered a terminal failure state"):
            wait(aws, "EndpointInService", EndpointName="broken")
        aws.sagemaker.delete_endpoint(EndpointName="good")
        wait(aws, "EndpointDeleted", EndpointName="good")
        with pytest.raises(WaiterError, match="encountered a terminal failure state"):
            wait(aws, "EndpointDeleted", EndpointName="broken")


def test_no_waiter_is_left_out() -> None:
    assert {
        "ProcessingJobCompletedOrStopped",
        "TrainingJobCompletedOrStopped",
        "TransformJobCompletedOrStopped",
        "EndpointInService",
        "EndpointDeleted",
    } == KNOWN_WAITERS


# Paginators


def condition(name: str) -> dict[str, Any]:
    """A step that runs nothing."""
    arguments = {"Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}]}
    return {"Name": name, "Type": "Condition", "Arguments": {**arguments, "IfSteps": []}}


def executions(aws: Aws, count: int) -> str:
    """Run a pipeline of as many parameters and steps as are listed; return an execution's ARN."""
    names = [f"N{number}" for number in range(COUNT)]
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": "String", "DefaultValue": "x"} for name in names],
        "Steps": [condition(name) for name in names],
    }
    aws.sagemaker.create_pipeline(
        PipelineName="p",
        PipelineDefinition=json.dumps(definition),
        RoleArn=ROLE,
        ClientRequestToken=uuid.uuid4().hex,
    )
    arns = [
        aws.sagemaker.start_pipeline_execution(
            PipelineName="p", ClientRequestToken=uuid.uuid4().hex
        )["PipelineExecutionArn"]
        for _ in range(count)
    ]
    for arn in arns:
        until(lambda arn=arn: execution_status(aws, arn) == "Succeeded")
    return arns[0] if arns else ""


def execution_status(aws: Aws, arn: str) -> str:
    described = aws.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    status: str = described["PipelineExecutionStatus"]
    return status


def tagged(aws: Aws) -> str:
    tags = [{"Key": f"key{number}", "Value": "x"} for number in range(COUNT)]
    made = aws.sagemaker.create_model_package_group(ModelPackageGroupName="g", Tags=tags)
    arn: str = made["ModelPackageGroupArn"]
    return arn


def versions(aws: Aws) -> str:
    executions(aws, 0)
    for number in range(1, COUNT):
        aws.sagemaker.update_pipeline(PipelineName="p", PipelineDescription=str(number))
    return "p"


TUNING = {"Strategy": "Random", "ResourceLimits": {"MaxParallelTrainingJobs": 1}}


def tuned(aws: Aws) -> str:
    store(aws, "HyperParameterTuningJob", 1, HyperParameterTuningJobConfig=TUNING)
    objective = {"MetricName": "loss", "Type": "Minimize"}
    of = {"Index": 0, "Tuned": {"rate": "0.1"}, "Objective": objective}
    arn = aws.service.arn("HyperParameterTuningJob", "name0")
    store(aws, "TrainingJob", TuningJobArn=arn, _Tuning=of)
    return "name0"


def monitored(aws: Aws) -> str:
    for number in range(COUNT):
        body = {"MonitoringScheduleName": "s", "MonitoringExecutionStatus": "Completed"}
        body |= {"_Key": f"s/{number}", "ScheduledTime": MOMENT}
        aws.service.store.insert("MonitoringExecution", body["_Key"], body["_Key"], body)
    return "s"


# What must be there before a list has something to show, and what the request names it by.
LISTED: dict[str, Callable[[Aws], dict[str, str]]] = {
    "ListTags": lambda aws: {"ResourceArn": tagged(aws)},
    "ListPipelineExecutions": lambda aws: {"PipelineName": executions(aws, COUNT) and "p"},
    "ListPipelineExecutionSteps": lambda aws: {"PipelineExecutionArn": executions(aws, 1)},
    "ListPipelineParametersForExecution": lambda aws: {"PipelineExecutionArn": executions(aws, 1)},
    "Search": lambda aws: store(aws, "ModelPackageGroup") | {"Resource": "ModelPackageGroup"},
    "ListPipelineVersions": lambda aws: {"PipelineName": versions(aws)},
    "ListMonitoringExecutions": lambda aws: {"MonitoringScheduleName": monitored(aws)},
    "ListTrainingJobsForHyperParameterTuningJob": lambda aws: {
        "HyperParameterTuningJobName": tuned(aws)
    },
    "ListHyperParameterTuningJobs": lambda aws: store(
        aws, "HyperParameterTuningJob", HyperParameterTuningJobConfig=TUNING
    ),
}


def store(aws: Aws, kind: str, count: int = COUNT, **fields: Any) -> dict[str, str]:
    """Store resources of a kind as they are after their creation."""
    table = KINDS[kind]
    for number in range(count):
        name = f"name{number}"
        arn = aws.service.arn(kind, name)
        body: dict[str, Any] = {**fields, table.name_member: name, table.arn_member: arn}
        # Some were made at one instant, as happens; these must neither be lost nor come twice.
        body["CreationTime"] = MOMENT + number // 2
        if table.status_member:
            body[table.status_member] = "Completed"
        aws.service.store.insert(kind, name, arn, body)
    return {}


@pytest.mark.parametrize("operation", KNOWN_PAGINATORS)
def test_paginators(aws: Aws, operation: str) -> None:
    kinds = {f"List{kind}s": kind for kind in KINDS}
    request = LISTED[operation](aws) if operation in LISTED else store(aws, kinds[operation])
    member = PAGINATORS.get_paginator(operation)["result_key"]
    paginator = aws.sagemaker.get_paginator(xform_name(operation))
    whole = paginator.paginate(**request, PaginationConfig={"PageSize": 50}).build_full_result()
    assert len(whole[member]) == COUNT
    size = max(2, input_shape(operation).members["MaxResults"].metadata.get("min", 1))
    pages = list(paginator.paginate(**request, PaginationConfig={"PageSize": size}))
    assert [len(page[member]) for page in pages] == ([2, 2, 1] if size == 2 else [COUNT])
    assert [item for page in pages for item in page[member]] == whole[member]

    # As `aws --max-items 3 --starting-token …` does.
    first = paginator.paginate(**request, PaginationConfig={"MaxItems": 3}).build_full_result()
    config = {"StartingToken": first["NextToken"]}
    rest = paginator.paginate(**request, PaginationConfig=config).build_full_result()
    assert first[member] + rest[member] == whole[member]
