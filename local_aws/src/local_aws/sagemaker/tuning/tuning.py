"""Hyperparameter tuning jobs: training jobs with hyperparameters of a range, and the best of them.

A tuning job's state is that of its training jobs, in the store; so it goes on at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import events, kinds, resources
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.jobs import jobs, training
from local_aws.sagemaker.jobs.jobs import StopRequested
from local_aws.sagemaker.tuning import checks, search, stopping, training_jobs

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_KIND = "HyperParameterTuningJob"
_TRAINING = "TrainingJob"
_POLL_SECONDS = 0.1
_ATTEMPTS = 5
_NONE_SUCCEEDED = f"No training job succeeded after {_ATTEMPTS} attempts."

_NOT_FOUND = (
    "ResourceNotFound",
    "Amazon SageMaker can't find a tuning job called {name}. Type another name.",
)

resources.declare(
    kinds.Kind(
        _KIND,
        "hyper-parameter-tuning-job",
        "HyperParameterTuningJobStatus",
        ascending=True,
        sort_by="Name",
        not_found=_NOT_FOUND,
        exists=(
            "ResourceInUse",
            (
                "A hyperparameter tuning job with the name, {name}, already exists. "
                "Choose a different name."
            ),
        ),
        event=events.described(
            "SageMaker HyperParameter Tuning Job State Change", events.milliseconds_text
        ),
    )
)


class TuningRun(jobs.Run):
    """One run of a tuning job: it starts training jobs, and stops those that do badly."""

    kind = _KIND

    def __init__(self, service: Service, body: dict[str, Any]) -> None:
        definitions = checks.definitions_of(body)
        super().__init__(service, body, definitions[0]["RoleArn"])
        self._definitions = definitions
        self._config: dict[str, Any] = body["HyperParameterTuningJobConfig"]
        self._limits: dict[str, int] = self._config["ResourceLimits"]
        self._seen: dict[str, int] = {}

    def survives(self) -> bool:
        """Tell that it goes on with the next local AWS."""
        return True

    def work(self) -> dict[str, Any]:
        """Keep training jobs running until there are enough."""
        try:
            while True:
                begun = time.monotonic()
                bodies = training_jobs.of(self.service, self.arn)
                running = [b for b in bodies if b["TrainingJobStatus"] in jobs.RUNNING]
                if self.stopping and (self.aborting or not running):
                    raise StopRequested
                if self.stopping:
                    self._stop_training(running)
                    time.sleep(_POLL_SECONDS)
                    continue
                reason = self._failure(bodies)
                if reason or self._over(bodies):
                    self._stop_training(running)
                    return self._ended(running, reason)
                self._stop_early(bodies, running)
                self._launch(bodies, len(running))
                # Not to be busy with hundreds of training jobs.
                self._stop.wait(max(_POLL_SECONDS, 10 * (time.monotonic() - begun)))
        except ApiError:
            self.end_processes(0)
            raise

    def end_processes(self, grace_seconds: float) -> None:  # noqa: ARG002 - as training jobs stop
        """Stop the training jobs; when the local AWS ends it ends them itself."""
        if not self.aborting:
            self._stop_training(training_jobs.of(self.service, self.arn))

    def final_fields(self, status: str) -> dict[str, Any]:  # noqa: ARG002 - the same for all
        """Return the end time and what became of the training jobs."""
        now = time.time()
        return {
            "HyperParameterTuningEndTime": now,
            "ConsumedResources": {"RuntimeInSeconds": math.ceil(now - self.body["CreationTime"])},
            **training_jobs.progress(training_jobs.of(self.service, self.arn)),
        }

    # What ends it

    def _total(self) -> float:
        """Return how many training jobs there are to be."""
        if self._config["Strategy"] == "Grid":
            return sum(self._combinations())
        return self._limits.get("MaxNumberOfTrainingJobs", math.inf)

    def _failure(self, bodies: list[dict[str, Any]]) -> str:
        """Return why the tuning job has failed, if it has; in AWS's words."""
        first = training_jobs.settled(bodies)[:_ATTEMPTS]
        if len(first) < min(_ATTEMPTS, self._total()):
            return ""
        if all(body["TrainingJobStatus"] == "Failed" for body in first):
            few = len(first) < _ATTEMPTS
            what = "All training jobs failed." if few else _NONE_SUCCEEDED
            return f"{what} Please take a look at the training job failures to get more details."
        if all(training_jobs.objective_value(body) is None for body in first):
            return (
                f"No objective metrics found after running {len(first)} training jobs. Please "
                "ensure that the custom algorithm is emitting the objective metric as defined by "
                "the regular expression provided."
            )
        return ""

    def _over(self, bodies: list[dict[str, Any]]) -> bool:
        """Tell whether no more training jobs are to be, not even those that run."""
        if len(training_jobs.settled(bodies)) >= self._total():
            return True
        if time.time() - self.body["CreationTime"] > self._limits.get(
            "MaxRuntimeInSeconds", math.inf
        ):
            return True
        criteria = self._config.get("TuningJobCompletionCriteria", {})
        patience = criteria.get("BestObjectiveNotImproving", {}).get(
            "MaxNumberOfTrainingJobsNotImproving", math.inf
        )
        if training_jobs.not_improving(bodies) >= patience:
            return True
        best = training_jobs.best(bodies)
        target = criteria.get("TargetObjectiveMetricValue")
        if best is None or target is None:
            return False
        value = training_jobs.objective_value(best)
        objective = best["_Tuning"]["Objective"]
        return value == target or training_jobs.better(objective, target, value or 0.0)

    def _ended(self, running: list[dict[str, Any]], reason: str) -> dict[str, Any]:
        """Wait for the end of training jobs that were stopped; return the failure, if it is one."""
        for body in running:
            run = self.service.runs.get(body["TrainingJobArn"])
            while run and not run.done.wait(_POLL_SECONDS):
                if self.aborting:
                    break
        return {"FailureReason": reason} if reason else {}

    # Training jobs

    def _launch(self, bodies: list[dict[str, Any]], running: int) -> None:
        """Start as many training jobs as may run at once."""
        slots = training_jobs.slots(bodies)
        again = [index for index, made in slots.items() if training_jobs.to_be_retried(made)]
        wanted = itertools.chain(again, itertools.count(max(slots, default=-1) + 1))
        room = self._limits["MaxParallelTrainingJobs"] - running
        for index in itertools.islice(wanted, max(room, 0)):
            if index >= self._total() or self.stopping:
                return
            self._start(index, len(slots.get(index, [])))

    def _start(self, index: int, attempt: int) -> None:
        definition, tuned = self._choose(index)
        unique = f"{self.arn}:{self.body['_Seed']}:{index}:{attempt}"
        digest = hashlib.sha256(unique.encode()).hexdigest()
        name = f"{self.name}-{index + 1:03}-{digest[:8]}"
        request = checks.training_request(definition, name)
        request["HyperParameters"] = {
            **definition.get("StaticHyperParameters", {}),
            **tuned,
            "_tuning_objective_metric": definition["TuningObjective"]["MetricName"],
        }
        tags = resources.tags_of(self.service, self.arn)
        request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        chosen = {"Index": index, "Tuned": tuned, "Objective": definition["TuningObjective"]}
        if "DefinitionName" in definition:
            chosen["Definition"] = definition["DefinitionName"]
        training.start(self.service, request, TuningJobArn=self.arn, _Tuning=chosen)

    def _choose(self, index: int) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the definition and the hyperparameters of the training job with a number."""
        if self._config["Strategy"] == "Grid":
            for definition, count in zip(self._definitions, self._combinations(), strict=True):
                if index < count:
                    return definition, search.grid(definition["HyperParameterRanges"], index)
                index -= count
        definition = self._definitions[index % len(self._definitions)]
        ranges = definition["HyperParameterRanges"]
        return definition, search.sample(ranges, self.body["_Seed"], index)

    def _combinations(self) -> list[int]:
        return [search.combinations(d["HyperParameterRanges"]) for d in self._definitions]

    def _stop_training(self, bodies: list[dict[str, Any]]) -> None:
        for body in bodies:
            if body["TrainingJobStatus"] == "InProgress":
                with contextlib.suppress(ApiError):  # it has ended meanwhile
                    training.stop(self.service, body["TrainingJobName"])

    def _stop_early(self, bodies: list[dict[str, Any]], running: list[dict[str, Any]]) -> None:
        """Stop the training jobs that do worse than others of their definition."""
        hyperband = self._config["Strategy"] == "Hyperband"
        if not hyperband and self._config.get("TrainingJobEarlyStoppingType") != "Auto":
            return
        for body in running:
            name = body["TrainingJobName"]
            values = self._values(body)
            if len(values) <= self._seen.get(name, 0):
                continue
            others = [
                self._values(other)
                for other in bodies
                if other["TrainingJobName"] != name
                and other["_Tuning"].get("Definition") == body["_Tuning"].get("Definition")
                and (hyperband or other["TrainingJobStatus"] == "Completed")
            ]
            maximize = body["_Tuning"]["Objective"]["Type"] == "Maximize"
            worse = partial(stopping.worse_than_median, values, others, maximize)
            if hyperband:
                limits = checks.epochs(self._config, self._definition_of(body))
                seen = self._seen.get(name, 0)
                worse = partial(stopping.below_rung, values, others, maximize, limits, seen)
            self._seen[name] = len(values)
            if worse():
                self._stop_training([body])

    def _definition_of(self, body: dict[str, Any]) -> dict[str, Any]:
        name = body["_Tuning"].get("Definition")
        return next(d for d in self._definitions if d.get("DefinitionName") == name)

    def _values(self, body: dict[str, Any]) -> list[float]:
        """Return all values of the objective metric that a training job has printed so far."""
        metric = body["_Tuning"]["Objective"]["MetricName"]
        run = self.service.runs.get(body["TrainingJobArn"])
        if isinstance(run, training.TrainingRun):
            return list(run.metrics.values[metric])
        kept: list[float] = body.get("_MetricValues", {}).get(metric, [])
        return kept


def _described(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, **training_jobs.progress(training_jobs.of(service, body[f"{_KIND}Arn"]))}


@operation(
    "CreateHyperParameterTuningJob",
    differs="Hyperband stops training jobs by asynchronous successive halving; `ScalingType` "
    "`Auto` is `Linear`; `Bayesian`, warm start, Autotune and the detection of convergence are "
    "refused",
)
def _create(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Starts training jobs with hyperparameters from ranges, to find the best."""
    checks.check(service, request)
    seed = request["HyperParameterTuningJobConfig"].get("RandomSeed", secrets.randbelow(2**31))
    body = resources.create(
        service,
        _KIND,
        request,
        **{f"{_KIND}Status": "InProgress", "_Seed": seed, **training_jobs.progress([])},
    )
    TuningRun(service, body).start()
    return body


