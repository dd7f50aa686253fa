"""The workflows as definitions of SageMaker Pipelines.

A definition is the JSON document that CreatePipeline takes; its schema is described at
https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workflows import jobs, names
from workflows.jobs import Body, Settings
from workflows.monitors import MONITORS, Monitor
from workflows.placeholders import EXECUTION, fill, output, parameter, result

Step = dict[str, Any]

# Jobs that fail for a reason of the service are tried again; a job that fails by itself is not.
RETRY = [
    {
        "ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"],
        "IntervalSeconds": 10,
        "BackoffRate": 2.0,
        "MaxAttempts": 5,
    },
    {
        "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR"],
        "IntervalSeconds": 60,
        "BackoffRate": 2.0,
        "MaxAttempts": 5,
    },
]


def training_definition(settings: Settings) -> Body:
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
    return _definition(
        parameters=[
            {"Name": "Trigger", "Type": "String", "DefaultValue": "manual"},
            {"Name": "Threshold", "Type": "Float", "DefaultValue": approval.threshold},
        ],
        steps=[
            _job("Prepare", "Processing", jobs.prepare(settings)),
            _job("Train", "Training", jobs.train(settings)),
            _job("Evaluate", "Processing", jobs.evaluate(settings))
            | {"PropertyFiles": [evaluation]},
            _job("Baseline", "Processing", jobs.baseline(settings)),
            _condition(
                "Gate",
                [_compare(passes, metric, threshold)],
                then=[_job("Register", "RegisterModel", jobs.register(settings))],
                otherwise=[_fail("NotGoodEnough", missed)],
            )
            | {"DependsOn": ["Baseline"]},
        ],
    )


def monitoring_definition(
    settings: Settings, inputs_function: str, violations_function: str
) -> Body:
    """Run every monitor on the predictions of a window of time.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds what a monitor has to look at.
        violations_function: ARN of the Lambda function that counts what it has found.
    """
    return _definition(
        # SageMaker refuses an empty string as a parameter.
        parameters=[
            {"Name": "WindowStart", "Type": "String", "DefaultValue": "auto"},
            {"Name": "WindowEnd", "Type": "String", "DefaultValue": "auto"},
        ],
        steps=[
            step
            for monitor in MONITORS
            for step in _monitor_steps(settings, monitor, inputs_function, violations_function)
        ],
    )


def _monitor_steps(
    settings: Settings, monitor: Monitor, inputs_function: str, violations_function: str
) -> list[Step]:
    """Find what there is to look at; if there is anything, look at it and count violations."""
    window = getattr(settings.use_case.monitors, monitor.name)
    looks_at = {"baseline": "String", "start": "String", "end": "String"}
    for name in monitor.inputs:
        looks_at |= {name: "String", f"{name}_count": "Integer"}
    find = _function(
        monitor.inputs_step,
        inputs_function,
        {
            "monitor": monitor.name,
            "baseline": monitor.baseline,
            "labels": monitor.labels,
            "execution": EXECUTION,
            "start": parameter("WindowStart"),
            "end": parameter("WindowEnd"),
            "window_hours": window.window_hours,
        },
        looks_at,
    )
    count = _function(
        f"{monitor.step}Violations",
        violations_function,
        {"monitor": monitor.name, "report": output(monitor.step, "report")},
        {"violations": "Integer"},
    )
    due = _condition(
        f"{monitor.step}Due",
        [
            _compare("GreaterThan", result(monitor.inputs_step, f"{name}_count"), 0)
            for name in monitor.inputs
        ],
        then=[_job(monitor.step, "Processing", jobs.monitor(settings, monitor)), count],
        otherwise=[],
    )
    return [find, due]


def _definition(parameters: Sequence[Body], steps: Sequence[Step]) -> Body:
    """A definition in which SageMaker Pipelines' own expressions stand for the placeholders."""
    filled: Body = fill(
        {
            "Version": "2020-12-01",
            "Metadata": {},
            "Parameters": list(parameters),
            "Steps": list(steps),
        },
        _expression,
        lambda parts: {"Std:Join": {"On": "", "Values": list(parts)}},
    )
    return filled


def _expression(placeholder: str) -> Body:
    """A placeholder in the language of SageMaker Pipelines."""
    kind, *where = placeholder.split(".")
    match kind, *where:
        case ["execution"]:
            return {"Get": "Execution.PipelineExecutionId"}
        case ["parameter", name]:
            return {"Get": f"Parameters.{name}"}
        case ["output", step, name]:
            path = f"ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri"
            return {"Get": f"Steps.{step}.{path}"}
        case ["model", step]:
            return {"Get": f"Steps.{step}.ModelArtifacts.S3ModelArtifacts"}
        case ["result", step, name]:
            return {"Get": f"Steps.{step}.OutputParameters['{name}']"}
    raise ValueError(f"@{{{placeholder}}} means nothing to SageMaker Pipelines")


def _job(name: str, kind: str, body: Body) -> Step:
    return {"Name": name, "Type": kind, "Arguments": body, "RetryPolicies": RETRY}


def _function(name: str, arn: str, arguments: Body, results: Mapping[str, str]) -> Step:
    outputs = [{"OutputName": name, "OutputType": kind} for name, kind in results.items()]
    return {
        "Name": name,
        "Type": "Lambda",
        "FunctionArn": arn,
        "Arguments": arguments,
        "OutputParameters": outputs,
    }


def _condition(
    name: str, conditions: Sequence[Body], then: Sequence[Step], otherwise: Sequence[Step]
) -> Step:
    branches = {"IfSteps": list(then), "ElseSteps": list(otherwise)}
    return {
        "Name": name,
        "Type": "Condition",
        "Arguments": {"Conditions": list(conditions), **branches},
    }


def _compare(kind: str, left: str | Body, right: str | float) -> Body:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def _fail(name: str, message: str) -> Step:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}
