"""Callback steps: a message to a queue, and the wait for whoever answers it.

Sources: "Callback step" of the developer guide
(https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html) and the
documentation of StopPipelineExecution. The message's members are those that the handlers in AWS's
examples read.
"""

from __future__ import annotations

import json
import secrets
import string
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.texts import text
from local_aws.sagemaker.pipelines.steps import (
    RUNNERS,
    StepFailed,
    StepStopped,
    Turn,
    output_parameters,
)

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service
    from local_aws.sagemaker.core.store import Store

CALLBACK = "PipelineCallback"
"""Kind of the store's rows: one for each token that was sent, with its answer."""

_TOKEN_LENGTH = 10
_POLL_SECONDS = 0.05


def forget(store: Store, execution: str) -> None:
    """Make the tokens of an execution worthless: nothing waits for them any more."""
    for row in store.list(CALLBACK, PipelineExecutionArn=execution):
        store.delete(CALLBACK, row["CallbackToken"])


def _callback(turn: Turn) -> dict[str, Any]:
    queue = text(turn.evaluator.value(turn.step.body["SqsQueueUrl"]))
    alphabet = string.ascii_letters + string.digits
    token = "".join(secrets.choice(alphabet) for _ in range(_TOKEN_LENGTH))
    row = {"CallbackToken": token, "PipelineExecutionArn": turn.execution}
    turn.service.store.insert(CALLBACK, token, token, row)
    metadata = {"Callback": {"CallbackToken": token, "SqsQueueUrl": queue}}
    turn.report(metadata)
    message = {
        "token": token,
        "pipelineExecutionArn": turn.execution,
        "arguments": turn.arguments,
        "status": "Executing",
    }
    _send(turn, queue, message)
    told = False
    while (answer := _answer(turn.service.store, token)) is None:
        if turn.stopping() and not told:
            # The guide writes Status, the handlers in AWS's examples read status.
            _send(turn, queue, {**message, "status": "Stopping", "Status": "Stopping"})
            turn.report(metadata, "Stopping")
            told = True
        time.sleep(_POLL_SECONDS)
    if told:
        raise StepStopped
    if "FailureReason" in answer:
        raise StepFailed(answer["FailureReason"])
    given = {output["Name"]: output["Value"] for output in answer["OutputParameters"]}
    outputs = output_parameters(turn.step, given, "The answer to the callback")
    return {"Callback": {**metadata["Callback"], "OutputParameters": outputs}}


RUNNERS["Callback"] = _callback


def _answer(store: Store, token: str) -> dict[str, Any] | None:
    row = store.get(CALLBACK, token)
    if row is None:
        raise StepFailed("ClientError: the callback's token is gone.")
    return row if "Answered" in row else None


def _send(turn: Turn, queue: str, message: dict[str, Any]) -> None:
    sqs = turn.service.client("sqs", turn.role)
    try:
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(message))
    except (ClientError, BotoCoreError) as error:
        raise StepFailed(f"ClientError: queue {queue}: {error}") from error


@operation("SendPipelineExecutionStepSuccess")
def _send_success(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Ends a callback step well, with its output parameters."""
    return _take(service, request, OutputParameters=request.get("OutputParameters", []))


@operation("SendPipelineExecutionStepFailure")
def _send_failure(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Ends a callback step as failed, with a reason."""
    reason = request.get("FailureReason") or "The callback step failed without a reason."
    return _take(service, request, FailureReason=reason)


def _take(service: Service, request: dict[str, Any], **answer: object) -> dict[str, Any]:
    """Store the first answer to a token; the same request may come again."""
    token, store = request["CallbackToken"], service.store
    answered = json.dumps([request.get("ClientRequestToken"), answer])
    with store.transaction():
        row = store.get(CALLBACK, token)
        if row is None:
            raise ApiError("ResourceNotFound", f"No callback step waits for token '{token}'.")
        if "Answered" not in row:
            store.update(CALLBACK, token, Answered=answered, **answer)
        elif row["Answered"] != answered:
            raise ApiError("ConflictException", f"Token '{token}' was answered already.")
    return {"PipelineExecutionArn": row["PipelineExecutionArn"]}