@operation("DescribeHyperParameterTuningJob")
def _describe(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Shows a tuning job, how many of its training jobs are in which state, and the best one."""
    return _described(service, resources.require(service, _KIND, request[f"{_KIND}Name"]))


@operation("ListHyperParameterTuningJobs")
def _list(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists tuning jobs."""
    found = resources.list_resources(service, _KIND, request)
    summaries = [
        {
            **_described(service, body),
            "Strategy": body["HyperParameterTuningJobConfig"]["Strategy"],
            "ResourceLimits": body["HyperParameterTuningJobConfig"]["ResourceLimits"],
        }
        for body in found["HyperParameterTuningJobSummaries"]
    ]
    return {**found, "HyperParameterTuningJobSummaries": summaries}


@operation("ListTrainingJobsForHyperParameterTuningJob")
def _list_training(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Lists the training jobs of a tuning job with what was tuned and the objective metric."""
    tuning = resources.require(service, _KIND, request[f"{_KIND}Name"])
    sort_by = request.get("SortBy", "Name")
    by_value = sort_by == "FinalObjectiveMetricValue"
    bodies = [
        body
        for body in training_jobs.of(service, tuning[f"{_KIND}Arn"])
        if request.get("StatusEquals", body["TrainingJobStatus"]) == body["TrainingJobStatus"]
        # API reference: those without a value are then left out
        and not (by_value and training_jobs.objective_value(body) is None)
    ]
    members = {"CreationTime": "CreationTime", "Status": "TrainingJobStatus"}
    member = members.get(sort_by, "TrainingJobName")

    def key(summary: dict[str, Any]) -> tuple[Any, str]:
        value = summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
        return (value if by_value else summary[member]), summary["TrainingJobArn"]

    return resources.page(
        "ListTrainingJobsForHyperParameterTuningJob",
        [training_jobs.summary(body) for body in bodies],
        request,
        key,
        descending=request.get("SortOrder") == "Descending",
    )


@operation("StopHyperParameterTuningJob")
def _stop(service: Service, request: dict[str, Any]) -> None:
    """Stops a tuning job and its training jobs."""
    body = resources.require(service, _KIND, request[f"{_KIND}Name"])
    bodies = training_jobs.of(service, body[f"{_KIND}Arn"])
    jobs.stop_job(service, _KIND, request[f"{_KIND}Name"], **training_jobs.progress(bodies))


@operation("DeleteHyperParameterTuningJob")
def _delete(service: Service, request: dict[str, Any]) -> None:
    """Deletes a tuning job that has ended; its training jobs stay."""
    resources.require(service, _KIND, request[f"{_KIND}Name"])
    jobs.delete_job(service, _KIND, request[f"{_KIND}Name"])


def resume(service: Service) -> None:
    """Go on with the tuning jobs that a former process left."""
    for status in jobs.RUNNING:
        for body in service.store.list(_KIND, **{f"{_KIND}Status": status}):
            run = TuningRun(service, body)
            run.start()
            if status == "Stopping":
                run.stop()
