"""The batch pipeline."""

from workflows import batch
from workflows.batch import COLLECT, INPUTS, SELECT, TRANSFORM
from workflows.jobs import Body, Settings
from workflows.sagemaker_pipelines.steps import (
    compare,
    condition,
    function,
    job,
    pipeline,
    property_file,
    value_in,
)


def definition(settings: Settings, inputs_function: str, rejections_function: str) -> Body:
    """Score the records of some days with the version that was approved last.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds the version and the days.
        rejections_function: ARN of the Lambda function that counts what was rejected.
    """
    found = dict.fromkeys(("version", "model", "image", "start", "end"), "String")
    counts = {"predictions": "Integer", "rejected": "Integer"}
    arguments = batch.rejections(settings)
    return pipeline(
        {"Trigger": "manual", "Start": "auto", "End": "auto"},
        steps=[
            function(INPUTS, inputs_function, batch.inputs(settings), found),
            job(SELECT, "Processing", batch.select(settings))
            | property_file("selection", "selection.json"),
            condition(
                "AnyRecords",
                [compare("GreaterThan", value_in(SELECT, "selection", "records"), 0)],
                then=[
                    job(TRANSFORM, "Transform", batch.transform(settings)),
                    job(COLLECT, "Processing", batch.collect(settings))
                    | {"DependsOn": [TRANSFORM]},
                    function("Rejections", rejections_function, arguments, counts)
                    | {"DependsOn": [COLLECT]},
                ],
                otherwise=[function("NoneScored", rejections_function, arguments, counts)],
            ),
        ],
    )
