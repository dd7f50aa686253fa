"""What a pipeline step does when its turn comes, by its type."""

from __future__ import annotations

import json
import secrets
import string
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.pipeline_definition import Step, typed
from local_aws.sagemaker.pipeline_expressions import EvaluationError, Evaluator, text
from local_aws.sagemaker.protocol import ApiError

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

_POLL_SECONDS = 0.02
_JOB_NAME_LENGTH = 63
_SUFFIX_LENGTH = 10
_LAMBDA_SECONDS = 600
"""A Lambda step ends after ten minutes, as in "Lambda step" of the developer guide."""


class StepFailed(Exception):  # noqa: N818 - a state of the step, not an error of this program
    """The step ended in failure; the text is its FailureReason."""


class StepStopped(Exception):  # noqa: N818 - a state of the step, not an error of this program
    """The step ended because its execution was stopped."""


@dataclass(frozen=True)
class Turn:
    """One step of one execution, about to run.

    Attributes:
        service: the service.
        step: the step.
        execution_id: the last part of the execution's ARN.
        evaluator: gives the step's expressions their values.
        stopping: tells whether the execution is to stop.
        report: stores the step's Metadata while it runs, and marks it Executing.
    """

    service: Service
    step: Step
    execution_id: str
    evaluator: Evaluator
    stopping: Callable[[], bool]
    report: Callable[[dict[str, Any]], None]

    @property
    def arguments(self) -> dict[str, Any]:
        """The step's Arguments with their values; evaluated at each use."""
        value: dict[str, Any] = self.evaluator.value(self.step.arguments)
        return value

    def generated_name(self, given: object) -> str:
        """A name for the resource that the step makes, at most 63 characters.

        `given` is the name in the Arguments, if any: the SDK puts a prefix there with
        `use_custom_job_prefix`. Otherwise the prefix is the execution and the step.
        """
        prefix = str(given) if given else f"pipelines-{self.execution_id}-{self.step.name}"
        suffix = "".join(
            secrets.choice(string.ascii_letters + string.digits) for _ in range(_SUFFIX_LENGTH)
        )
        # Step names may hold underscores, names of resources may not.
        prefix = prefix.replace("_", "-")[: _JOB_NAME_LENGTH - _SUFFIX_LENGTH - 1].rstrip("-")
        return f"{prefix}-{suffix}"


def run(turn: Turn) -> dict[str, Any]:
    """Runs a step to its end and returns its Metadata.

    Raises:
        StepFailed: with the reason.
        StepStopped: the execution is being stopped, and so was the step.
    """
    try:
        return _RUNNERS[turn.step.type](turn)
    except ApiError as error:
        raise StepFailed(f"ClientError: {error.message}") from error
    except EvaluationError as error:
        raise StepFailed(f"ClientError: {error}") from error


