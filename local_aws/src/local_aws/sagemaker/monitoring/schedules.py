"""Monitoring schedules: what is monitored, how often, and the clock that starts executions."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from local_aws.sagemaker.core import events, resources
from local_aws.sagemaker.core.kinds import Kind
from local_aws.sagemaker.core.loops import attempt, repeat
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.monitoring import definitions, executions, timing
from local_aws.sagemaker.monitoring.definitions import Monitor
from local_aws.sagemaker.monitoring.executions import SCHEDULE

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

# On AWS an execution starts up to 20 minutes after its hour. A few seconds let the last captured
# requests of the hour reach S3.
_DELAY_SECONDS = 5.0
_TICK_SECONDS = 0.5
_MAX_WINDOW = timedelta(hours=24)

_clocks: WeakKeyDictionary[Service, threading.Event] = WeakKeyDictionary()

resources.declare(
    Kind(
        SCHEDULE,
        "monitoring-schedule",
        "MonitoringScheduleStatus",
        not_found=("ResourceNotFound", "Could not find the monitoring schedule {arn}"),
        exists=("ResourceInUse", "The monitoring schedule {arn} already exists"),
        event=events.described("SageMaker Monitoring Schedule State Change", events.milliseconds),
    )
)


@operation(
    "CreateMonitoringSchedule",
    differs="executions start within seconds of their hour",
)
def _create(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Stores a schedule, which starts executions by its cron expression or at once."""
    fields = _fields(service, request)
    with service.store.transaction():
        body = resources.create(
            service, SCHEDULE, request, MonitoringScheduleStatus="Pending", **fields
        )
        return service.set_status(SCHEDULE, body["MonitoringScheduleArn"], "Scheduled")


@operation("UpdateMonitoringSchedule")
def _update(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Replaces what is monitored and when."""
    name = request["MonitoringScheduleName"]
    with service.store.transaction():
        resources.require(service, SCHEDULE, name)
        config = request["MonitoringScheduleConfig"]
        return service.set_status(
            SCHEDULE, name, None, MonitoringScheduleConfig=config, **_fields(service, request)
        )


def _fields(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Check a schedule's configuration, and return what is stored beside it."""
    config = request["MonitoringScheduleConfig"]
    when = config.get("ScheduleConfig")
    if not when:
        raise ApiError("ValidationException", "MonitoringScheduleConfig: give a ScheduleConfig")
    monitor = definitions.monitor_of(service, config)
    definitions.check(service, monitor)
    _check_timing(when)
    _check_runtime(monitor, when["ScheduleExpression"])
    return {
        "MonitoringType": monitor.type,
        "EndpointName": monitor.endpoint,
        "MonitoringJobDefinitionName": monitor.name,
        "_Due": _first_due(when["ScheduleExpression"]),
    }


def _check_timing(when: dict[str, Any]) -> None:
    timing.hours_of(when["ScheduleExpression"])
    members = ("DataAnalysisStartTime", "DataAnalysisEndTime")
    given = [member for member in members if member in when]
    if len(given) == 1 or (when["ScheduleExpression"] == timing.NOW and not given):
        raise ApiError(
            "ValidationException",
            "Give both DataAnalysisStartTime and DataAnalysisEndTime; ScheduleExpression NOW needs "
            "them",
        )
    if given:
        start, end = (timing.offset(member, when[member]) for member in members)
        if not timedelta() < end - start <= _MAX_WINDOW:
            raise ApiError(
                "ValidationException",
                "DataAnalysisStartTime must be before DataAnalysisEndTime, and at most 24 hours",
            )


def _check_runtime(monitor: Monitor, expression: str) -> None:
    """Refuse what could take longer than an hour where another execution is due then."""
    seconds = monitor.rest.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 0)
    most = 1800 if monitor.type in ("ModelQuality", "ModelBias") else 3600
    if len(timing.hours_of(expression)) == 24 and seconds > most:
        raise ApiError(
            "ValidationException",
            f"MaxRuntimeInSeconds of a {monitor.type} monitor with an hourly schedule can be up to "
            f"{most} seconds, not {seconds}",
        )


