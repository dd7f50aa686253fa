"""What a pipeline step does when its turn comes, by its type."""

from __future__ import annotations

import json
import secrets
import string
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.protocol import ApiError, input_shape
from local_aws.sagemaker.core.roles import Session
from local_aws.sagemaker.core.texts import text
from local_aws.sagemaker.pipelines import cache
from local_aws.sagemaker.pipelines.checks import check_lambda_argument
from local_aws.sagemaker.pipelines.definition import Step, typed
from local_aws.sagemaker.pipelines.expressions import (
    DefinitionError,
    EvaluationError,
    Evaluator,
)
from local_aws.sagemaker.pipelines.retries import failure_of_call, failure_of_job

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_POLL_SECONDS = 0.02
_SUFFIX_LENGTH = 10
_LAMBDA_SECONDS = 600
"""A Lambda step ends after ten minutes, as in "Lambda step" of the developer guide."""


class StepFailed(Exception):  # noqa: N818 - a state of the step, not an error of this program
    """The step ended in failure; the text is its FailureReason.

    Attributes:
        exception_type: What it is to a retry policy, if to any.
    """

    def __init__(self, reason: str, exception_type: str | None = None) -> None:
        super().__init__(reason)
        self.exception_type = exception_type


class StepStopped(Exception):  # noqa: N818 - a state of the step, not an error of this program
    """The step ended because its execution was stopped."""


class Report(Protocol):
    """Stores what is known of a step that has not ended."""

    def __call__(self, metadata: dict[str, Any], status: str = "Executing") -> None:
        """Store its Metadata and its status, Executing or Stopping."""


@dataclass(frozen=True)
class Turn:
    """One step of one execution, about to run.

    Attributes:
        service: The service.
        step: The step.
        execution: The execution's ARN.
        role: ARN of the pipeline's role.
        evaluator: Gives the step's expressions their values.
        stopping: Tells whether the execution is to stop.
        report: Stores the step's Metadata while it runs, and marks it Executing or Stopping.
    """

    service: Service
    step: Step
    execution: str
    role: str
    evaluator: Evaluator
    stopping: Callable[[], bool]
    report: Report

    @property
    def arguments(self) -> dict[str, Any]:
        """The step's Arguments with their values; evaluated at each use."""
        value: dict[str, Any] = self.evaluator.value(self.step.arguments)
        return value

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Call an operation with the pipeline's role.

        Raises:
            ApiError: What SageMaker answers with an error.
        """
        return self.service.call(operation, request, Session(self.role))

    def generated_name(self, given: object, length: int) -> str:
        """Return a name for the resource that the step makes, at most `length` characters.

        `given` is the name in the Arguments, if any: the SDK puts a prefix there with
        `use_custom_job_prefix`. Otherwise the prefix is the execution and the step.
        """
        execution_id = self.execution.rpartition("/")[2]
        prefix = str(given) if given else f"pipelines-{execution_id}-{self.step.name}"
        suffix = "".join(
            secrets.choice(string.ascii_letters + string.digits) for _ in range(_SUFFIX_LENGTH)
        )
        # Step names may hold underscores, names of resources may not.
        prefix = prefix.replace("_", "-")[: length - _SUFFIX_LENGTH - 1].rstrip("-")
        return f"{prefix}-{suffix}"


class Result(NamedTuple):
    """What a step that succeeded left.

    Attributes:
        metadata: Its Metadata.
        cached_from: ARN of the execution whose run of the step was taken instead of a new one.
    """

    metadata: dict[str, Any]
    cached_from: str | None = None


def run(turn: Turn) -> Result:
    """Run a step to its end, or find its former run.

    Raises:
        StepFailed: With the reason.
        StepStopped: The execution is being stopped, and so was the step.
    """
    try:
        if not cache.caches(turn.step.body):
            return Result(RUNNERS[turn.step.type](turn))
        pipeline = turn.execution.partition("/execution/")[0]
        entry = cache.Entry(turn.service.store, pipeline, turn.step.body, turn.arguments)
        former = entry.find()
        if former and _is_there(turn, former["Metadata"]):
            return Result(former["Metadata"], former["PipelineExecutionArn"])
        metadata = RUNNERS[turn.step.type](turn)
        entry.keep(turn.execution, metadata)
        return Result(metadata)
    except ApiError as error:
        raise StepFailed(f"ClientError: {error.message}", failure_of_call(error)) from error
    except EvaluationError as error:
        raise StepFailed(f"ClientError: {error}") from error


def properties(service: Service, step: Step, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the properties of a finished step that expressions can read.

    They are the Describe response of what the step made, so they are found again from the
    Metadata alone; a Lambda or Callback step has OutputParameters. A Tuning step has its training
    jobs too, best first, as the SDK's `get_top_model_s3_uri` expects.
    """
    if step.type in ("Lambda", "Callback"):
        types = step.output_types()
        outputs = metadata[step.type].get("OutputParameters") or []
        return {
            "OutputParameters": {o["Name"]: typed(types[o["Name"]], o["Value"]) for o in outputs}
        }
    if step.type == "Condition":
        return dict(metadata["Condition"])
    kind, member = _MADE[step.type]
    arn: str = metadata[member]["Arn"]
    name = arn if kind == "ModelPackage" else arn.rpartition("/")[2]
    described = service.call(f"Describe{kind}", {f"{kind}Name": name})
    if step.type != "Tuning":
        return described
    config = described["HyperParameterTuningJobConfig"]
    objective = config.get("HyperParameterTuningJobObjective")
    if objective is None:  # then each of several definitions has its own
        objective = described["TrainingJobDefinitions"][0]["TuningObjective"]
    listed = service.call(
        "ListTrainingJobsForHyperParameterTuningJob",
        {
            f"{kind}Name": name,
            "SortBy": "FinalObjectiveMetricValue",
            "SortOrder": "Ascending" if objective["Type"] == "Minimize" else "Descending",
            "MaxResults": 100,
        },
    )
    return {**listed, **described}


