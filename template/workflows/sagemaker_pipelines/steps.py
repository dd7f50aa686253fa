"""The steps of a definition of SageMaker Pipelines, and its expressions.

A definition is the JSON document that CreatePipeline takes; its schema is described at
https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.jobs import Body
from workflows.placeholders import fill

Step = dict[str, Any]

PARAMETER_TYPES = {str: "String", float: "Float"}

# Jobs that fail for a reason of the service are tried again; a job that fails by itself is not.
RETRY = [
    {
        "ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"],
        "IntervalSeconds": 10,
        "BackoffRate": 2.0,
        "MaxAttempts": 5,
    },
    {
        "ExceptionType": [
            "SageMaker.JOB_INTERNAL_ERROR",
            "SageMaker.CAPACITY_ERROR",
            # Other jobs of the account come to their end.
            "SageMaker.RESOURCE_LIMIT",
        ],
        "IntervalSeconds": 60,
        "BackoffRate": 2.0,
        "MaxAttempts": 5,
    },
]


def pipeline(parameters: Mapping[str, str | float], steps: Sequence[Step]) -> Body:
    """A definition, with the expressions of SageMaker Pipelines in place of the placeholders.

    Args:
        parameters: The parameters, with what they are unless they are given.
        steps: The steps.
    """
    filled: Body = fill(
        {
            "Version": "2020-12-01",
            "Metadata": {},
            "Parameters": [
                {"Name": name, "Type": PARAMETER_TYPES[type(default)], "DefaultValue": default}
                for name, default in parameters.items()
            ],
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


def job(name: str, kind: str, body: Body) -> Step:
    """A step that sends a request to SageMaker, and waits where that starts a job."""
    return {"Name": name, "Type": kind, "Arguments": body, "RetryPolicies": RETRY}


def property_file(output: str, file: str) -> Body:
    """What a processing step has besides, for conditions to look into a JSON file of an output."""
    name = output.title()
    return {
        "PropertyFiles": [{"PropertyFileName": name, "OutputName": output, "FilePath": file}],
    }


def value_in(step: str, output: str, path: str) -> Body:
    """A value in the property file of a step's output, by the keys on the way to it."""
    file = {"Get": f"Steps.{step}.PropertyFiles.{output.title()}"}
    return {"Std:JsonGet": {"PropertyFile": file, "Path": path}}


def function(name: str, arn: str, arguments: Body, results: Mapping[str, str]) -> Step:
    """A step that calls a Lambda function; `results` are the types of what it returns."""
    outputs = [{"OutputName": name, "OutputType": kind} for name, kind in results.items()]
    return {
        "Name": name,
        "Type": "Lambda",
        "FunctionArn": arn,
        "Arguments": arguments,
        "OutputParameters": outputs,
    }


def condition(
    name: str, conditions: Sequence[Body], then: Sequence[Step], otherwise: Sequence[Step]
) -> Step:
    """A step that goes on with one of two branches."""
    branches = {"IfSteps": list(then), "ElseSteps": list(otherwise)}
    return {
        "Name": name,
        "Type": "Condition",
        "Arguments": {"Conditions": list(conditions), **branches},
    }


def compare(kind: str, left: str | Body, right: str | float) -> Body:
    """A condition."""
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def fail(name: str, message: str) -> Step:
    """A step that ends the execution as failed."""
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}