def _first_due(expression: str) -> float | None:
    now = time.time()
    return now if expression == timing.NOW else timing.next_due(expression, now)


@operation("DescribeMonitoringSchedule")
def _describe(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Returns a schedule with its last execution."""
    body = resources.require(service, SCHEDULE, request["MonitoringScheduleName"])
    last = executions.last_of(service, body["MonitoringScheduleName"])
    return {**body, "LastMonitoringExecutionSummary": last}


@operation("ListMonitoringSchedules")
def _list(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Filters by endpoint, definition, type, status, name and time, sorts and pages."""
    return resources.list_resources(
        service, SCHEDULE, request, lambda body: executions.wanted(body, request)
    )


@operation("StartMonitoringSchedule")
def _start(service: Service, request: dict[str, Any]) -> None:
    """Lets a stopped schedule go on."""
    with service.store.transaction():
        body = resources.require(service, SCHEDULE, request["MonitoringScheduleName"])
        when = body["MonitoringScheduleConfig"]["ScheduleConfig"]
        due = _first_due(when["ScheduleExpression"])
        service.set_status(SCHEDULE, body["MonitoringScheduleArn"], "Scheduled", _Due=due)


@operation("StopMonitoringSchedule")
def _stop(service: Service, request: dict[str, Any]) -> None:
    """Starts no further execution; one that runs goes on."""
    name = request["MonitoringScheduleName"]
    with service.store.transaction():
        resources.require(service, SCHEDULE, name)
        service.set_status(SCHEDULE, name, "Stopped", _Due=None)


@operation("DeleteMonitoringSchedule")
def _delete(service: Service, request: dict[str, Any]) -> None:
    """Forgets a schedule, and stops its execution."""
    resources.delete(service, SCHEDULE, request["MonitoringScheduleName"])
    executions.stop_of(service, request["MonitoringScheduleName"])


# The clock


def tick(service: Service, now: float) -> None:
    """Start what is due; a schedule whose last execution still runs waits for its end.

    Args:
        service: The service.
        now: The time, in epoch seconds.
    """
    for found in service.store.list(SCHEDULE, MonitoringScheduleStatus="Scheduled"):
        attempt(f"the schedule {found['MonitoringScheduleName']}", _look_at, service, found, now)


def _look_at(service: Service, found: dict[str, Any], now: float) -> None:
    due = found.get("_Due")
    expression = found["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"]
    delay = 0.0 if expression == timing.NOW else _DELAY_SECONDS
    if due is None or now < due + delay:
        return
    if executions.running_of(service, found["MonitoringScheduleName"]):
        return
    with service.store.transaction():
        arn = found["MonitoringScheduleArn"]
        body = service.store.get(SCHEDULE, arn)
        if body and body.get("_Due") == due:
            following = timing.next_due(expression, max(now, due))
            service.store.update(SCHEDULE, arn, _Due=following)
            executions.start(service, body, due)


def _run_clock(service: Service, closing: threading.Event) -> None:
    repeat("monitoring schedules", _TICK_SECONDS, closing, lambda: tick(service, time.time()))


def resume(service: Service) -> None:
    """Start the clock. Hours that passed meanwhile are left out."""
    now = time.time()
    for body in service.store.list(SCHEDULE, MonitoringScheduleStatus="Scheduled"):
        expression = body["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"]
        if expression != timing.NOW and (body.get("_Due") or now) < now:
            due = timing.next_due(expression, now)
            service.store.update(SCHEDULE, body["MonitoringScheduleArn"], _Due=due)
    closing = _clocks[service] = threading.Event()
    service.submit(_run_clock, service, closing)


def close(service: Service) -> None:
    """Stop the clock."""
    if service in _clocks:
        _clocks[service].set()