_MADE = {
    "Processing": ("ProcessingJob", "ProcessingJob"),
    "Training": ("TrainingJob", "TrainingJob"),
    "Transform": ("TransformJob", "TransformJob"),
    "Tuning": ("HyperParameterTuningJob", "TuningJob"),
    "Model": ("Model", "Model"),
    "RegisterModel": ("ModelPackage", "RegisterModel"),
    "EndpointConfig": ("EndpointConfig", "EndpointConfig"),
    "Endpoint": ("Endpoint", "Endpoint"),
}
"""What a type of step makes, and the member of its Metadata that says which."""


def _is_there(turn: Turn, metadata: Mapping[str, Any]) -> bool:
    """Whether what a former run of a step made was not deleted since."""
    kind, member = _MADE[turn.step.type]
    return turn.service.store.get(kind, metadata[member]["Arn"]) is not None


def _named(turn: Turn, kind: str) -> tuple[str, dict[str, Any]]:
    """Return the generated name of what a step makes, and its request."""
    member, arguments = f"{kind}Name", turn.arguments
    longest = input_shape(f"Create{kind}").members[member].metadata["max"]
    name = turn.generated_name(arguments.get(member), longest)
    return name, {**arguments, member: name}


def _job(turn: Turn) -> dict[str, Any]:
    kind, member = _MADE[turn.step.type]
    name, request = _named(turn, kind)
    created = turn.call(f"Create{kind}", request)
    metadata = {member: {"Arn": created[f"{kind}Arn"]}}
    turn.report(metadata)
    # How it waits for the job's end; the rest of it needs no request here.
    turn.call(f"Describe{kind}", {f"{kind}Name": name})
    stop_asked = False
    while (job := turn.service.store.get(kind, name)) is not None:
        status = job[f"{kind}Status"]
        if status == "Completed":
            return metadata
        if status in ("Failed", "Stopped"):
            break
        if turn.stopping() and not stop_asked:
            stop_asked = True
            turn.report(metadata, "Stopping")
            with suppress(ApiError):  # the job ended by itself in this moment
                turn.call(f"Stop{kind}", {f"{kind}Name": name})
        time.sleep(_POLL_SECONDS)
    if stop_asked and job is not None and job[f"{kind}Status"] == "Stopped":
        raise StepStopped
    reason = (job or {}).get("FailureReason") or f"{kind} {name} was stopped."
    raise StepFailed(f"ClientError: {reason}", failure_of_job(turn.step.type, reason))


def _register(turn: Turn) -> dict[str, Any]:
    arguments = turn.arguments
    group = arguments.get("ModelPackageGroupName")
    if isinstance(group, str) and turn.service.store.get("ModelPackageGroup", group) is None:
        # Pipelines makes the group of a RegisterModel step when it is not there.
        turn.call("CreateModelPackageGroup", {"ModelPackageGroupName": group})
    created = turn.call("CreateModelPackage", arguments)
    return {"RegisterModel": {"Arn": created["ModelPackageArn"]}}


