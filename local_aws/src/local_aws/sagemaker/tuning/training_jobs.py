"""The training jobs of a tuning job, as its Describe and List operations show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_RUNNING = ("InProgress", "Stopping")
# The part by which a model must be better to count as an improvement (API reference,
# BestObjectiveNotImproving).
_IMPROVEMENT = 0.01
_LEAST = 1e-12
_ATTEMPTS = 3


def of(service: Service, arn: str) -> list[dict[str, Any]]:
    """Return the stored bodies of a tuning job's training jobs, oldest first."""
    return service.store.list("TrainingJob", TuningJobArn=arn)[::-1]


def slots(bodies: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Return the attempts at each of a tuning job's training jobs, by its number, oldest first."""
    found: dict[int, list[dict[str, Any]]] = {}
    for body in bodies:
        found.setdefault(body["_Tuning"]["Index"], []).append(body)
    return dict(sorted(found.items()))


def to_be_retried(attempts: list[dict[str, Any]]) -> bool:
    """Tell whether a training job was ended by the local AWS itself and is to be tried again."""
    return len(attempts) < _ATTEMPTS and _counted_as(attempts[-1]) == "RetryableError"


def settled(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last attempts at those training jobs that have ended for good."""
    return [
        attempts[-1]
        for attempts in slots(bodies).values()
        if attempts[-1]["TrainingJobStatus"] not in _RUNNING and not to_be_retried(attempts)
    ]


def objective_value(body: Mapping[str, Any]) -> float | None:
    """Return the objective metric's final value; None if the job runs, failed or printed none."""
    if body["TrainingJobStatus"] not in ("Completed", "Stopped"):
        return None
    name = body["_Tuning"]["Objective"]["MetricName"]
    for metric in body.get("FinalMetricDataList", []):
        if metric["MetricName"] == name:
            value: float = metric["Value"]
            return value
    return None


def objective_status(body: Mapping[str, Any]) -> str:
    """Return Pending, Succeeded or Failed."""
    if body["TrainingJobStatus"] in _RUNNING:
        return "Pending"
    return "Failed" if objective_value(body) is None else "Succeeded"


def summary(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a HyperParameterTrainingJobSummary."""
    tuning, value = body["_Tuning"], objective_value(body)
    shown = {
        **body,
        "TunedHyperParameters": tuning["Tuned"],
        "ObjectiveStatus": objective_status(body),
    }
    if "Definition" in tuning:
        shown["TrainingJobDefinitionName"] = tuning["Definition"]
    if value is not None:
        metric = {**tuning["Objective"], "Value": value}
        shown["FinalHyperParameterTuningJobObjectiveMetric"] = metric
    return shown


def better(first: Mapping[str, Any], second: float, value: float) -> bool:
    """Tell whether the value is better than the second one, by the objective."""
    return value > second if first["Type"] == "Maximize" else value < second


def best(bodies: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the training job with the best value of the objective metric."""
    found: dict[str, Any] | None = None
    for body in bodies:
        value = objective_value(body)
        if value is None:
            continue
        if found is None or better(
            body["_Tuning"]["Objective"], objective_value(found) or 0.0, value
        ):
            found = body
    return found


def not_improving(bodies: list[dict[str, Any]]) -> int:
    """Return how many training jobs have ended since one was better by 1 % than all before it."""
    ended = [body for body in bodies if body["TrainingJobStatus"] not in _RUNNING]
    mark: float | None = None
    since = 0
    for body in sorted(ended, key=lambda body: body.get("TrainingEndTime", 0.0)):
        value = objective_value(body)
        since += 1
        if value is None:
            continue
        sign = 1 if body["_Tuning"]["Objective"]["Type"] == "Maximize" else -1
        if mark is None or sign * (value - mark) >= max(abs(mark) * _IMPROVEMENT, _LEAST):
            mark, since = value, 0
    return since


def progress(bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the members of a tuning job's description that tell of its training jobs."""
    statuses = Counter(map(_counted_as, bodies))
    objectives = Counter(map(objective_status, bodies))
    names = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
    shown: dict[str, Any] = {
        "TrainingJobStatusCounters": {name: statuses[name] for name in names},
        "ObjectiveStatusCounters": {
            name: objectives[name] for name in ("Succeeded", "Pending", "Failed")
        },
        "TuningJobCompletionDetails": {
            "NumberOfTrainingJobsObjectiveNotImproving": not_improving(bodies)
        },
    }
    found = best(bodies)
    if found:
        shown["BestTrainingJob"] = summary(found)
    return shown


def _counted_as(body: Mapping[str, Any]) -> str:
    status: str = body["TrainingJobStatus"]
    if status in _RUNNING:
        return "InProgress"
    if status == "Failed":
        internal = body.get("FailureReason", "").startswith("InternalServerError")
        return "RetryableError" if internal else "NonRetryableError"
    return status
