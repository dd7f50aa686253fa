"""Where EventBridge's rules and schedules deliver to, when schedules do, and what if it fails."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from local_aws.host.eventbridge import schedules
from local_aws.host.iam.targets import of_target, of_task
from local_aws.host.internals import module
from local_aws.host.stepfunctions.scopes import entered
from local_aws.sagemaker.core.loops import attempt
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Session
from local_aws.sagemaker.core.service import Service

_STATES_SDK = "arn:aws:states:::aws-sdk:"
_RETRIED = re.compile(r"Throttl|TooManyRequests|Unavailable|Internal|Timeout|LimitExceeded")
_log = logging.getLogger(__name__)


class _UndeliveredError(Exception):
    """A target did not take what was delivered."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def apply(service: Service, changed: Callable[[], None]) -> None:
    """Let rules and schedules reach SageMaker and any operation, with retries and dead letters.

    Args:
        service: The SageMaker service.
        changed: Says that ministack's state is to be saved.
    """
    _deliver(service)
    _keep_time(changed)
    _check_schedules()


def _deliver(service: Service) -> None:
    """Let rules and schedules start pipelines, and schedules call any operation.

    AWS: Amazon EventBridge User Guide, "Amazon EventBridge targets" and "Using dead-letter queues
    to process undelivered events"; EventBridge Scheduler User Guide, "Using templated targets",
    "Using universal targets", "Adding context attributes" and "Configuring a dead-letter queue".
    """
    eventbridge = module("services.eventbridge")
    original = eventbridge._invoke_target

    def invoke(
        target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: object = None
    ) -> None:
        if event.get("Source") == "aws.scheduler":
            target = _of_schedule(target, event, rule)
        request = _request(target)
        try:
            _check_role(service, target, event, request)
        except ApiError as error:
            _dead_letter(_Delivery(target, event, rule), _UndeliveredError(error.code, str(error)))
            return
        if request is not None:
            # In a copy: ministack keeps account and region in context variables.
            context = contextvars.copy_context()
            service.submit(context.run, _call, request, _Delivery(target, event, rule))
            return
        if missing := _missing(target.get("Arn", "")):
            _dead_letter(_Delivery(target, event, rule), _UndeliveredError("NO_RESOURCE", missing))
        elif event.get("Source") == "aws.scheduler" and ":event-bus/" in target.get("Arn", ""):
            _put_event(target, event)
        else:
            original(target, event, rule, view)

    eventbridge._invoke_target = invoke


def _check_role(
    service: Service,
    target: Mapping[str, Any],
    event: Mapping[str, Any],
    request: tuple[str, dict[str, Any]] | None,
) -> None:
    """Refuse a delivery that the target's role may not make; without a role the target decides.

    Raises:
        ApiError: The role may not.
    """
    role = target.get("RoleArn")
    if not role:
        return
    caller = "scheduler" if event.get("Source") == "aws.scheduler" else "events"
    service.roles.check_trust(role, f"{caller}.amazonaws.com")
    needs = of_target(target["Arn"]) if request is None else of_task(service, *request)
    service.roles.authorize(Session(role, caller), needs)


class _Delivery:
    """One event on its way to one target."""

    def __init__(
        self, target: Mapping[str, Any], event: Mapping[str, Any], source: Mapping[str, Any]
    ) -> None:
        self.target, self.event, self.source = target, event, source
        policy = target.get("RetryPolicy") or {}
        self.most_attempts = int(policy.get("MaximumRetryAttempts", 185))
        self.deadline = time.time() + float(policy.get("MaximumEventAgeInSeconds", 86400))
        self.attempts = 0


def _of_schedule(
    target: dict[str, Any], event: Mapping[str, Any], schedule: Mapping[str, Any]
) -> dict[str, Any]:
    scheduled = datetime.fromtimestamp(event.get("ScheduledTime", event["Time"]), UTC)
    values = {
        "schedule-arn": str(schedule.get("Arn", "")),
        "scheduled-time": f"{scheduled:%Y-%m-%dT%H:%M:%SZ}",
        "execution-id": str(event["EventId"]),
        "attempt-number": "1",
    }
    given = schedules.with_context(target.get("Input") or "", values)
    others = {key: value for key, value in target.items() if key != "Input"}
    return {**others, "Input": given} if given else others


