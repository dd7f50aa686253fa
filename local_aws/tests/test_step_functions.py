"""Step Functions with SageMaker: jobs that states wait for, the SDK's operations, S3 objects."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from conftest import REGION, training_request
from host_process import ACCOUNT, ROLE, HostProcess
from state_machines import (
    CREATE_PROCESSING_JOB,
    SLOW,
    create,
    end,
    history,
    job,
    machine,
    output,
    run,
    start,
    task,
    wait_for_job,
    wait_until_up,
)
from transform_requests import TRANSFORM_IMAGE

SYNC = f"{CREATE_PROCESSING_JOB}.sync"
SDK = "arn:aws:states:::aws-sdk:sagemaker"
# The process isolates jobs by SAGEMAKER_BASE_DIR.
ML = "import os\nfrom pathlib import Path\nml = Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
MESSAGE = f"{ML}(ml / 'output/message').write_text('well done')\n"


# Jobs


def test_a_state_waits_for_its_job(host: HostProcess, name: str) -> None:
    request = job(
        host, "{% $states.context.Execution.Name %}", MESSAGE, Tags=[{"Key": "a", "Value": "b"}]
    )
    execution = start(host, name, machine({"Run": task(SYNC, request)}))
    described = end(host, execution)
    assert described["status"] == "SUCCEEDED", described.get("cause")
    result = described["output"]
    assert result["ProcessingJobStatus"] == "Completed"
    assert result["ProcessingJobName"] == name
    assert result["ExitMessage"] == "well done"
    # As in the event "SageMaker Processing Job State Change".
    assert isinstance(result["CreationTime"], int)
    assert abs(result["CreationTime"] / 1000 - time.time()) < 60
    assert result["Tags"] == {
        "a": "b",
        "MANAGED_BY_AWS": "STARTED_BY_STEP_FUNCTIONS",
        "AWS_STEP_FUNCTIONS_EXECUTION_ARN": execution,
    }


def test_without_sync_a_state_ends_when_its_job_has_begun(host: HostProcess, name: str) -> None:
    states = {"Run": task(CREATE_PROCESSING_JOB, job(host, name, SLOW))}
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job/{name}"
    assert output(host, name, machine(states)) == {"ProcessingJobArn": arn}
    sagemaker = host.client("sagemaker")
    described = sagemaker.describe_processing_job(ProcessingJobName=name)
    assert described["ProcessingJobStatus"] == "InProgress"
    sagemaker.stop_processing_job(ProcessingJobName=name)


def test_the_reason_of_a_failed_job_is_in_the_cause(host: HostProcess, name: str) -> None:
    code = (
        f"import sys\n{ML}(ml / 'output/message').write_text('no rows')\nsys.exit('empty file')\n"
    )
    states = {
        "Run": task(
            SYNC,
            job(host, name, code),
            Catch=[
                {
                    "ErrorEquals": ["States.TaskFailed"],
                    "Assign": {"job": "{% $parse($states.errorOutput.Cause) %}"},
                    "Output": "{% $states.errorOutput.Error %}",
                    "Next": "Stop",
                }
            ],
        ),
        "Stop": {
            "Type": "Fail",
            "Error": "{% $states.input %}",
            "Cause": "{% $job.ExitMessage & ': ' & $job.FailureReason %}",
        },
    }
    described = run(host, name, machine(states))
    assert described["status"] == "FAILED"
    assert described["error"] == "States.TaskFailed"
    assert described["cause"] == "no rows: AlgorithmError: empty file, exit code: 1"
    assert "output" not in described


def test_a_retry_runs_a_job_of_another_name(host: HostProcess, name: str) -> None:
    numbered = "{% $states.context.Execution.Name & '-' & $states.context.State.RetryCount %}"
    request = job(host, numbered, "import os, sys\nsys.exit(os.environ['FAILS'] or 0)\n")
    request["Environment"] = {"FAILS": "{% $states.context.State.RetryCount = 0 ? 'yes' : '' %}"}
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    result = output(host, name, machine({"Run": task(SYNC, request, Retry=retry)}))
    assert result["ProcessingJobName"] == f"{name}-1"
    assert wait_for_job(host, f"{name}-0", "Failed")["FailureReason"].startswith("Algorithm")


def test_a_job_that_somebody_stops_fails_its_state(host: HostProcess, name: str) -> None:
    execution = start(host, name, machine({"Run": task(SYNC, job(host, name, SLOW))}))
    wait_until_up(host, name)
    host.client("sagemaker").stop_processing_job(ProcessingJobName=name)
    described = end(host, execution)
    assert (described["status"], described["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(described["cause"])["ProcessingJobStatus"] == "Stopped"


def test_a_training_job_tells_its_artifact(host: HostProcess, name: str) -> None:
    code = f"{ML}(ml / 'model/m').write_text('1')\n"
    host.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    request = training_request(host.data_dir, name, code, f"s3://{name}/models")
    states = {
        "Train": task(
            "arn:aws:states:::sagemaker:createTrainingJob.sync",
            request,
            Output="{% $states.result.ModelArtifacts.S3ModelArtifacts %}",
        )
    }
    found = output(host, name, machine(states))
    assert found == f"s3://{name}/models/{name}/output/model.tar.gz"


def test_a_tuning_job_tells_its_best_training_job(host: HostProcess, name: str) -> None:
    code = (
        "import json, pathlib\n"
        f"{ML}given = json.loads((ml / 'input/config/hyperparameters.json').read_text())\n"
        "print('score=' + given['x'], flush=True)\n"
    )
    host.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    metrics = [{"Name": "score", "Regex": "score=(.*)"}]
    algorithm = {"MetricDefinitions": metrics}
    training = training_request(
        host.data_dir, name, code, f"s3://{name}/models", AlgorithmSpecification=algorithm
    )
    # Tuning has no entry point of its own: the image's program runs.
    entry = training["AlgorithmSpecification"].pop("ContainerEntrypoint")[1]
    (host.data_dir / "program.py").write_text((host.data_dir / entry).read_text())
    definition = {key: value for key, value in training.items() if key != "TrainingJobName"}
    request = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "x", "Values": ["1", "2"]}]
            },
        },
        "TrainingJobDefinition": definition,
    }
    sync = "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync"
    found = output(host, name, machine({"Tune": task(sync, request)}))
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    assert found["BestTrainingJob"]["TunedHyperParameters"] == {"x": "2"}
    assert isinstance(found["CreationTime"], int)


def test_a_model_is_made_and_transforms(host: HostProcess, name: str) -> None:
    s3 = host.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="model/weights", Body=b"x")
    s3.put_object(Bucket=name, Key="in/a.csv", Body=b"1,2\n3,4\n")
    weights = {"S3Uri": f"s3://{name}/model/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    model = {
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": TRANSFORM_IMAGE,
            "ModelDataSource": {"S3DataSource": weights},
        },
    }
    lines = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/in/"}}
    transform = {
        "TransformJobName": name,
        "ModelName": name,
        "BatchStrategy": "MultiRecord",
        "TransformInput": {"DataSource": lines, "ContentType": "text/csv", "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": f"s3://{name}/out", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    states = {
        "Model": task("arn:aws:states:::sagemaker:createModel", model, Next="Transform"),
        "Transform": task("arn:aws:states:::sagemaker:createTransformJob.sync", transform),
    }
    result = output(host, name, machine(states))
    assert result["TransformJobStatus"] == "Completed"
    assert isinstance(result["TransformEndTime"], int)
    assert s3.get_object(Bucket=name, Key="out/a.csv.out")["Body"].read() == b"3.0\n7.0\n"


def test_errors_of_the_api_are_named_as_in_the_sdk_for_java_1(host: HostProcess, name: str) -> None:
    request = job(host, name, "pass")
    twice = {"First": task(SYNC, request, Next="Again"), "Again": task(SYNC, request)}
    described = run(host, name, machine(twice))
    assert described["error"] == "SageMaker.ResourceInUseException"
    assert "Error Code: ResourceInUse;" in described["cause"]

    wrong = job(host, f"{name}_x", "pass")  # no underscore in names
    described = run(host, f"{name}-wrong", machine({"Run": task(SYNC, wrong)}))
    assert described["error"] == "SageMaker.AmazonSageMakerException"
    assert "Error Code: ValidationException;" in described["cause"]
    assert "processingJobName" in described["cause"]


def test_a_member_that_sagemaker_does_not_know_ends_the_execution(
    host: HostProcess, name: str
) -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    request = job(host, name, "pass", Nmae="x")
    states = {"Run": task(SYNC, request, Catch=catch), "Caught": {"Type": "Succeed"}}
    described = run(host, name, machine(states))
    assert (described["status"], described["error"]) == ("FAILED", "States.Runtime")
    assert 'The field "Nmae" is not supported by Step Functions' in described["cause"]


@pytest.mark.parametrize(
    "action",
    [
        "sagemaker:createModelPackage",  # of the SDK only
        "sagemaker:createModel.sync",
        "sagemaker:createProcessingJob.waitForTaskToken",
        "aws-sdk:sagemaker:makeCoffee",
    ],
)
def test_a_resource_that_is_not_there_is_refused_by_name(
    host: HostProcess, name: str, action: str
) -> None:
    refused = host.client("stepfunctions").exceptions.InvalidDefinition
    with pytest.raises(refused, match=rf"{action} is not recognized.* at /States/Run/Resource"):
        create(host, name, machine({"Run": task(f"arn:aws:states:::{action}", {})}))


# What ends jobs


def test_stopping_an_execution_stops_its_job(host: HostProcess, name: str) -> None:
    execution = start(host, name, machine({"Run": task(SYNC, job(host, name, SLOW))}))
    wait_until_up(host, name)
    states = host.client("stepfunctions")
    states.stop_execution(executionArn=execution, error="Mine", cause="had enough")
    described = end(host, execution)
    assert described["status"] == "ABORTED"
    assert (described["error"], described["cause"]) == ("Mine", "had enough")
    wait_for_job(host, name, "Stopped")
    assert end(host, execution)["status"] == "ABORTED"


def test_a_job_beyond_the_limit_of_its_state_is_stopped(host: HostProcess, name: str) -> None:
    states = {
        "Run": task(
            SYNC,
            job(host, name, SLOW),
            TimeoutSeconds="{% $states.input.limit %}",
            Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "Late"}],
        ),
        "Late": {"Type": "Succeed"},
    }
    execution = start(host, name, machine(states), {"limit": 1})
    described = end(host, execution)
    assert described["output"]["Error"] == "States.Timeout"
    wait_for_job(host, name, "Stopped")
    assert "TaskTimedOut" in [event["type"] for event in history(host, execution)]


def test_a_job_beyond_the_limit_of_its_execution_is_stopped(host: HostProcess, name: str) -> None:
    states = machine({"Run": task(SYNC, job(host, name, SLOW))}, TimeoutSeconds=1)
    execution = start(host, name, states)
    described = end(host, execution)
    assert described["status"] == "TIMED_OUT"
    wait_for_job(host, name, "Stopped")
    assert end(host, execution)["status"] == "TIMED_OUT"
    assert history(host, execution)[-1]["type"] == "ExecutionTimedOut"


def test_a_failing_branch_stops_the_job_of_another(host: HostProcess, name: str) -> None:
    slow = machine({"Slow": task(SYNC, job(host, name, SLOW))})
    wait = {"Type": "Wait", "Seconds": 1, "Next": "Give up"}
    fail = machine({"Wait": wait, "Give up": {"Type": "Fail", "Error": "Mine", "Cause": "no"}})
    del slow["QueryLanguage"], fail["QueryLanguage"]
    states = {
        "Both": {
            "Type": "Parallel",
            "Branches": [slow, fail],
            "Catch": [{"ErrorEquals": ["Mine"], "Next": "Caught"}],
            "End": True,
        },
        "Caught": {"Type": "Succeed"},
    }
    assert output(host, name, machine(states)) == {"Error": "Mine", "Cause": "no"}
    wait_for_job(host, name, "Stopped")


# The SDK's operations


def test_operations_of_the_sdk(host: HostProcess, name: str) -> None:
    group = {"ModelPackageGroupName": name, "ModelPackageGroupDescription": "of a test"}
    states = {
        "Create": task(f"{SDK}:createModelPackageGroup", group, Next="Describe"),
        "Describe": task(
            f"{SDK}:describeModelPackageGroup", {"ModelPackageGroupName": name}, Next="List"
        ),
        "List": task(
            f"{SDK}:listModelPackageGroups",
            {"NameContains": name, "CreationTimeAfter": "2020-01-01T00:00:00Z"},
            Output={"described": "{% $states.input %}", "listed": "{% $states.result %}"},
        ),
    }
    found = output(host, name, machine(states))
    described: dict[str, Any] = found["described"]
    assert described["ModelPackageGroupDescription"] == "of a test"
    assert described["CreationTime"].endswith("Z")
    assert described["CreationTime"][10] == "T"
    summaries = found["listed"]["ModelPackageGroupSummaryList"]
    assert [summary["ModelPackageGroupName"] for summary in summaries] == [name]


def test_errors_of_the_sdk_are_named_as_in_the_sdk_for_java_2(host: HostProcess, name: str) -> None:
    states = {"Ask": task(f"{SDK}:describeEndpoint", {"EndpointName": name})}
    described = run(host, name, machine(states))
    assert described["error"] == "SageMaker.SageMakerException"
    assert described["cause"].startswith("Could not find endpoint")
    assert "(Service: SageMaker, Status Code: 400, Request ID: " in described["cause"]
    states = {"Ask": task(f"{SDK}:describePipeline", {"PipelineName": name})}
    described = run(host, f"{name}-2", machine(states))
    assert described["error"] == "SageMaker.ResourceNotFoundException"


# S3


def test_states_write_and_read_objects(host: HostProcess, name: str) -> None:
    host.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    where = {"Bucket": name, "Key": "evaluation.json"}
    s3 = "arn:aws:states:::aws-sdk:s3"
    states = {
        "Write": task(f"{s3}:putObject", {**where, "Body": {"auc": 0.75}}, Next="Read"),
        "Read": task(
            f"{s3}:getObject",
            where,
            Assign={"report": "{% $parse($states.result.Body) %}"},
            Output="{% $states.result.ContentLength %}",
            Next="Compare",
        ),
        "Compare": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $report.auc >= 0.7 %}", "Next": "Good"}],
            "Default": "Bad",
        },
        "Good": {"Type": "Succeed", "Output": "{% $report %}"},
        "Bad": {"Type": "Fail"},
    }
    assert output(host, name, machine(states)) == {"auc": 0.75}
    body = host.client("s3").get_object(**where)["Body"].read()
    assert json.loads(body) == {"auc": 0.75}


def test_an_object_that_is_not_there_or_too_large(host: HostProcess, name: str) -> None:
    s3 = host.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    states = {"Read": task("arn:aws:states:::aws-sdk:s3:getObject", {"Bucket": name, "Key": "k"})}
    described = run(host, name, machine(states))
    assert described["error"] == "S3.NoSuchKeyException"
    assert "does not exist" in described["cause"]
    s3.put_object(Bucket=name, Key="k", Body=b"x" * 262_144)
    described = run(host, f"{name}-large", machine(states))
    assert described["error"] == "States.DataLimitExceeded"


# A role is only stored


def test_the_role_is_kept(host: HostProcess, name: str) -> None:
    arn = start(host, name, machine({"Done": {"Type": "Succeed"}}))
    machine_arn = end(host, arn)["stateMachineArn"]
    states = host.client("stepfunctions")
    assert states.describe_state_machine(stateMachineArn=machine_arn)["roleArn"] == ROLE
