"""ministack in this process: its application, and what connects it with our SageMaker service.

This is the one file that names ministack's internals: `INTERNALS` lists them, `check` compares them
with the installed version at every start. ministack reads its settings from the environment when it
is imported, so it is imported in functions, after `Ministack` has set them.
"""

from __future__ import annotations

import contextvars
import importlib
import inspect
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from local_aws import cloudformation
from local_aws.sagemaker.service import Service
from local_aws.saver import Saver
from local_aws.settings import Settings

_SCHEDULER_SDK = "arn:aws:scheduler:::aws-sdk:sagemaker:"
_log = logging.getLogger(__name__)

INTERNALS: Mapping[str, Mapping[str, str | None]] = {
    "ministack.app": {
        "app": "(scope, receive, send)",
        "_build_persistence_save_dict": "()",
    },
    "ministack.core.persistence": {
        "_json_default": None,
        "save_state": "(service: str, data: dict) -> None",
    },
    "ministack.core.responses": {
        "set_request_account_id": "(access_key_id: str) -> None",
        "set_request_region": "(region: str | None) -> None",
    },
    "ministack.services.cloudformation": {"_stacks": None},
    "ministack.services.cloudformation.provisioners": {"_RESOURCE_HANDLERS": None},
    "ministack.services.cloudformation.stacks": {
        "_runs_on_worker_thread": "(resource_type: str) -> bool"
    },
    "ministack.services.cloudwatch": {
        "_dispatch_alarm_actions": "(alarm, old_state, new_state, reason)"
    },
    "ministack.services.ecr": {"_describe_images": "(data)", "_find_image": None},
    "ministack.services.eventbridge": {
        "_dispatch_to_lambda": "(arn, payload)",
        "_invoke_target": "(target, event, rule, view=None)",
        "_put_events": "(data, allow_aws_source=False)",
    },
    "ministack.services.lambda_svc": {
        "_execute_function_warm": "(func: dict, event: dict, request_id: str) -> dict",
        "_execution_record_for_config": None,
        "_get_func_record_for_ref": None,
        "invoke_async_with_retry": "(func: dict, event: dict) -> None",
    },
    "ministack.services.stepfunctions": {
        "_apply_jsonata_output": None,
        "_apply_output_path": "(state_def, data, ctx=None)",
        "_state_query_language": "(state_def, ctx=None)",
    },
}
"""Each name of ministack used here, by module, with its signature where it has one."""


class IncompatibleMinistackError(RuntimeError):
    """The installed ministack lacks something that is used here."""


def check(internals: Mapping[str, Mapping[str, str | None]] = INTERNALS) -> None:
    """Check that ministack has what is used here.

    Args:
        internals: Names by module, with their signatures.

    Raises:
        IncompatibleMinistackError: Names all that is missing or has changed.
    """
    problems = []
    for module_name, names in internals.items():
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            problems.append(f"{module_name}: {error}")
            continue
        for name, expected in names.items():
            found = getattr(module, name, None)
            if found is None:
                problems.append(f"{module_name}.{name} is not there")
            elif expected is not None and str(inspect.signature(found)) != expected:
                problems.append(f"{module_name}.{name}{inspect.signature(found)}, not {expected}")
    if problems:
        raise IncompatibleMinistackError(
            "The installed ministack is not the one that local-aws was written for: "
            + "; ".join(problems)
        )


def _environment(settings: Settings) -> dict[str, str]:
    """The environment that ministack and the Lambda functions it runs read."""
    folder = settings.data_dir.resolve()
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_REGION": settings.region,
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(settings.port),
        "IOT_MTLS_ENABLED": "0",  # it would listen on all interfaces
        "MINISTACK_ACCOUNT_ID": settings.account,
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": settings.region,
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "S3_PERSIST": "1",
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(temporary),
    }


class Ministack:
    """ministack's services in this process.

    Attributes:
        application: Its ASGI application.
        saver: Keeps its state on disk.
    """

    def __init__(self, settings: Settings) -> None:
        """Set ministack's environment and import it.

        Args:
            settings: What the local AWS is started with.

        Raises:
            IncompatibleMinistackError: It lacks something that is used here.
        """
        os.environ.update(_environment(settings))
        check()
        logging.getLogger("persistence").setLevel(logging.WARNING)
        self._settings = settings
        self.application = _module("app").app
        persistence = _module("core.persistence")
        self.saver = Saver(
            _module("app")._build_persistence_save_dict,
            persistence.save_state,
            persistence._json_default,
        )

    def put_event(
        self,
        detail_type: str,
        detail: dict[str, Any],
        resources: list[str],
        source: str = "aws.sagemaker",
    ) -> None:
        """Put an event of an AWS service on the default bus, which callers from outside may not."""
        entry = {
            "Source": source,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": resources,
        }
        responses = _module("core.responses")

        def put() -> None:
            responses.set_request_account_id(self._settings.account)
            responses.set_request_region(self._settings.region)
            _module("services.eventbridge")._put_events({"Entries": [entry]}, allow_aws_source=True)

        # A copy: ministack keeps account and region of a request in context variables.
        contextvars.copy_context().run(put)
        self.saver.changed()

    def changes_stacks(self) -> bool:
        """Tell whether CloudFormation is at work on any stack."""
        stacks = _module("services.cloudformation")._stacks._data
        states = [stack.get("StackStatus", "") for stack in list(stacks.values())]
        return any(
            state.endswith("_IN_PROGRESS") and state != "REVIEW_IN_PROGRESS" for state in states
        )

    def connect(self, service: Service) -> None:
        """Let CloudFormation, EventBridge and Scheduler reach SageMaker; mend what is missing."""
        for name, entry in cloudformation.TYPES.items():
            handlers = cloudformation.handlers(service, entry)
            _module("services.cloudformation.provisioners")._RESOURCE_HANDLERS[name] = handlers
        _run_sagemaker_types_on_a_thread()
        _deliver_to_sagemaker(service)
        _deliver_to_lambda_with_retries()
        _deliver_alarms_to_eventbridge(self.put_event)
        _name_lambda_errors()
        _miss_images_that_are_not_there()
        _keep_the_output_of_succeed()


