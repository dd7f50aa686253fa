"""What people do with version 2 of the SageMaker Python SDK; run in an environment that has it."""

import sys

import boto3
import sagemaker
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
from sagemaker.serializers import CSVSerializer
from sagemaker.tuner import HyperparameterTuner, IntegerParameter

image, role = sys.argv[1:]
bucket = "sdk-v2"
boto3.resource("s3").create_bucket(
    Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
)
# Without a bucket it asks the real AWS for the account, whatever AWS_ENDPOINT_URL says.
session = sagemaker.Session(default_bucket=bucket)
session.upload_string_as_file_body("1,2\n3,4\n", bucket, "raw/rows.csv")
place = {"role": role, "instance_count": 1, "instance_type": "ml.m5.large"}

processor = Processor(
    image_uri=image,
    entrypoint=["python", "toy.py", "process", "3"],
    sagemaker_session=session,
    **place,
)
processor.run(
    inputs=[ProcessingInput(f"s3://{bucket}/raw", "/opt/ml/processing/in")],
    outputs=[ProcessingOutput("/opt/ml/processing/out", f"s3://{bucket}/rows", "out")],
)
print("TOLD processed:", session.read_s3_file(bucket, "rows/rows.csv").split())

estimator = Estimator(
    image_uri=image,
    output_path=f"s3://{bucket}/models",
    metric_definitions=[{"Name": "rows", "Regex": "rows=([0-9]+);"}],
    sagemaker_session=session,
    **place,
)
estimator.fit({"train": TrainingInput(f"s3://{bucket}/rows")})
job = session.describe_training_job(estimator.latest_training_job.name)
print("TOLD trained:", job["TrainingJobStatus"], job["FinalMetricDataList"][0]["Value"])

tuner = HyperparameterTuner(
    estimator,
    "rows",
    {"depth": IntegerParameter(1, 9)},
    estimator.metric_definitions,
    strategy="Random",
    max_jobs=3,
    max_parallel_jobs=2,
)
tuner.fit({"train": TrainingInput(f"s3://{bucket}/rows")})
tuned = tuner.analytics().dataframe()
print("TOLD tuned:", sorted(tuned["FinalObjectiveValue"]), tuner.best_training_job()[:3])

model = Model(image, estimator.model_data, role, predictor_cls=Predictor, sagemaker_session=session)
predictor = model.deploy(1, "ml.m5.large")
predictor.serializer, predictor.deserializer = CSVSerializer(), CSVDeserializer()
print("TOLD predicted:", predictor.predict([[1, 2], [3, 4]]))
predictor.delete_endpoint()
print("TOLD endpoints:", boto3.client("sagemaker").list_endpoints()["Endpoints"])

transformer = estimator.transformer(
    1, "ml.m5.large", assemble_with="Line", accept="text/csv", output_path=f"s3://{bucket}/out"
)
transformer.transform(f"s3://{bucket}/rows", content_type="text/csv", split_type="Line")
print("TOLD transformed:", session.read_s3_file(bucket, "out/rows.csv.out").split())
