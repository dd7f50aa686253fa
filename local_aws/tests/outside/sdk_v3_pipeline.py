"""A pipeline as one writes it with SageMaker's SDK, version 3; run by test_sdk_pipelines.py.

Arguments: image, queue URL, bucket. Prints the ARNs of the executions as JSON, in its last line.
"""

import json
import sys
from pathlib import Path

import boto3
from botocore.exceptions import WaiterError
from sagemaker.core.parameter import CategoricalParameter
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import (
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
)
from sagemaker.core.transformer import Transformer
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.callback_step import (
    CallbackOutput,
    CallbackOutputTypeEnum,
    CallbackStep,
)
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.parallelism_config import ParallelismConfiguration
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.selective_execution_config import SelectiveExecutionConfig
from sagemaker.mlops.workflow.steps import (
    CacheConfig,
    ProcessingStep,
    TrainingStep,
    TransformStep,
    TuningStep,
)
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig
from sagemaker.train.tuner import HyperparameterTuner

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
        inputs=[
            ProcessingInput(
                input_name="points",
                s3_input=ProcessingS3Input(
                    s3_uri=source,
                    local_path="/opt/ml/processing/input",
                    s3_data_type="S3Prefix",
                    s3_input_mode="File",
                ),
            )
        ],
        outputs=[
            ProcessingOutput(
                output_name=name,
                s3_output=ProcessingS3Output(
                    s3_uri=Join(on="/", values=[folder, name]),
                    local_path=f"/opt/ml/processing/{name}",
                    s3_upload_mode="EndOfJob",
                ),
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

points = prepare.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri
channels = [InputData(channel_name="train", data_source=points, content_type="text/csv")]
trainer = ModelTrainer(
    training_image=image,
    compute=Compute(**ON_ONE),
    role=ROLE,
    sagemaker_session=session,
    hyperparameters={"scale": scale},
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/models"),
    input_data_config=channels,
)
train = TrainingStep(name="Train", step_args=trainer.train())

tuner = HyperparameterTuner(
    trainer,
    objective_metric_name="factor",
    hyperparameter_ranges={"scale": CategoricalParameter(["2", "4", "1"])},
    metric_definitions=FACTOR,
    strategy="Grid",
    max_parallel_jobs=3,
)
tune = TuningStep(name="Tune", step_args=tuner.tune(inputs=channels), cache_config=cache)

builder = ModelBuilder(
    s3_model_data_url=train.properties.ModelArtifacts.S3ModelArtifacts,
    image_uri=image,
    sagemaker_session=session,
    role_arn=ROLE,
)
made = ModelStep(name="Make", step_args=builder.build())
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
    step_args=builder.register(
        content_types=["text/csv"],
        response_types=["text/csv"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
        model_package_group_name="sdk-v3",
        approval_status="PendingManualApproval",
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
    name="sdk-v3",
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
