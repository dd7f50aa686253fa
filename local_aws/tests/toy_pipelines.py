"""Steps and pipelines for tests, and what tests do with them."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from conftest import IMAGE, ROLE, Aws

ENDED = ("Succeeded", "Failed", "Stopped")
# One line each: the API's pattern of a command argument allows no line break.
BASE = "import json, os; base = os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml'); "
WRITE_REPORT = BASE + (
    "file = open(base + '/processing/report/report.json', 'w'); "
    "json.dump({'metrics': {'auc': {'value': 0.8}}}, file)"
)
TRAIN = BASE + (
    "data = open(base + '/input/data/train/report.json').read(); "
    "open(base + '/model/model.txt', 'w').write(data)"
)


def processing(name: str, code: str, outputs: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A Processing step that runs Python code; `outputs` are names and S3 URIs."""
    arguments = {
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python", "-c", code]},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 10,
            }
        },
    }
    if outputs:
        arguments["ProcessingOutputConfig"] = {
            "Outputs": [
                {
                    "OutputName": output,
                    "S3Output": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/{output}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for output, uri in outputs.items()
            ]
        }
    return {"Name": name, "Type": "Processing", "Arguments": arguments, **fields}


def training(name: str, data: Any, output: str) -> Any:
    return {
        "Name": name,
        "Type": "Training",
        "Arguments": {
            "RoleArn": ROLE,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python", "-c", TRAIN],
            },
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}},
                }
            ],
            "OutputDataConfig": {"S3OutputPath": output},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 10,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    }


def fail(name: str, message: Any = "no", **fields: Any) -> Any:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **fields}


def condition(name: str, left: Any, right: Any, yes: list[Any], no: list[Any]) -> Any:
    return {
        "Name": name,
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {"Type": "GreaterThanOrEqualTo", "LeftValue": left, "RightValue": right}
            ],
            "IfSteps": yes,
            "ElseSteps": no,
        },
    }


def definition(*steps: Any, **fields: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Steps": list(steps), **fields})


def create(aws: Aws, name: str, *steps: Any, **fields: Any) -> str:
    created = aws.sagemaker.create_pipeline(
        PipelineName=name, RoleArn=ROLE, PipelineDefinition=definition(*steps, **fields)
    )
    arn: str = created["PipelineArn"]
    return arn


def start(aws: Aws, name: str, **parameters: str) -> str:
    given = [{"Name": key, "Value": value} for key, value in parameters.items()]
    started = aws.sagemaker.start_pipeline_execution(PipelineName=name, PipelineParameters=given)
    arn: str = started["PipelineExecutionArn"]
    return arn


def wait(aws: Aws, execution: str, *statuses: str) -> dict[str, Any]:
    wanted = statuses or ENDED
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = aws.sagemaker.describe_pipeline_execution(
            PipelineExecutionArn=execution
        )
        if found["PipelineExecutionStatus"] in wanted:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def steps_of(aws: Aws, execution: str) -> dict[str, dict[str, Any]]:
    listed = aws.sagemaker.list_pipeline_execution_steps(
        PipelineExecutionArn=execution, SortOrder="Ascending"
    )
    return {step["StepName"]: step for step in listed["PipelineExecutionSteps"]}


def run(aws: Aws, *steps: Any, **fields: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Creates a pipeline, runs it to its end, and returns the execution and its steps."""
    name = f"p-{uuid.uuid4().hex[:8]}"
    create(aws, name, *steps, **fields)
    execution = start(aws, name)
    return wait(aws, execution), steps_of(aws, execution)


def notify(function: str, text: Any, **arguments: Any) -> Any:
    kinds = {"echo": "String", "count": "Integer", "good": "Boolean", "rate": "Float"}
    return {
        "Name": "Notify",
        "Type": "Lambda",
        "FunctionArn": function,
        "Arguments": {"text": text, **arguments},
        "OutputParameters": [
            {"OutputName": name, "OutputType": kind} for name, kind in kinds.items()
        ],
    }


def lifecycle(aws: Aws, function: str) -> list[Any]:
    """Prepare, train, and register if the metric reaches the threshold: the usual pipeline."""
    folder = {
        "Std:Join": {
            "On": "/",
            "Values": [f"s3://{aws.bucket}", {"Get": "Execution.PipelineExecutionId"}, "report"],
        }
    }
    report = {
        "Std:JsonGet": {
            "PropertyFile": {"Get": "Steps.Evaluate_1.PropertyFiles.Report"},
            "Path": "metrics.auc.value",
        }
    }
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "models",
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": IMAGE,
                        "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
                    }
                ],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }
    model = {
        "Name": "Model",
        "Type": "Model",
        "Arguments": {
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {
                "Image": IMAGE,
                "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
            },
        },
    }
    message = {
        "Std:Join": {"On": " ", "Values": ["below", {"Get": "Parameters.Threshold"}]},
    }
    return [
        processing(
            "Evaluate_1",
            WRITE_REPORT,
            {"report": folder},
            PropertyFiles=[
                {"PropertyFileName": "Report", "OutputName": "report", "FilePath": "report.json"}
            ],
        ),
        training(
            "Train",
            {"Get": "Steps.Evaluate_1.ProcessingOutputConfig.Outputs['report'].S3Output.S3Uri"},
            f"s3://{aws.bucket}/models",
        ),
        condition(
            "Gate",
            report,
            {"Get": "Parameters.Threshold"},
            [register, model, notify(function, {"Get": "Steps.Register.ModelPackageArn"})],
            [fail("TooBad", message)],
        ),
        fail("Never", DependsOn=["TooBad"]),
    ]


THRESHOLD = [{"Name": "Threshold", "Type": "Float", "DefaultValue": 0.7}]
