"""What ministack lacks, and what lets its services reach our SageMaker.

Each function replaces one of ministack's own by one that also does what AWS documents.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local_aws.ministack_internals import module
from local_aws.sagemaker.service import Service
from local_aws.scopes import entered

_SCHEDULER_SDK = "arn:aws:scheduler:::aws-sdk:"
_STATES_SDK = "arn:aws:states:::aws-sdk:"
_log = logging.getLogger(__name__)


def apply(service: Service) -> None:
    """Let EventBridge and Scheduler reach SageMaker; mend what is missing.

    Args:
        service: The SageMaker service.
    """
    _deliver_to_operations(service)
    _deliver_to_lambda_with_retries()
    _name_lambda_errors()
    _miss_images_that_are_not_there()


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


def _miss_images_that_are_not_there() -> None:
    """Answer DescribeImages with an error for an image that is not there; CDK asks before a push.

    AWS: Amazon ECR API Reference, DescribeImages.
    """
    ecr = module("services.ecr")
    original = ecr._describe_images

    def describe(data: dict[str, Any]) -> object:
        name = data.get("repositoryName", "")
        answer = original(data)
        if answer[0] != 200:
            return answer
        for wanted in data.get("imageIds") or []:
            if not ecr._find_image(name, wanted):
                message = f"The image with imageId {wanted} does not exist in repository {name}"
                error = {"__type": "ImageNotFoundException", "message": message}
                return (
                    400,
                    {"Content-Type": "application/x-amz-json-1.1"},
                    json.dumps(error).encode(),
                )
        return answer

    ecr._describe_images = describe


def _deliver_to_operations(service: Service) -> None:
    """Let rules and schedules start pipelines, and schedules call any operation.

    AWS: Amazon EventBridge User Guide, "Amazon EventBridge targets"; EventBridge Scheduler User
    Guide, "Using templated targets", "Using universal targets" and "Adding context attributes".
    """
    eventbridge = module("services.eventbridge")
    states = module("services.stepfunctions")
    original = eventbridge._invoke_target

    def call(resource: str, request: dict[str, Any]) -> None:
        # Step Functions calls the same operations, by the same names.
        with entered(None):  # not for the execution whose change may be the event
            states._invoke_resource(resource, request)

    def submit(resource: str, request: dict[str, Any]) -> None:
        # In a copy: ministack keeps account and region in context variables.
        service.submit(contextvars.copy_context().run, call, resource, request)

    def invoke(
        target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: object = None
    ) -> None:
        arn = target.get("Arn", "")
        if event.get("Source") == "aws.scheduler":
            target = {**target, "Input": _with_context(target.get("Input") or "", event, rule)}
            if not target["Input"]:
                del target["Input"]
        if arn.startswith(_SCHEDULER_SDK):
            operation = arn.removeprefix(_SCHEDULER_SDK)
            submit(_STATES_SDK + operation, json.loads(target.get("Input", "{}")))
        elif ":sagemaker:" in arn and ":pipeline/" in arn:
            given = target.get("SageMakerPipelineParameters") or {}
            request = {
                "PipelineName": arn,
                "PipelineParameters": given.get("PipelineParameterList", []),
                "ClientRequestToken": str(uuid.uuid4()),
            }
            submit(f"{_STATES_SDK}sagemaker:startPipelineExecution", request)
        else:
            original(target, event, rule, view)

    eventbridge._invoke_target = invoke


def _with_context(text: str, event: Mapping[str, Any], schedule: Mapping[str, Any]) -> str:
    """Replace the context attributes of EventBridge Scheduler in a target's input."""
    # Others than at() are precise to the minute, and a sweep finds what is due within seconds.
    at = re.fullmatch(r"at\((.+)\)", schedule.get("ScheduleExpression", ""))
    fired = datetime.fromtimestamp(event["Time"], UTC)
    scheduled = f"{at[1]}Z" if at else fired.strftime("%Y-%m-%dT%H:%M:00Z")
    values = {
        "<aws.scheduler.schedule-arn>": schedule.get("Arn", ""),
        "<aws.scheduler.scheduled-time>": scheduled,
        "<aws.scheduler.execution-id>": event["EventId"],
        "<aws.scheduler.attempt-number>": "1",
    }
    for attribute, value in values.items():
        text = text.replace(attribute, value)
    return text