def _model(turn: Turn) -> dict[str, Any]:
    _name, request = _named(turn, "Model")
    return {"Model": {"Arn": turn.call("CreateModel", request)["ModelArn"]}}


def _endpoint_config(turn: Turn) -> dict[str, Any]:
    # An endpoint step finds it by the name in the Arguments, which is therefore kept.
    arguments = turn.arguments
    if "EndpointConfigName" not in arguments:
        _name, arguments = _named(turn, "EndpointConfig")
    created = turn.call("CreateEndpointConfig", arguments)
    return {"EndpointConfig": {"Arn": created["EndpointConfigArn"]}}


def _endpoint(turn: Turn) -> dict[str, Any]:
    """Make the endpoint, or update the one of that name."""
    service, arguments = turn.service, turn.arguments
    name, config = arguments.get("EndpointName"), arguments.get("EndpointConfigName")
    there = isinstance(name, str) and service.store.get("Endpoint", name) is not None
    if there:
        members = {key: value for key, value in arguments.items() if key != "Tags"}
        arn = service.call("UpdateEndpoint", members)["EndpointArn"]
    else:
        arn = service.call("CreateEndpoint", arguments)["EndpointArn"]
    metadata = {"Endpoint": {"Arn": arn}}
    turn.report(metadata)
    while (endpoint := service.store.get("Endpoint", arn)) is not None:
        status = endpoint["EndpointStatus"]
        if status == "InService" and endpoint["EndpointConfigName"] == config:
            return metadata
        if status not in ("Creating", "Updating", "SystemUpdating", "RollingBack"):
            break
        if turn.stopping():
            raise StepStopped
        time.sleep(_POLL_SECONDS)
    state = endpoint or {}
    reason = state.get("FailureReason") or f"the endpoint is {state.get('EndpointStatus', 'gone')}"
    raise StepFailed(f"ClientError: {reason}")


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
    arguments = turn.arguments
    try:
        for name, value in arguments.items():
            check_lambda_argument(name, value)
    except DefinitionError as error:
        raise StepFailed(f"ClientError: {error}") from error
    settings = turn.service.settings
    credentials = turn.service.roles.credentials(Session(turn.role))
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
        response = client.invoke(FunctionName=function, Payload=json.dumps(arguments))
        payload = json.loads(response["Payload"].read() or b"null")
    except (ClientError, BotoCoreError, ValueError) as error:
        raise StepFailed(f"ClientError: Lambda function {function}: {error}") from error
    finally:
        client.close()
    if response.get("FunctionError"):
        told = payload if isinstance(payload, dict) else {}
        kind, message = told.get("errorType", "Error"), told.get("errorMessage", payload)
        raise StepFailed(f"ClientError: Lambda function {function} failed: {kind}: {message}")
    outputs = output_parameters(turn.step, payload, "The Lambda function")
    return {"Lambda": {"Arn": function, "OutputParameters": outputs}}


def output_parameters(step: Step, given: object, giver: str) -> list[dict[str, str]]:
    """Return the declared outputs of a Lambda or Callback step, in the text form of its Metadata.

    Raises:
        StepFailed: One is missing from `given`, or of another type; the reason names the `giver`.
    """
    return [_output(output, given, giver) for output in step.body.get("OutputParameters") or []]


def _output(output: Mapping[str, str], payload: object, giver: str) -> dict[str, str]:
    name, kind = output["OutputName"], output["OutputType"]
    if not isinstance(payload, dict) or payload.get(name) is None:
        raise StepFailed(f"ClientError: {giver} returned no output parameter '{name}'.")
    # A number is a String output too: the service keeps all of them as text.
    raw = text(payload[name]) if kind == "String" else payload[name]
    value = typed(kind, raw)
    if value is None:
        raise StepFailed(
            f"ClientError: output parameter '{name}' must be of type {kind}, not "
            f"{payload[name]!r:.80}."
        )
    return {"Name": name, "Value": text(value)}


RUNNERS: dict[str, Callable[[Turn], dict[str, Any]]] = {
    "Processing": _job,
    "Training": _job,
    "Transform": _job,
    "Tuning": _job,
    "RegisterModel": _register,
    "Model": _model,
    "EndpointConfig": _endpoint_config,
    "Endpoint": _endpoint,
    "Condition": _condition,
    "Lambda": _lambda,
    "Fail": _fail,
}
"""What runs a step, by its type; returns its Metadata."""
