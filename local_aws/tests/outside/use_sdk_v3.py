"""What people do with version 3 of the SageMaker Python SDK; run in an environment that has it."""

import json
import sys

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import Processor
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import (
    ContainerDefinition,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    ProductionVariant,
)
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig

image = sys.argv[1]
# ModelTrainer has IAM simulate what its role may do.
iam = boto3.client("iam")
trusted = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}}
trust = {"Version": "2012-10-17", "Statement": [{**trusted, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="sdk", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
policy = {"Version": "2012-10-17", "Statement": [everything]}
iam.put_role_policy(RoleName="sdk", PolicyName="all", PolicyDocument=json.dumps(policy))

bucket = "sdk-v3"
s3 = boto3.resource("s3").create_bucket(
    Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
)
s3.put_object(Key="raw/rows.csv", Body=b"1,2\n3,4\n")
# Without a bucket it asks the real AWS for the account, whatever AWS_ENDPOINT_URL says.
session = Session(default_bucket=bucket)

processor = Processor(
    image_uri=image,
    entrypoint=["python", "toy.py", "process", "3"],
    role=role,
    instance_count=1,
    instance_type="ml.m5.large",
    sagemaker_session=session,
)
place = {"s3_data_type": "S3Prefix", "s3_input_mode": "File"}
processor.run(
    inputs=[
        ProcessingInput(
            input_name="in",
            s3_input=ProcessingS3Input(
                s3_uri=f"s3://{bucket}/raw", local_path="/opt/ml/processing/in", **place
            ),
        )
    ],
    outputs=[
        ProcessingOutput(
            output_name="out",
            s3_output=ProcessingS3Output(
                s3_uri=f"s3://{bucket}/rows",
                local_path="/opt/ml/processing/out",
                s3_upload_mode="EndOfJob",
            ),
        )
    ],
)
rows = s3.Object("rows/rows.csv").get()["Body"].read().decode()
print("TOLD processed:", rows.split())

trainer = ModelTrainer(
    training_image=image,
    role=role,
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/models"),
    sagemaker_session=session,
    base_job_name="toy",
)
trainer.train([InputData(channel_name="train", data_source=f"s3://{bucket}/rows")])
job = trainer._latest_training_job
job.refresh()
print("TOLD trained:", job.training_job_status)

container = ContainerDefinition(image=image, model_data_url=job.model_artifacts.s3_model_artifacts)
Model.create("toy", primary_container=container, execution_role_arn=role)
variant = ProductionVariant(
    variant_name="v", model_name="toy", initial_instance_count=1, instance_type="ml.m5.large"
)
EndpointConfig.create(endpoint_config_name="toy", production_variants=[variant])
endpoint = Endpoint.create(endpoint_name="toy", endpoint_config_name="toy")
endpoint.wait_for_status("InService", poll=1)
answer = endpoint.invoke(body=b"1,2", content_type="text/csv", accept="text/csv")
print("TOLD predicted:", answer.body.read())
endpoint.delete()
endpoint.wait_for_delete(poll=1)
print("TOLD endpoints:", boto3.client("sagemaker").list_endpoints()["Endpoints"])
