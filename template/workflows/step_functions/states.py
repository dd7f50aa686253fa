"""What the state machines are made of, in the Amazon States Language with JSONata.

https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html

A state leaves what later ones need in a variable of its own name: `$Prepare.train` is the S3 URI of
an output of the job that state Prepare has run.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import botocore.session

from workflows import jobs
from workflows.jobs import Body, Settings
from workflows.names import REGION, Names
from workflows.placeholders import fill

State = dict[str, Any]
JobKind = Literal["Processing", "Training", "Transform"]

PARTITION = botocore.session.get_session().get_partition_for_region(REGION)
INTEGRATION = f"arn:{PARTITION}:states:::"


def jsonata(expression: str) -> str:
    """An expression, as it stands in a state."""
    return f"{{% {expression} %}}"


# An execution's name is that of its folders in S3; ten digits of its hash make its jobs' names
# its own.
EXECUTION_NAME = "$states.context.Execution.Name"
EXECUTION_HASH = "$hash($states.context.Execution.Id, 'SHA-256')"
# A name may be used once in an account: a state that is tried again, or redriven, takes another.
JOB_NAME = jsonata(
    "$join([$jobs, $states.context.State.Name, $string($states.context.Execution.RedriveCount), "
    "$string($states.context.State.RetryCount)], '-')"
)
# The job stops itself first, and says so; this is for the case that its end is never heard of.
JOB_TIMEOUT_SECONDS = jobs.MAX_RUNTIME_SECONDS + 1800

# What the result of a state has for those after it. That of `.sync` is the description of its job.
OUTPUTS = jsonata("$states.result.ProcessingOutputConfig.Outputs{OutputName: S3Output.S3Uri}")
MODEL = {"model": jsonata("$states.result.ModelArtifacts.S3ModelArtifacts")}
PAYLOAD = jsonata("$states.result.Payload")
DOCUMENT = "$parse($states.result.Body)"


def _retry(errors: Sequence[str], seconds: int) -> Body:
    return {
        "ErrorEquals": list(errors),
        "IntervalSeconds": seconds,
        "BackoffRate": 2,
        "MaxAttempts": 5,
        "JitterStrategy": "FULL",
    }


# Jobs that SageMaker does not take are tried again. A job that fails is not: it would fail again,
# and States.TaskFailed is all that Retry sees of the reason. A service fault and throttling have
# the service's general exception in common.
RETRY_JOB = [
    _retry(["SageMaker.AmazonSageMakerException"], 10),
    _retry(["SageMaker.ResourceLimitExceededException"], 60),
]
RETRY_FUNCTION = [
    _retry(
        [
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
        ],
        2,
    )
]

CATCH = [
    {
        "ErrorEquals": ["States.ALL"],
        "Output": jsonata("$merge([$states.errorOutput, {'State': $states.context.State.Name}])"),
        "Next": "Failed",
    }
]
# The cause of a failed job is its description, that of a failed function an object, both as JSON.
REASON = jsonata(
    "($error := $states.input; "
    "$told := $substring($error.Cause, 0, 1) = '{' ? $parse($error.Cause)"
    " : {'errorMessage': $error.Cause}; "
    "$more := $told.ExitMessage ? $contains($told.FailureReason, $told.ExitMessage)"
    " ? '' : ': ' & $told.ExitMessage; "
    "$why := $told.FailureReason ? $told.FailureReason & $more"
    " : $told.errorMessage ? $told.errorMessage : $error.Error; "
    "$job := [$told.ProcessingJobName, $told.TrainingJobName, $told.TransformJobName][0]; "
    "$error.State & ': ' & $why & ($job ? ' (' & $job & ')'))"
)
FAILED: State = {"Type": "Fail", "Error": "StateFailed", "Cause": REASON}


def machine(
    names: Names, comment: str, parameters: Mapping[str, str | float], states: Body
) -> Body:
    """A state machine.

    Args:
        names: The names of the environment.
        comment: What it does.
        parameters: The keys that its input may have, with what they are otherwise.
        states: The states in the order in which they run, with placeholders.
    """
    first: State = {
        "Type": "Pass",
        "Assign": {name: _given(name, default) for name, default in parameters.items()}
        | {"jobs": jsonata(f"'{names.prefix}-' & $substring({EXECUTION_HASH}, 0, 10)")},
        "Next": next(iter(states)),
    }
    filled: Body = fill(
        {
            "Comment": comment,
            "QueryLanguage": "JSONata",
            "StartAt": "Parameters",
            "States": {"Parameters": first, **states},
        },
        _expression,
        _join,
    )
    return filled


def job(kind: JobKind, body: Body) -> State:
    """A state that runs a job and waits for its end; the result is the job's description."""
    return {
        "Type": "Task",
        "Resource": f"{INTEGRATION}sagemaker:create{kind}Job.sync",
        "Arguments": {f"{kind}JobName": JOB_NAME, **body},
        "TimeoutSeconds": JOB_TIMEOUT_SECONDS,
        "Retry": RETRY_JOB,
    }


def function(arn: str, payload: Body) -> State:
    """A state that calls a Lambda function."""
    return {
        "Type": "Task",
        "Resource": f"{INTEGRATION}lambda:invoke",
        "Arguments": {"FunctionName": arn, "Payload": payload},
        "TimeoutSeconds": 900,
        "Retry": RETRY_FUNCTION,
    }


def read(settings: Settings, folder: str, file: str) -> State:
    """A state that reads a JSON file; the document is `DOCUMENT`.

    Args:
        settings: Where the data bucket is.
        folder: An expression for the S3 URI of the folder that the file is in.
        file: The file's name.
    """
    key = f"$substringAfter({folder}, '{settings.uri('')}') & '/{file}'"
    return request("S3", "getObject", {"Bucket": settings.bucket, "Key": jsonata(key)})


def request(service: str, operation: str, arguments: Body) -> State:
    """A state that sends a request to an AWS service.

    Args:
        service: Its name in the SDK for Java, which errors begin with: `SageMaker`, `S3`.
        operation: The operation, for example `getObject`.
        arguments: The request.
    """
    return {
        "Type": "Task",
        "Resource": f"{INTEGRATION}aws-sdk:{service.lower()}:{operation}",
        "Arguments": arguments,
        "TimeoutSeconds": 300,
        "Retry": [_retry([f"{service}.{service}Exception", f"{service}.SdkClientException"], 10)],
    }


def _given(name: str, default: str | float) -> str:
    """A parameter of the execution; numbers may come as text, as command lines have them."""
    given = f"$states.input.{name}"
    if isinstance(default, str):
        return jsonata(f"$exists({given}) ? {given} : {_text(default)}")
    return jsonata(f"$exists({given}) ? $number({given}) : {default}")


def _expression(placeholder: str) -> str:
    """A placeholder in JSONata."""
    match placeholder.split("."):
        case ["execution"]:
            return jsonata(EXECUTION_NAME)
        case ["parameter", name]:
            return jsonata(f"${name}")
        case ["output" | "result", state, name]:
            return jsonata(f"${state}.{name}")
        case ["model", state]:
            return jsonata(f"${state}.model")
    raise ValueError(f"@{{{placeholder}}} means nothing to Step Functions")


def _join(parts: Sequence[str]) -> str:
    """Put together text and expressions."""
    return jsonata(" & ".join(_term(part) for part in parts))


def _term(part: str) -> str:
    is_expression = part.startswith("{% ") and part.endswith(" %}")
    return part[3:-3] if is_expression else _text(part)


def _text(value: str) -> str:
    """A string of JSONata; single quotes leave the JSON around it readable."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