def _request(target: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the operation that a target is, named as in Step Functions, and its request."""
    arn = target.get("Arn", "")
    if arn.startswith(schedules.SDK):
        operation = arn.removeprefix(schedules.SDK)
        return _STATES_SDK + operation, json.loads(target.get("Input") or "{}")
    if ":sagemaker:" in arn and ":pipeline/" in arn:
        given = target.get("SageMakerPipelineParameters") or {}
        request = {
            "PipelineName": arn,
            "PipelineParameters": given.get("PipelineParameterList", []),
            "ClientRequestToken": str(uuid.uuid4()),
        }
        return f"{_STATES_SDK}sagemaker:startPipelineExecution", request
    return None


def _call(request: tuple[str, dict[str, Any]], delivery: _Delivery) -> None:
    """Call an operation, again after a while if that may help; else it is a dead letter."""
    states = module("services.stepfunctions")
    try:
        with entered(None):  # not for the execution whose change may be the event
            # Step Functions calls the same operations, by the same names.
            states._invoke_resource(*request)
    except states._ExecutionError as error:
        failure = _UndeliveredError(str(error.error), str(error.cause))
    except Exception as error:
        _log.exception("the target %s could not be called", delivery.target.get("Arn"))
        failure = _UndeliveredError(type(error).__name__, str(error))
    else:
        return
    wait = schedules.backoff(delivery.attempts)
    again = delivery.attempts < delivery.most_attempts and time.time() + wait < delivery.deadline
    if _RETRIED.search(failure.code) and again:
        delivery.attempts += 1
        context = contextvars.copy_context()
        timer = threading.Timer(wait, context.run, (_call, request, delivery))
        timer.daemon = True
        timer.start()
    else:
        _dead_letter(delivery, failure)


def _missing(arn: str) -> str:
    """Say what is not there if a target is not, for such an event is never tried again."""
    service, _, name = arn.removeprefix("arn:aws:").partition(":")
    found: object = True
    if service == "sqs":
        found = module("services.sqs")._queue_by_arn(arn)
    elif service == "sns":
        found = module("services.sns")._topics.get(arn)
    elif service == "lambda":
        found = module("services.lambda_svc")._get_func_record_for_ref(arn)[0]
    elif service == "states":
        found = module("services.stepfunctions")._resolve_state_machine_arn(arn)
    return "" if found is not None else f"{name.rpartition(':')[2]} does not exist"


def _put_event(target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    """Put a schedule's event on a bus under the names that its target gives.

    AWS: EventBridge Scheduler API Reference, EventBridgeParameters.
    """
    named = target.get("EventBridgeParameters") or {}
    entry = {
        "Source": named.get("Source", event["Source"]),
        "DetailType": named.get("DetailType", event["DetailType"]),
        "Detail": target.get("Input") or "{}",
        "EventBusName": str(target["Arn"]).rpartition("/")[2],
        "Resources": event["Resources"],
    }
    module("services.eventbridge")._put_events({"Entries": [entry]})


def _dead_letter(delivery: _Delivery, failure: _UndeliveredError) -> None:
    """Put what could not be delivered into the target's dead-letter queue.

    AWS: Amazon EventBridge User Guide, "Using dead-letter queues to process undelivered events";
    EventBridge Scheduler User Guide, "Configuring a schedule's dead-letter queue".
    """
    target, event, source = delivery.target, delivery.event, delivery.source
    _log.warning("%s: %s: %s", target.get("Arn"), failure.code, failure)
    arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not arn:
        return
    attributes = {
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": str(failure),
        "TARGET_ARN": str(target.get("Arn", "")),
        "RETRY_ATTEMPTS": str(delivery.attempts),
    }
    if delivery.attempts:
        tried = delivery.attempts >= delivery.most_attempts
        attributes["EXHAUSTED_RETRY_CONDITION"] = (
            "MaximumRetryAttempts" if tried else "MaximumEventAgeInSeconds"
        )
    if event.get("Source") == "aws.scheduler":
        at = datetime.fromtimestamp(event.get("ScheduledTime", event["Time"]), UTC)
        attributes |= {
            "SCHEDULE_ARN": str(source.get("Arn", "")),
            "SCHEDULED_TIME": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "EXECUTION_ID": str(event["EventId"]),
            "IS_PAYLOAD_TRUNCATED": "false",
        }
        body = target.get("Input") or "{}"
    else:
        attributes["RULE_ARN"] = str(source.get("Arn", ""))
        view = module("services.eventbridge")._pattern_event_view(event)
        body = json.dumps(view.event_with_detail())
    sqs = module("services.sqs")
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        _log.warning("the dead-letter queue %s is not there", arn)
        return
    sqs._act_send_message(
        {
            "MessageBody": body,
            "MessageAttributes": {
                key: {"DataType": "String", "StringValue": value}
                for key, value in attributes.items()
                if value
            },
        },
        queue["url"],
    )


def next_cron(expression: str, after: datetime) -> datetime | None:
    """Return when a cron expression is due next; None is never again.

    Args:
        expression: As in ScheduleExpression, `cron(…)`.
        after: The moment after which, in the expression's time zone.

    Raises:
        ValueError: It is not a cron expression; in Scheduler's words.
    """
    eventbridge = module("services.eventbridge")
    found: datetime | None = None
    try:
        fields = eventbridge._parse_cron_fields(expression)
        if fields is not None:
            found = eventbridge._cron_next_fire(fields, after.replace(tzinfo=UTC))
    except ValueError as error:
        raise ValueError(f"Invalid Schedule Expression {expression}: {error}.") from error
    if fields is None:
        raise ValueError(f"Invalid Schedule Expression {expression}.")
    return found.replace(tzinfo=None) if found else None


def _keep_time(changed: Callable[[], None]) -> None:
    """Fire schedules in their time zone, and one-time ones once, whatever comes between.

    AWS: EventBridge Scheduler User Guide, "Schedule types in EventBridge Scheduler", "Time zones"
    and "Deletion after schedule completion".
    """
    scheduler = module("services.scheduler")
    responses = module("core.responses")
    started = time.time()
    fired: dict[tuple[Any, ...], float] = {}

    def tick() -> None:
        now = time.time()
        for key, schedule in list(scheduler._schedules._data.items()):
            attempt(f"the schedule {schedule.get('Arn')}", look_at, key, schedule, now)

    def look_at(key: tuple[str, str, Any], schedule: dict[str, Any], now: float) -> None:
        once = schedules.is_one_time(schedule)
        if schedule.get("State") != "ENABLED" or (once and "FiredAt" in schedule):
            return
        deleted = schedule.get("ActionAfterCompletion") == "DELETE"
        if deleted and schedules.is_over(schedule, now):
            scheduler._schedules._data.pop(key, None)
            changed()
            return
        # What was due while nothing ran is not made up for, but for what happens only once.
        version = (key, schedule.get("LastModificationDate"))
        since = max(started, schedules.instant(schedule.get("LastModificationDate")) or 0.0)
        moment = schedules.due(schedule, fired.get(version, since), now, next_cron)
        if moment is None:
            return
        fired[version] = moment
        if once:
            schedule["FiredAt"] = moment
        responses.set_request_account_id(key[0])
        responses.set_request_region(key[1])
        _fire(schedule, moment)
        if once and deleted:
            scheduler._schedules._data.pop(key, None)
        changed()

    scheduler._tick_schedules = tick
    scheduler._SCHEDULE_TICK_INTERVAL = 1  # second; ministack looks each ten


def _fire(schedule: Mapping[str, Any], moment: float) -> None:
    responses = module("core.responses")
    event = {
        "EventId": str(uuid.uuid4()),
        "Source": "aws.scheduler",
        "DetailType": "Scheduled Event",
        "Detail": "{}",
        "Time": time.time(),
        "ScheduledTime": moment,
        "Resources": [schedule.get("Arn", "")],
        "Account": responses.get_account_id(),
        "Region": responses.get_region(),
    }
    try:
        module("services.eventbridge")._invoke_target(dict(schedule["Target"]), event, schedule)
    except Exception:
        _log.exception("the schedule %s could not be carried out", schedule.get("Arn"))


def _check_schedules() -> None:
    """Refuse schedules that could never fire.

    AWS: EventBridge Scheduler API Reference, CreateSchedule and UpdateSchedule.
    """
    scheduler = module("services.scheduler")

    def checked(original: Callable[[str, dict[str, Any]], Any]) -> Callable[..., Any]:
        def put(name: str, body: dict[str, Any]) -> object:
            try:
                schedules.check(body, next_cron)
            except KeyError:
                pass  # ministack names what is missing
            except ValueError as error:
                return scheduler._error(400, "ValidationException", str(error))
            return original(name, body)

        return put

    scheduler._create_schedule = checked(scheduler._create_schedule)
    scheduler._update_schedule = checked(scheduler._update_schedule)
