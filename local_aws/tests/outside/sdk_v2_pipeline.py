"""A pipeline as one writes it with SageMaker's SDK, version 2; run by test_sdk_pipelines.py.

Arguments: image, queue URL, bucket. Prints the ARNs of the executions as JSON, in its last line.
"""

import json
import sys
from pathlib import Path

import boto3
from botocore.exceptions import WaiterError
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.parameter import CategoricalParameter
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.transformer import Transformer
from sagemaker.tuner import HyperparameterTuner
from sagemaker.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parallelism_config import ParallelismConfiguration
from sagemaker.workflow.parameters import ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.workflow.selective_execution_config import SelectiveExecutionConfig
from sagemaker.workflow.steps import (
    CacheConfig,
    ProcessingStep,
    TrainingStep,
    TransformStep,
    TuningStep,
)

image, queue, bucket = sys.argv[1:]
ROLE = "arn:aws:iam::000000000000:role/sdk"
FACTOR = [{"Name": "factor", "Regex": "factor=([0-9.]+)"}]
ON_ONE = {"instance_count": 1, "instance_type": "ml.m5.large"}

session = PipelineSession(default_bucket=bucket)
source = ParameterString(name="Source", default_value=f"s3://{bucket}/points/")
least = ParameterInteger(name="LeastRows", default_value=2)
scale = ParameterString(name="Scale", default_value="2")
cache = CacheConfig(enable_caching=True, expire_after="PT1H")
folder = Join(on="/", values=[f"s3://{bucket}", ExecutionVariables.PIPELINE_EXECUTION_ID])

report = PropertyFile(name="Report", output_name="report", path="report.json")
processor = ScriptProcessor(
    image_uri=image, command=["python3"], role=ROLE, sagemaker_session=session, **ON_ONE
)
prepare = ProcessingStep(
    name="Prepare",
    step_args=processor.run(
        inputs=[ProcessingInput(source=source, destination="/opt/ml/processing/input")],
        outputs=[
            ProcessingOutput(
                output_name=name,
                source=f"/opt/ml/processing/{name}",
                destination=Join(on="/", values=[folder, name]),
            )
            for name in ("train", "report")
        ],
        code=str(Path(__file__).with_name("sdk_prepare.py")),
    ),
    property_files=[report],
    cache_config=cache,
    retry_policies=[
        StepRetryPolicy(exception_types=[StepExceptionTypeEnum.THROTTLING], max_attempts=2),
        SageMakerJobStepRetryPolicy(
            failure_reason_types=[SageMakerJobExceptionTypeEnum.INTERNAL_ERROR],
            interval_seconds=1,
            expire_after_mins=5,
        ),
    ],
)

estimator = Estimator(
    image_uri=image,
    role=ROLE,
    sagemaker_session=session,
    output_path=f"s3://{bucket}/models",
    hyperparameters={"scale": scale},
    **ON_ONE,
)
points = prepare.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri
train = TrainingStep(
    name="Train", step_args=estimator.fit({"train": TrainingInput(points, content_type="text/csv")})
)

tuner = HyperparameterTuner(
    estimator,
    objective_metric_name="factor",
    hyperparameter_ranges={"scale": CategoricalParameter(["2", "4", "1"])},
    metric_definitions=FACTOR,
    strategy="Grid",
    max_jobs=None,
    max_parallel_jobs=3,
)
tune = TuningStep(
    name="Tune", step_args=tuner.fit({"train": TrainingInput(points)}), cache_config=cache
)

model = Model(
    image_uri=image,
    model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
    role=ROLE,
    sagemaker_session=session,
)
made = ModelStep(name="Make", step_args=model.create(instance_type="ml.m5.large"))
transformer = Transformer(
    model_name=made.properties.ModelName,
    output_path=Join(on="/", values=[folder, "predictions"]),
    accept="text/csv",
    assemble_with="Line",
    strategy="MultiRecord",
    sagemaker_session=session,
    **ON_ONE,
)
predict = TransformStep(
    name="Predict",
    step_args=transformer.transform(data=source, content_type="text/csv", split_type="Line"),
)

ask = CallbackStep(
    name="Ask",
    sqs_queue_url=queue,
    inputs={
        "predictions": predict.properties.TransformOutput.S3OutputPath,
        "best": tune.get_top_model_s3_uri(top_k=0, s3_bucket=bucket, prefix="models"),
    },
    outputs=[CallbackOutput(output_name="score", output_type=CallbackOutputTypeEnum.Float)],
)
register = ModelStep(
    name="Register",
    step_args=model.register(
        content_types=["text/csv"],
        response_types=["text/csv"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
        model_package_group_name="sdk-v2",
        approval_status="PendingManualApproval",
        customer_metadata_properties={"scale": scale},
    ),
)
rows = JsonGet(step_name=prepare.name, property_file=report, json_path="counts.rows")
refuse = FailStep(
    name="Refuse", error_message=Join(on=" ", values=["fewer than", least, "rows:", rows])
)
gate = ConditionStep(
    name="Gate",
    conditions=[
        ConditionGreaterThanOrEqualTo(left=rows, right=least),
        ConditionGreaterThanOrEqualTo(left=ask.properties.Outputs["score"], right=0.5),
    ],
    if_steps=[register],
    else_steps=[refuse],
)
pipeline = Pipeline(
    name="sdk-v2",
    parameters=[source, least, scale],
    steps=[prepare, train, tune, made, predict, ask, gate],
    sagemaker_session=session,
)


def answer() -> None:
    """Answer the next message of the callback's queue."""
    sqs = boto3.client("sqs")
    for _ in range(60):
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            asked = json.loads(message["Body"])
            assert asked["arguments"]["predictions"].endswith("/predictions"), asked
            best = asked["arguments"]["best"].removeprefix(f"s3://{bucket}/")
            boto3.client("s3").head_object(Bucket=bucket, Key=best)
            boto3.client("sagemaker").send_pipeline_execution_step_success(
                CallbackToken=asked["token"], OutputParameters=[{"Name": "score", "Value": "0.9"}]
            )
            return
    sys.exit("no callback came")


config = ParallelismConfiguration(max_parallel_execution_steps=4)
pipeline.upsert(role_arn=ROLE, parallelism_config=config)
pipeline.upsert(role_arn=ROLE, tags=[{"Key": "made-by", "Value": "sdk"}])

good = pipeline.start(execution_display_name="good")
answer()
good.wait(delay=1, max_attempts=120)

bad = pipeline.start(parameters={"LeastRows": 100})
answer()
try:
    bad.wait(delay=1, max_attempts=120)
except WaiterError as error:
    print(error)

part = pipeline.start(
    parameters={"Scale": "3"},
    selective_execution_config=SelectiveExecutionConfig(
        source_pipeline_execution_arn=good.arn, selected_steps=["Train"]
    ),
)
part.wait(delay=1, max_attempts=120)
print(json.dumps({"good": good.arn, "bad": bad.arn, "part": part.arn}))