def properties(service: Service, step: Step, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of a finished step that expressions can read.

    They are the Describe response of what the step made, so they are found again from the
    Metadata alone; a Lambda step has OutputParameters.
    """
    if step.type == "Lambda":
        types = {o["OutputName"]: o["OutputType"] for o in step.body.get("OutputParameters") or []}
        outputs = metadata["Lambda"].get("OutputParameters") or []
        return {
            "OutputParameters": {o["Name"]: typed(types[o["Name"]], o["Value"]) for o in outputs}
        }
    if step.type == "Condition":
        return dict(metadata["Condition"])
    kind, name_member = _DESCRIBED[step.type]
    arn: str = metadata[kind if kind != "ModelPackage" else "RegisterModel"]["Arn"]
    name = arn if kind == "ModelPackage" else arn.rpartition("/")[2]
    return service.call(f"Describe{kind}", {name_member: name})


_DESCRIBED = {
    "Processing": ("ProcessingJob", "ProcessingJobName"),
    "Training": ("TrainingJob", "TrainingJobName"),
    "Transform": ("TransformJob", "TransformJobName"),
    "Model": ("Model", "ModelName"),
    "RegisterModel": ("ModelPackage", "ModelPackageName"),
}


def _job(turn: Turn) -> dict[str, Any]:
    kind, name_member = _DESCRIBED[turn.step.type]
    arguments = turn.arguments
    name = turn.generated_name(arguments.get(name_member))
    created = turn.service.call(f"Create{kind}", {**arguments, name_member: name})
    metadata = {kind: {"Arn": created[f"{kind}Arn"]}}
    turn.report(metadata)
    stop_asked = False
    while (job := turn.service.store.get(kind, name)) is not None:
        status = job[f"{kind}Status"]
        if status == "Completed":
            return metadata
        if status in ("Failed", "Stopped"):
            break
        if turn.stopping() and not stop_asked:
            stop_asked = True
            with suppress(ApiError):  # the job ended by itself in this moment
                turn.service.call(f"Stop{kind}", {name_member: name})
        time.sleep(_POLL_SECONDS)
    if stop_asked and job is not None and job[f"{kind}Status"] == "Stopped":
        raise StepStopped
    reason = (job or {}).get("FailureReason") or f"{kind} {name} was stopped."
    raise StepFailed(f"ClientError: {reason}")


def _register(turn: Turn) -> dict[str, Any]:
    arguments = turn.arguments
    group = arguments.get("ModelPackageGroupName")
    if isinstance(group, str) and turn.service.store.get("ModelPackageGroup", group) is None:
        # Pipelines makes the group of a RegisterModel step when it is not there.
        turn.service.call("CreateModelPackageGroup", {"ModelPackageGroupName": group})
    created = turn.service.call("CreateModelPackage", arguments)
    return {"RegisterModel": {"Arn": created["ModelPackageArn"]}}


def _model(turn: Turn) -> dict[str, Any]:
    arguments = turn.arguments
    name = turn.generated_name(arguments.get("ModelName"))
    created = turn.service.call("CreateModel", {**arguments, "ModelName": name})
    return {"Model": {"Arn": created["ModelArn"]}}


def _condition(turn: Turn) -> dict[str, Any]:
    holds = all(map(turn.evaluator.condition, turn.step.arguments["Conditions"]))
    return {"Condition": {"Outcome": str(holds)}}


def _fail(turn: Turn) -> dict[str, Any]:
    message = text(turn.arguments["ErrorMessage"])
    turn.report({"Fail": {"ErrorMessage": message}})
    raise StepFailed(message)


def _lambda(turn: Turn) -> dict[str, Any]:
    function = text(turn.evaluator.value(turn.step.body["FunctionArn"]))
    turn.report({"Lambda": {"Arn": function}})
    settings = turn.service.settings
    credentials = settings.credentials()
    # Not the service's client: its time limit is shorter, and it would run the function again.
    client = boto3.session.Session().client(
        "lambda",
        region_name=settings.region,
        endpoint_url=settings.endpoint_of("lambda"),
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
        config=Config(read_timeout=_LAMBDA_SECONDS, retries={"total_max_attempts": 1}),
    )
    try:
        response = client.invoke(FunctionName=function, Payload=json.dumps(turn.arguments))
        payload = json.loads(response["Payload"].read() or b"null")
    except (ClientError, BotoCoreError, ValueError) as error:
        raise StepFailed(f"ClientError: Lambda function {function}: {error}") from error
    finally:
        client.close()
    if response.get("FunctionError"):
        told = payload if isinstance(payload, dict) else {}
        kind, message = told.get("errorType", "Error"), told.get("errorMessage", payload)
        raise StepFailed(f"ClientError: Lambda function {function} failed: {kind}: {message}")
    outputs = [_lambda_output(output, payload) for output in _declared_outputs(turn.step)]
    return {"Lambda": {"Arn": function, "OutputParameters": outputs}}


def _declared_outputs(step: Step) -> list[dict[str, str]]:
    outputs: list[dict[str, str]] = step.body.get("OutputParameters") or []
    return outputs


def _lambda_output(output: Mapping[str, str], payload: object) -> dict[str, str]:
    """One declared output, in the text form of the step's Metadata."""
    name, kind = output["OutputName"], output["OutputType"]
    if not isinstance(payload, dict) or payload.get(name) is None:
        raise StepFailed(f"ClientError: the Lambda function returned no output parameter '{name}'.")
    # A number is a String output too: the service keeps all of them as text.
    raw = text(payload[name]) if kind == "String" else payload[name]
    value = typed(kind, raw)
    if value is None:
        raise StepFailed(
            f"ClientError: output parameter '{name}' must be of type {kind}, not "
            f"{payload[name]!r:.80}."
        )
    return {"Name": name, "Value": text(value)}


_RUNNERS: Mapping[str, Callable[[Turn], dict[str, Any]]] = {
    "Processing": _job,
    "Training": _job,
    "Transform": _job,
    "RegisterModel": _register,
    "Model": _model,
    "Condition": _condition,
    "Lambda": _lambda,
    "Fail": _fail,
}
