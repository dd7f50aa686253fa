"""The training pipeline."""

from workflows import jobs, names
from workflows.jobs import Body, Settings
from workflows.placeholders import parameter
from workflows.sagemaker_pipelines.steps import compare, condition, fail, job, pipeline


def definition(settings: Settings) -> Body:
    """Prepare, train, evaluate and describe; register the model if it is good enough."""
    approval = settings.use_case.approval
    metric = {
        "Std:JsonGet": {
            "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.Evaluation"},
            "Path": f"{names.QUALITY_METRICS}.{approval.metric}.value",
        }
    }
    evaluation = {
        "PropertyFileName": "Evaluation",
        "OutputName": "evaluation",
        "FilePath": "statistics.json",
    }
    if approval.higher_is_better:
        passes, misses = "GreaterThanOrEqualTo", "below"
    else:
        passes, misses = "LessThanOrEqualTo", "above"
    threshold = parameter("Threshold")
    missed = f"{approval.metric} on the test data is {misses} the threshold {threshold}"
    return pipeline(
        parameters=[
            {"Name": "Trigger", "Type": "String", "DefaultValue": "manual"},
            {"Name": "Threshold", "Type": "Float", "DefaultValue": approval.threshold},
        ],
        steps=[
            job("Prepare", "Processing", jobs.prepare(settings)),
            job("Train", "Training", jobs.train(settings)),
            job("Evaluate", "Processing", jobs.evaluate(settings))
            | {"PropertyFiles": [evaluation]},
            job("Baseline", "Processing", jobs.baseline(settings)),
            condition(
                "Gate",
                [compare(passes, metric, threshold)],
                then=[job("Register", "RegisterModel", jobs.register(settings))],
                otherwise=[fail("NotGoodEnough", missed)],
            )
            | {"DependsOn": ["Baseline"]},
        ],
    )
