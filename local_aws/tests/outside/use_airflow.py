"""What a DAG does with Airflow's operators for SageMaker; run in an environment that has them."""

import json
import sys
import uuid
from typing import Any

import boto3
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerDeleteModelOperator,
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerStartPipelineOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.providers.amazon.aws.utils.sagemaker import ApprovalStatus

image, role = sys.argv[1:]
bucket = "airflow"
s3 = boto3.resource("s3").create_bucket(
    Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
)
s3.put_object(Key="raw/rows.csv", Body=b"1,2\n3,4\n")
s3.put_object(Key="other/name.csv", Body=b"1,2\n")
sagemaker = boto3.client("sagemaker")
cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
at_once: dict[str, Any] = {"deferrable": False, "wait_for_completion": True, "check_interval": 1}


def s3_source(prefix: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{prefix}"}}


def run(operator: Any, name: str, config: dict[str, Any], **more: Any) -> Any:
    """Execute an operator as a worker does, without a scheduler."""
    return operator(task_id=name, config=config, **more).execute({})


processing = {
    "ProcessingJobName": "process",
    "RoleArn": role,
    "AppSpecification": {
        "ImageUri": image,
        "ContainerEntrypoint": ["python", "toy.py", "process", "3"],
    },
    "ProcessingInputs": [
        {
            "InputName": "in",
            "S3Input": {
                "S3Uri": f"s3://{bucket}/raw",
                "LocalPath": "/opt/ml/processing/in",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "out",
                "S3Output": {
                    "S3Uri": f"s3://{bucket}/rows",
                    "LocalPath": "/opt/ml/processing/out",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    },
    "ProcessingResources": {"ClusterConfig": cluster},
    "StoppingCondition": {"MaxRuntimeInSeconds": 600},
}
run(SageMakerProcessingOperator, "process", processing, **at_once)
# The name is taken: the operator finds out and adds the time.
run(SageMakerProcessingOperator, "process", processing, **at_once)
jobs = sagemaker.list_processing_jobs()["ProcessingJobSummaries"]
print("TOLD processed:", [job["ProcessingJobStatus"] for job in jobs])

training = {
    "TrainingJobName": "train",
    "RoleArn": role,
    "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
    "InputDataConfig": [{"ChannelName": "train", "DataSource": s3_source("rows/")}],
    "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
    "ResourceConfig": cluster,
    "StoppingCondition": {"MaxRuntimeInSeconds": 600},
}
trained = run(SageMakerTrainingOperator, "train", training, print_log=True, **at_once)
artifact = trained["Training"]["ModelArtifacts"]["S3ModelArtifacts"]
print("TOLD trained:", trained["Training"]["TrainingJobStatus"])
try:
    broken: dict[str, Any] = {**training, "TrainingJobName": "broken"}
    broken["InputDataConfig"] = [{"ChannelName": "train", "DataSource": s3_source("other/")}]
    run(SageMakerTrainingOperator, "broken", broken, print_log=False, **at_once)
except Exception as error:
    told = "FileNotFoundError" in str(error) and "exit code: 1" in str(error)
    print("TOLD failed:", told or error)

definition = {
    key: value
    for key, value in training.items()
    if key not in ("TrainingJobName", "AlgorithmSpecification")
}
algorithm = {"TrainingImage": image, "TrainingInputMode": "File"}
metric = {"Name": "rows", "Regex": "rows=([0-9]+);"}
depth = {"Name": "depth", "MinValue": "1", "MaxValue": "9"}
tuning = {
    "HyperParameterTuningJobName": "tune",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "rows"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"IntegerParameterRanges": [depth]},
    },
    "TrainingJobDefinition": {
        **definition,
        "AlgorithmSpecification": {**algorithm, "MetricDefinitions": [metric]},
    },
}
tuned = run(SageMakerTuningOperator, "tune", tuning, **at_once)["Tuning"]
print("TOLD tuned:", tuned["HyperParameterTuningJobStatus"])

model = {
    "ModelName": "model",
    "ExecutionRoleArn": role,
    "PrimaryContainer": {"Image": image, "ModelDataUrl": artifact},
}
transform = {
    "TransformJobName": "transform",
    "ModelName": "model",
    "TransformInput": {
        "DataSource": s3_source("rows/"),
        "ContentType": "text/csv",
        "SplitType": "Line",
    },
    "TransformOutput": {
        "S3OutputPath": f"s3://{bucket}/out",
        "Accept": "text/csv",
        "AssembleWith": "Line",
    },
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}
run(
    SageMakerTransformOperator,
    "transform",
    {"Model": model, "Transform": transform},
    **at_once,
)
print("TOLD transformed:", s3.Object("out/rows.csv.out").get()["Body"].read().decode().split())

run(SageMakerModelOperator, "model", {**model, "ModelName": "served"})
variant = {"VariantName": "v", "ModelName": "served", "InitialInstanceCount": 1}
config = {
    "EndpointConfigName": "served",
    "ProductionVariants": [{**variant, "InstanceType": "ml.m5.large"}],
}
run(SageMakerEndpointConfigOperator, "config", config)
endpoint = {"EndpointName": "served", "EndpointConfigName": "served"}
run(SageMakerEndpointOperator, "endpoint", endpoint, operation="create", **at_once)
# What is there already becomes an update.
again = {**config, "EndpointConfigName": "again"}
run(SageMakerEndpointConfigOperator, "again", again)
endpoint["EndpointConfigName"] = "again"
run(SageMakerEndpointOperator, "update", endpoint, operation="create", **at_once)
runtime = boto3.client("sagemaker-runtime")
answer = runtime.invoke_endpoint(EndpointName="served", ContentType="text/csv", Body=b"1,2")
described = sagemaker.describe_endpoint(EndpointName="served")
print("TOLD served:", described["EndpointConfigName"], answer["Body"].read())
run(SageMakerDeleteModelOperator, "forget", {"ModelName": "served"})

registered = SageMakerRegisterModelVersionOperator(
    task_id="register",
    image_uri=image,
    model_url=artifact,
    package_group_name="group",
    model_approval=ApprovalStatus.APPROVED,
).execute({})
print("TOLD registered:", registered.rpartition(":")[2])

step: dict[str, Any] = {"Name": "Nothing", "Type": "Condition"}
conditions = [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}]
step["Arguments"] = {"Conditions": conditions, "IfSteps": [], "ElseSteps": []}
definition = {"Version": "2020-12-01", "Parameters": [], "Steps": [step]}
sagemaker.create_pipeline(
    PipelineName="pipeline",
    PipelineDefinition=json.dumps(definition),
    RoleArn=role,
    ClientRequestToken=uuid.uuid4().hex,
)
arn = SageMakerStartPipelineOperator(
    task_id="pipeline", pipeline_name="pipeline", **at_once
).execute({})
execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
print("TOLD executed:", execution["PipelineExecutionStatus"])
