"""Requests of monitors, the data that they watch, and waiting for what they find."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from conftest import REGION, ROLE, Aws, until
from model_server import Hosted

ANALYZER = f"468650794304.dkr.ecr.{REGION}.amazonaws.com/sagemaker-model-monitor-analyzer"
CLARIFY = f"131013547314.dkr.ecr.{REGION}.amazonaws.com/sagemaker-clarify-processing:1.0"

RUNNING = ("Pending", "InProgress", "Stopping")


def resources() -> dict[str, Any]:
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
    return {"ClusterConfig": cluster}


def monitored_endpoint(hosted: Hosted, name: str = "watched") -> None:
    """Creates an endpoint that captures below s3://<bucket>/capture."""
    hosted.endpoint(
        name,
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{hosted.aws.bucket}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "CsvContentTypes": ["text/csv"],
                "JsonContentTypes": ["application/json"],
            },
        },
    )


def definition_request(bucket: str, kind: str, name: str = "job", **fields: Any) -> dict[str, Any]:
    """A job definition of a kind of monitor, which watches an endpoint and has a baseline."""
    app: dict[str, Any] = {"ImageUri": ANALYZER}
    data: dict[str, Any] = {
        "EndpointInput": {
            "EndpointName": "watched",
            "LocalPath": "/opt/ml/processing/input/endpoint",
        }
    }
    baseline = {"ConstraintsResource": {"S3Uri": f"s3://{bucket}/baseline/constraints.json"}}
    if kind == "DataQuality":
        statistics = f"s3://{bucket}/baseline/statistics.json"
        baseline["StatisticsResource"] = {"S3Uri": statistics}
    else:
        data["GroundTruthS3Input"] = {"S3Uri": f"s3://{bucket}/labels"}
    if kind == "ModelQuality":
        app["ProblemType"] = "Regression"
        data["EndpointInput"]["InferenceAttribute"] = "bytes"
    if kind in ("ModelBias", "ModelExplainability"):
        app = {"ImageUri": CLARIFY, "ConfigUri": f"s3://{bucket}/analysis_config.json"}
    if kind == "ModelExplainability":
        del data["GroundTruthS3Input"]
    target = {
        "S3Uri": f"s3://{bucket}/reports",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    return {
        "JobDefinitionName": name,
        f"{kind}AppSpecification": app,
        f"{kind}JobInput": data,
        f"{kind}JobOutputConfig": {"MonitoringOutputs": [{"S3Output": target}]},
        f"{kind}BaselineConfig": baseline,
        "JobResources": resources(),
        "RoleArn": ROLE,
        **fields,
    }


def define(aws: Aws, kind: str, name: str = "job", **fields: Any) -> dict[str, Any]:
    snake = {"DataQuality": "data_quality", "ModelQuality": "model_quality"}.get(kind)
    call = getattr(aws.sagemaker, f"create_{snake or kind}_job_definition")
    created: dict[str, Any] = call(**definition_request(aws.bucket, kind, name, **fields))
    return created


def schedule_request(
    kind: str, expression: str = "NOW", name: str = "hourly", definition: str = "job"
) -> dict[str, Any]:
    timing = {"ScheduleExpression": expression}
    if expression == "NOW":
        timing |= {"DataAnalysisStartTime": "-PT2H", "DataAnalysisEndTime": "PT1H"}
    return {
        "MonitoringScheduleName": name,
        "MonitoringScheduleConfig": {
            "ScheduleConfig": timing,
            "MonitoringJobDefinitionName": definition,
            "MonitoringType": kind,
        },
    }


def wait_execution(aws: Aws, schedule: str = "hourly", count: int = 1) -> dict[str, Any]:
    """Waits until a schedule's newest execution, the one of this number, has ended."""
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        found[:] = aws.sagemaker.list_monitoring_executions(MonitoringScheduleName=schedule)[
            "MonitoringExecutionSummaries"
        ]
        states = [execution["MonitoringExecutionStatus"] for execution in found]
        return len(found) >= count and not {*states} & {*RUNNING}

    until(ended, 60)
    return found[0]


def put_baseline(aws: Aws, rows: list[tuple[object, ...]], header: str) -> dict[str, Any]:
    """Runs a baselining job as the SageMaker Python SDK does; returns the job."""
    text = "\n".join([header, *(",".join(str(value) for value in row) for row in rows)])
    aws.put("training/data.csv", text + "\n")
    folder = "/opt/ml/processing/input/baseline_dataset_input"
    source = {"S3Uri": f"s3://{aws.bucket}/training/", "LocalPath": folder}
    target = {"LocalPath": "/opt/ml/processing/output", "S3Uri": f"s3://{aws.bucket}/baseline"}
    aws.sagemaker.create_processing_job(
        ProcessingJobName="baseline",
        RoleArn=ROLE,
        AppSpecification={"ImageUri": ANALYZER},
        ProcessingResources=resources(),
        Environment={
            "dataset_format": json.dumps({"csv": {"header": True}}),
            "dataset_source": folder,
            "output_path": "/opt/ml/processing/output",
            "publish_cloudwatch_metrics": "Disabled",
        },
        ProcessingInputs=[
            {
                "InputName": "baseline_dataset_input",
                "S3Input": {**source, "S3DataType": "S3Prefix", "S3InputMode": "File"},
            }
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "monitoring_output",
                    "S3Output": {**target, "S3UploadMode": "EndOfJob"},
                }
            ]
        },
    )
    return aws.wait("Processing", "baseline")


def batch_request(bucket: str) -> dict[str, Any]:
    """A definition that watches what goes into batch transform jobs, as CSV with a header."""
    request = definition_request(bucket, "DataQuality")
    request["DataQualityJobInput"] = {
        "BatchTransformInput": {
            "DataCapturedDestinationS3Uri": f"s3://{bucket}/capture",
            "DatasetFormat": {"Csv": {"Header": True}},
            "LocalPath": "/opt/ml/processing/input/transform",
        }
    }
    return request


def manifest(bucket: str, prefix: str, *names: str) -> tuple[str, str]:
    """Key and text of a manifest that a transform job which starts now would capture."""
    key = f"capture/input/{datetime.now(UTC):%Y/%m/%d/%H}/job.json"
    return key, json.dumps([{"prefix": f"s3://{bucket}/{prefix}/"}, *names])


def listed(aws: Aws, **request: Any) -> list[dict[str, Any]]:
    """The executions that a List request finds."""
    found: list[dict[str, Any]] = aws.sagemaker.list_monitoring_executions(**request)[
        "MonitoringExecutionSummaries"
    ]
    return found
