"""What ministack's Lambda lacks.

Each function replaces one of ministack's own by one that also does what AWS documents.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from typing import Any

from local_aws.host.internals import module

_log = logging.getLogger(__name__)


def apply() -> None:
    """Add what is missing."""
    _deliver_to_lambda_with_retries()
    _name_lambda_errors()
    _put_events_into_dead_letter_queues()


def _deliver_to_lambda_with_retries() -> None:
    """Let EventBridge invoke functions asynchronously: two retries, then the dead-letter queue.

    AWS: AWS Lambda Developer Guide, "Invoking a Lambda function asynchronously".
    """
    functions = module("services.lambda_svc")

    def dispatch(arn: str, payload: str) -> None:
        function, function_config, name = functions._get_func_record_for_ref(arn)
        if not function or not function_config:
            _log.warning("EventBridge: there is no function %s", name)
            return
        record = functions._execution_record_for_config(function, function_config)
        functions.invoke_async_with_retry(record, json.loads(payload))

    module("services.eventbridge")._dispatch_to_lambda = dispatch


def _name_lambda_errors() -> None:
    """Answer the class of a Python function's exception as errorType.

    AWS: AWS Lambda Developer Guide, "Python function errors in Lambda".
    """
    functions = module("services.lambda_svc")
    original = functions._execute_function_warm
    last_line = re.compile(r"^(?:[a-z_][\w.<>]*\.)?([A-Z]\w*)(?::|$)", re.MULTILINE)

    def execute(func: dict[str, Any], event: dict[str, Any], request_id: str) -> dict[str, Any]:
        result: dict[str, Any] = original(func, event, request_id)
        body = result.get("body")
        if isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            named = last_line.findall(result.get("log", ""))
            body["errorType"] = named[-1] if named else body["errorType"]
        return result

    functions._execute_function_warm = execute


def _put_events_into_dead_letter_queues() -> None:
    """Put the event itself into a function's dead-letter queue; the envelope is a destination's.

    AWS: AWS Lambda Developer Guide, "Adding a dead-letter queue".
    """
    functions = module("services.lambda_svc")
    original = functions._route_async_failure

    def route(target: str, name: str, event: dict[str, Any], result: dict[str, Any]) -> None:
        _, config, _ = functions._get_func_record_for_ref(name)
        dead_letters = ((config or {}).get("DeadLetterConfig") or {}).get("TargetArn")
        queue = module("services.sqs")._queue_by_arn(target) if target == dead_letters else None
        if queue is None:
            original(target, name, event, result)
            return
        body = result.get("body")
        message = body.get("errorMessage", "") if isinstance(body, dict) else ""
        attributes = {
            "RequestID": {"DataType": "String", "StringValue": str(uuid.uuid4())},
            "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        }
        if message:
            shown = message.encode()[:1024].decode(errors="ignore")
            attributes["ErrorMessage"] = {"DataType": "String", "StringValue": shown}
        module("services.sqs")._act_send_message(
            {"MessageBody": json.dumps(event), "MessageAttributes": attributes}, queue["url"]
        )

    functions._route_async_failure = route