def _module(name: str) -> Any:  # noqa: ANN401 - ministack has no types
    return importlib.import_module(f"ministack.{name}")


# What ministack lacks


def _run_sagemaker_types_on_a_thread() -> None:
    """Let CloudFormation provision our types on a thread, as they send requests to this process."""
    stacks = _module("services.cloudformation.stacks")
    original = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda name: name in cloudformation.TYPES or original(name)


def _deliver_alarms_to_eventbridge(put_event: Callable[..., None]) -> None:
    """Send an event when an alarm changes its state.

    AWS: Amazon CloudWatch User Guide, "Alarm events and EventBridge".
    """
    cloudwatch = _module("services.cloudwatch")
    original = cloudwatch._dispatch_alarm_actions

    def dispatch(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        original(alarm, old_state, new_state, reason)
        if old_state == new_state:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")
        metric = {
            "namespace": alarm.get("Namespace", ""),
            "name": alarm.get("MetricName", ""),
            "dimensions": {d["Name"]: d["Value"] for d in alarm.get("Dimensions") or []},
        }
        stat = {"metric": metric, "period": alarm.get("Period"), "stat": alarm.get("Statistic")}
        detail = {
            "alarmName": alarm.get("AlarmName", ""),
            "configuration": {
                "description": alarm.get("AlarmDescription", ""),
                "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}],
            },
            "previousState": {"value": old_state},
            "state": {"value": new_state, "reason": reason, "timestamp": now},
        }
        kind = "CloudWatch Alarm State Change"
        put_event(kind, detail, [alarm.get("AlarmArn", "")], source="aws.cloudwatch")

    cloudwatch._dispatch_alarm_actions = dispatch


def _deliver_to_lambda_with_retries() -> None:
    """Let EventBridge invoke functions asynchronously: two retries, then the dead-letter queue.

    AWS: AWS Lambda Developer Guide, "Invoking a Lambda function asynchronously".
    """
    functions = _module("services.lambda_svc")

    def dispatch(arn: str, payload: str) -> None:
        function, function_config, name = functions._get_func_record_for_ref(arn)
        if not function or not function_config:
            _log.warning("EventBridge: there is no function %s", name)
            return
        record = functions._execution_record_for_config(function, function_config)
        functions.invoke_async_with_retry(record, json.loads(payload))

    _module("services.eventbridge")._dispatch_to_lambda = dispatch


def _name_lambda_errors() -> None:
    """Answer the class of a Python function's exception as errorType.

    AWS: AWS Lambda Developer Guide, "Python function errors in Lambda".
    """
    functions = _module("services.lambda_svc")
    original = functions._execute_function_warm
    last_line = re.compile(r"^(?:[a-z_][\w.]*\.)?([A-Z]\w*)(?::|$)", re.MULTILINE)

    def execute(func: dict[str, Any], event: dict[str, Any], request_id: str) -> dict[str, Any]:
        result: dict[str, Any] = original(func, event, request_id)
        body = result.get("body")
        if isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            named = last_line.findall(result.get("log", ""))
            body["errorType"] = named[-1] if named else body["errorType"]
        return result

    functions._execute_function_warm = execute


def _keep_the_output_of_succeed() -> None:
    """Evaluate Output of a Succeed state in JSONata.

    AWS: AWS Step Functions Developer Guide, "Transforming data with JSONata in Step Functions".
    """
    states = _module("services.stepfunctions")
    original = states._apply_output_path

    def apply(state_def: dict[str, Any], data: object, ctx: object = None) -> object:
        jsonata = states._state_query_language(state_def, ctx) == "JSONata"
        if jsonata and state_def.get("Type") == "Succeed":
            return states._apply_jsonata_output(state_def, data, ctx, default=data)
        return original(state_def, data, ctx)

    states._apply_output_path = apply


def _miss_images_that_are_not_there() -> None:
    """Answer DescribeImages with an error for an image that is not there; CDK asks before a push.

    AWS: Amazon ECR API Reference, DescribeImages.
    """
    ecr = _module("services.ecr")
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


def _deliver_to_sagemaker(service: Service) -> None:
    """Let rules and schedules start pipelines, and schedules call any SageMaker operation.

    AWS: Amazon EventBridge User Guide, "Amazon EventBridge targets"; EventBridge Scheduler User
    Guide, "Using templated targets", "Using universal targets" and "Adding context attributes".
    """
    eventbridge = _module("services.eventbridge")
    original = eventbridge._invoke_target

    def call(operation: str, request: dict[str, Any]) -> None:
        service.submit(_ignore_result(service.call), operation, request)

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
            call(operation[:1].upper() + operation[1:], json.loads(target.get("Input", "{}")))
        elif ":sagemaker:" in arn and ":pipeline/" in arn:
            given = target.get("SageMakerPipelineParameters") or {}
            request = {
                "PipelineName": arn,
                "PipelineParameters": given.get("PipelineParameterList", []),
                "ClientRequestToken": str(uuid.uuid4()),
            }
            call("StartPipelineExecution", request)
        else:
            original(target, event, rule, view)

    eventbridge._invoke_target = invoke


def _ignore_result(function: Callable[..., object]) -> Callable[..., None]:
    @wraps(function)
    def run(*args: object) -> None:
        function(*args)

    return run


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
