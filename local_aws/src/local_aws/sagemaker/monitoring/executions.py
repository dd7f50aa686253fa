"""Executions of monitoring schedules: the jobs they run, their state, their list."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from botocore.exceptions import ClientError

from local_aws.sagemaker.core import resources
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.storage import StorageError
from local_aws.sagemaker.jobs.jobs import MAX_REASON
from local_aws.sagemaker.monitoring import definitions
from local_aws.sagemaker.monitoring.jobs import MonitoringRun, Plan

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

SCHEDULE = "MonitoringSchedule"
EXECUTION = "MonitoringExecution"

_RUNNING = ("Pending", "InProgress", "Stopping")
_JOB = "ProcessingJob"
_closing: WeakSet[Service] = WeakSet()


def start(service: Service, schedule: Mapping[str, Any], scheduled: float) -> None:
    """Begin an execution, in the background.

    Args:
        service: The service.
        schedule: The schedule's body.
        scheduled: When it was due, in epoch seconds.
    """
    name = schedule["MonitoringScheduleName"]
    key = f"{name}/{uuid.uuid4()}"
    members = ("EndpointName", "MonitoringJobDefinitionName", "MonitoringType")
    service.store.insert(
        EXECUTION,
        key,
        key,
        {
            "MonitoringScheduleName": name,
            "ScheduledTime": scheduled,
            "MonitoringExecutionStatus": "Pending",
            "_Key": key,
            **{member: schedule[member] for member in members if schedule.get(member)},
        },
    )
    service.submit(_run, service, key, dict(schedule), scheduled)


def _run(service: Service, key: str, schedule: dict[str, Any], scheduled: float) -> None:
    try:
        monitor = definitions.monitor_of(service, schedule["MonitoringScheduleConfig"])
        plan = Plan(service, schedule, monitor, scheduled)
        for request in plan.requests():
            _run_job(service, key, plan, request)
            if not _completed(service, key):
                return
    except ApiError as error:
        _end(service, key, "Failed", error.message)
    except (StorageError, ClientError) as error:
        _end(service, key, "Failed", str(error))
    except Exception as error:
        _end(service, key, "Failed", f"InternalServerError: {error!r}")
        raise
    else:
        _judge(service, key)


def _run_job(service: Service, key: str, plan: Plan, request: dict[str, Any]) -> None:
    with service.store.transaction():
        if service in _closing or _body(service, key)["MonitoringExecutionStatus"] == "Stopping":
            _end(service, key, "Stopped")
            return
        run = plan.make(request)
        service.store.update(
            EXECUTION, key, MonitoringExecutionStatus="InProgress", ProcessingJobArn=run.arn
        )
        run.start()
    run.done.wait()


def _body(service: Service, key: str) -> dict[str, Any]:
    body = service.store.get(EXECUTION, key)
    if body is None:
        raise KeyError(key)
    return body


def _completed(service: Service, key: str) -> bool:
    """Return whether the execution's job has completed; if not, the execution has ended with it."""
    body = _body(service, key)
    if body["MonitoringExecutionStatus"] not in _RUNNING:
        return False
    job = service.store.get(_JOB, body["ProcessingJobArn"]) or {}
    status = job.get("ProcessingJobStatus", "Failed")
    if status == "Completed":
        return True
    _end(
        service,
        key,
        status if status == "Stopped" else "Failed",
        job.get("FailureReason", "InternalServerError: The job is not there any more."),
    )
    return False


def _judge(service: Service, key: str) -> None:
    """End an execution whose jobs have completed as the last one's exit message says."""
    job = service.store.get(_JOB, _body(service, key)["ProcessingJobArn"]) or {}
    found = job.get("ExitMessage", "").startswith("CompletedWithViolations")
    _end(service, key, "CompletedWithViolations" if found else "Completed")


def _end(service: Service, key: str, status: str, reason: str | None = None) -> None:
    fields = {"FailureReason": reason[:MAX_REASON]} if reason and status == "Failed" else {}
    service.store.update(EXECUTION, key, MonitoringExecutionStatus=status, **fields)


def last_of(service: Service, schedule: str) -> dict[str, Any] | None:
    """Return the newest execution of a schedule."""
    found = service.store.list(EXECUTION, MonitoringScheduleName=schedule)
    return found[0] if found else None


def running_of(service: Service, schedule: str) -> list[dict[str, Any]]:
    """Return the executions of a schedule that have not ended."""
    return [
        body
        for body in service.store.list(EXECUTION, MonitoringScheduleName=schedule)
        if body["MonitoringExecutionStatus"] in _RUNNING
    ]


def stop_of(service: Service, schedule: str) -> None:
    """Stop what runs of a schedule."""
    for body in running_of(service, schedule):
        with service.store.transaction():
            service.store.update(EXECUTION, body["_Key"], MonitoringExecutionStatus="Stopping")
            arn = _body(service, body["_Key"]).get("ProcessingJobArn")
        run = service.runs.get(arn or "")
        if run:
            service.call("StopProcessingJob", {"ProcessingJobName": run.name})


def wanted(body: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether a schedule or execution is what a List request asks for."""
    members = {
        "EndpointName": "EndpointName",
        "MonitoringJobDefinitionName": "MonitoringJobDefinitionName",
        "MonitoringTypeEquals": "MonitoringType",
    }
    return all(
        request[asked] == body.get(member) for asked, member in members.items() if asked in request
    )


@operation("ListMonitoringExecutions")
def _list(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Filters by schedule, endpoint, definition, type, status and time, sorts and pages."""
    names = {"MonitoringScheduleName": request.get("MonitoringScheduleName")}
    status = request.get("StatusEquals")
    found = [
        body
        for body in service.store.list(EXECUTION, **{k: v for k, v in names.items() if v})
        if wanted(body, request)
        and status in (None, body["MonitoringExecutionStatus"])
        and all(
            _within(body[member], request.get(f"{member}After"), request.get(f"{member}Before"))
            for member in ("CreationTime", "LastModifiedTime", "ScheduledTime")
        )
    ]
    by = request.get("SortBy", "CreationTime")
    member = "MonitoringExecutionStatus" if by == "Status" else by
    return resources.page(
        "ListMonitoringExecutions",
        found,
        request,
        key=lambda body: (body[member], body["_Key"]),
        descending=request.get("SortOrder", "Descending") == "Descending",
    )


def _within(moment: float, after: float | None, before: float | None) -> bool:
    return (after is None or moment > after) and (before is None or moment < before)


def resume(service: Service) -> None:
    """End what ran when a former process was killed; its jobs are failed as all jobs are."""
    for body in service.store.list(EXECUTION):
        if body["MonitoringExecutionStatus"] in _RUNNING:
            _end(
                service,
                body["_Key"],
                "Failed",
                "InternalServerError: The local AWS was killed while the execution ran.",
            )


def close(service: Service) -> None:
    """Let no job begin any more, and end those that others have not ended already."""
    _closing.add(service)
    for run in list(service.runs.values()):
        if isinstance(run, MonitoringRun):
            run.abort("The local AWS was stopped while the job ran.")
