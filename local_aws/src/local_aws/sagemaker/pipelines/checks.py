"""What CreatePipeline and UpdatePipeline check of one step, by the step's type."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_aws.sagemaker.core.protocol import operation_model
from local_aws.sagemaker.pipelines.cache import check_cache_config
from local_aws.sagemaker.pipelines.expressions import (
    ORDERINGS,
    DefinitionError,
    expression,
    mapping,
    sequence,
)
from local_aws.sagemaker.pipelines.retries import check_retry_policies

STEP_OPERATIONS: Mapping[str, str] = {
    "Processing": "CreateProcessingJob",
    "Training": "CreateTrainingJob",
    "Transform": "CreateTransformJob",
    "Tuning": "CreateHyperParameterTuningJob",
    "RegisterModel": "CreateModelPackage",
    "Model": "CreateModel",
    "EndpointConfig": "CreateEndpointConfig",
    "Endpoint": "CreateEndpoint",
}
"""Step types whose Arguments are the request body of an operation."""

OUTPUT_TYPES = ("String", "Integer", "Float", "Boolean")


def check_step(body: Mapping[str, Any]) -> None:
    """Check what a step holds beside its name and its references.

    Raises:
        DefinitionError: A member is missing, unknown, or of another form.
    """
    CHECKS[body["Type"]](body)
    check_cache_config(body)
    check_retry_policies(body)


def _arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    return mapping(body.get("Arguments") or {}, "Arguments")


def _check_condition(body: Mapping[str, Any]) -> None:
    conditions = sequence(_arguments(body).get("Conditions"), "Arguments.Conditions")
    if not conditions:
        raise DefinitionError("Arguments.Conditions must hold at least one condition.")
    for condition in conditions:
        _check_comparison(condition)


def _check_comparison(condition: object) -> None:
    body = mapping(condition, "a condition")
    kind = body.get("Type")
    if not isinstance(kind, str):
        raise DefinitionError(f"Type of a condition must be a string, not {kind!r:.80}.")
    if kind == "Equals" or kind in ORDERINGS:
        missing = [member for member in ("LeftValue", "RightValue") if member not in body]
        if missing:
            raise DefinitionError(f"A condition of type {kind} needs {', '.join(missing)}.")
    elif kind == "In":
        if "QueryValue" not in body:
            raise DefinitionError("A condition of type In needs QueryValue.")
        sequence(body.get("Values"), "Values of an In condition")
    elif kind == "Not":
        _check_comparison(body.get("Expression"))
    elif kind == "Or":
        for item in sequence(body.get("Conditions"), "Conditions of an Or condition"):
            _check_comparison(item)
    else:
        raise DefinitionError(f"Unknown condition type {kind!r}.")


def _check_lambda(body: Mapping[str, Any]) -> None:
    function = body.get("FunctionArn")
    if not (isinstance(function, str) and function) and expression(function) is None:
        raise DefinitionError("A Lambda step needs FunctionArn.")
    for name, value in _arguments(body).items():
        check_lambda_argument(name, value)
    _check_outputs(body)


def check_lambda_argument(name: str, value: object) -> None:
    """Check an argument of a Lambda step, or the value that its expression has.

    The types are those that "Lambda step" of the developer guide names.

    Raises:
        DefinitionError: It is not a string, integer or float.
    """
    if expression(value) is None and (
        isinstance(value, bool) or not isinstance(value, str | int | float)
    ):
        raise DefinitionError(
            f"Argument '{name}' of a Lambda step must be a string, an integer or a float, not "
            f"{value!r:.80}."
        )


def _check_callback(body: Mapping[str, Any]) -> None:
    queue = body.get("SqsQueueUrl")
    if not (isinstance(queue, str) and queue) and expression(queue) is None:
        raise DefinitionError("A Callback step needs SqsQueueUrl.")
    _arguments(body)
    _check_outputs(body)


def _check_outputs(body: Mapping[str, Any]) -> None:
    for entry in sequence(body.get("OutputParameters") or [], "OutputParameters"):
        output = mapping(entry, "an entry of OutputParameters")
        if not isinstance(output.get("OutputName"), str):
            raise DefinitionError("An entry of OutputParameters needs OutputName.")
        if output.get("OutputType") not in OUTPUT_TYPES:
            raise DefinitionError(
                f"Output '{output['OutputName']}': OutputType must be one of "
                f"{', '.join(OUTPUT_TYPES)}, not {output.get('OutputType')!r}."
            )


def _check_fail(body: Mapping[str, Any]) -> None:
    message = _arguments(body).get("ErrorMessage")
    if not isinstance(message, str) and expression(message) is None:
        raise DefinitionError("A Fail step needs Arguments.ErrorMessage.")


def _check_request(body: Mapping[str, Any]) -> None:
    """Arguments must have only members of the operation's request, at any depth.

    Required members and values are left to the operation itself, which gets them when every
    expression has its value.
    """
    operation, arguments = STEP_OPERATIONS[body["Type"]], _arguments(body)
    if not arguments:
        raise DefinitionError(f"Arguments must hold the request body of {operation}.")
    if "ModelPackageName" in arguments and body["Type"] == "RegisterModel":
        # The service numbers the versions of a group itself, and refuses the member.
        raise DefinitionError("Unknown Argument member 'ModelPackageName'.")
    shape = operation_model(operation).input_shape
    if shape is not None:
        _check_members(arguments, shape, "Arguments")
    for entry in sequence(body.get("PropertyFiles") or [], "PropertyFiles"):
        declared = mapping(entry, "an entry of PropertyFiles")
        for member in ("PropertyFileName", "OutputName", "FilePath"):
            if not isinstance(declared.get(member), str):
                raise DefinitionError(f"An entry of PropertyFiles needs {member}.")


def _check_members(value: object, shape: Shape, where: str) -> None:
    if expression(value) is not None:
        return
    if isinstance(shape, StructureShape):
        for key, item in mapping(value, where).items():
            if key not in shape.members:
                raise DefinitionError(f"Unknown Argument member '{key}' in {where}.")
            _check_members(item, shape.members[key], f"{where}.{key}")
    elif isinstance(shape, ListShape):
        for item in sequence(value, where):
            _check_members(item, shape.member, where)
    elif isinstance(shape, MapShape):
        for key, item in mapping(value, where).items():
            _check_members(item, shape.value, f"{where}.{key}")


CHECKS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    **dict.fromkeys(STEP_OPERATIONS, _check_request),
    "Condition": _check_condition,
    "Lambda": _check_lambda,
    "Callback": _check_callback,
    "Fail": _check_fail,
}
"""The step types that run here, each with its check."""
