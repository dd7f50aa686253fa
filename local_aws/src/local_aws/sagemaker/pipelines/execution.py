"""One execution of a pipeline: which step runs when, and what is recorded of it.

Everything that is known of an execution is in the store at every moment; a step's properties are
found through its Metadata. The memory holds only which threads run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.sagemaker.core import events
from local_aws.sagemaker.core.resources import require
from local_aws.sagemaker.core.texts import shorten
from local_aws.sagemaker.pipelines import callback, steps
from local_aws.sagemaker.pipelines.definition import Definition, Step, parse
from local_aws.sagemaker.pipelines.expressions import EvaluationError, Evaluator
from local_aws.sagemaker.pipelines.retries import Retries
from local_aws.sagemaker.pipelines.steps import Result, StepFailed, StepStopped, Turn
from local_aws.sagemaker.pipelines.versions import require_version

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

EXECUTION = "PipelineExecution"
STEP = "PipelineExecutionStep"
RUNNING = ("Executing", "Stopping")
"""PipelineExecutionStatus of an execution that has not ended."""

_MAX_REASON = 1024
_MAX_PARALLEL_STEPS = 50
_POLL_SECONDS = 0.05
_RESET = dict.fromkeys(
    ("EndTime", "FailureReason", "Metadata", "CacheHitResult", "SelectiveExecutionResult")
)
"""What is forgotten of a step that starts again."""
_log = logging.getLogger(__name__)
_closing: WeakSet[Service] = WeakSet()


def close(service: Service) -> None:
    """Make the threads of all executions end; `fail_interrupted` deals with them at next start."""
    _closing.add(service)


def fail_interrupted(service: Service) -> None:
    """Mark as Failed what a process that has ended left running."""
    reason = (
        "The local AWS stopped while the execution was running. RetryPipelineExecution runs the "
        "steps again that did not succeed."
    )
    for running in RUNNING:
        for execution in service.store.list(EXECUTION, PipelineExecutionStatus=running):
            arn = execution["PipelineExecutionArn"]
            callback.forget(service.store, arn)
            for step in steps_of(service, arn):
                if step["StepStatus"] in ("Starting", "Executing", "Stopping"):
                    record(service, step, "Failed", FailureReason=reason)
            service.set_status(EXECUTION, arn, "Failed", FailureReason=reason)


def steps_of(service: Service, execution: str) -> list[dict[str, Any]]:
    """Return the stored steps of an execution: those that started, or whose results are reused."""
    return service.store.list_under(STEP, execution)


def record(service: Service, step: Mapping[str, Any], status: str, **fields: object) -> None:
    """Store a step's new status and send its event; `step` is new or as it is stored."""
    execution, name = step["PipelineExecutionArn"], step["StepName"]
    key = f"{execution}/{name}"
    if status in ("Succeeded", "Failed", "Stopped"):
        fields["EndTime"] = time.time()
    with service.store.transaction():
        before = service.store.get(STEP, key)
        if before is None:
            service.store.insert(STEP, key, key, dict(step))
        elif before["StepStatus"] == status and not fields:
            return
        body = service.store.update(STEP, key, **{**fields, "StepStatus": status})
        previous = before["StepStatus"] if before else None
        if status != previous:
            pipeline = execution.partition("/execution/")[0]
            service.send(events.pipeline_step_change(body, previous, pipeline, execution))


class _Interrupted(Exception):  # noqa: N818 - ends a thread, is never reported
    """The local AWS stops; what runs is left as it is stored."""


class Execution:
    """Runs the steps of one stored execution."""

    def __init__(self, service: Service, arn: str) -> None:
        """Read the execution and its version of the definition from the store."""
        stored = require(service, EXECUTION, arn)
        version = require_version(service, stored, stored["PipelineVersionId"])
        self._service, self._arn, self._stored = service, arn, stored
        self._role: str = version["RoleArn"]
        self._definition: Definition = parse(version["PipelineDefinition"])
        self._evaluator = Evaluator(
            stored["Parameters"], self._variables, self._properties, self._property_file, self._read
        )
        self._succeeded = {
            step["StepName"] for step in steps_of(service, arn) if step["StepStatus"] == "Succeeded"
        }
        chosen = stored.get("SelectiveExecutionConfig", {}).get("SelectedSteps")
        names = set(self._definition.steps)
        if chosen is not None:
            names &= {step["StepName"] for step in chosen}
        self._pending = {
            name: step
            for name, step in self._definition.steps.items()
            if name in names - self._succeeded
        }
        # What a selected step only waits for need not have run.
        self._known = names | self._succeeded
        self._skipped: set[str] = set()
        self._failures: dict[str, str] = {}
        self._ended: SimpleQueue[str] = SimpleQueue()

    def run(self) -> None:
        """Run until no step is left that may run, then store the execution's end."""
        running = 0
        while self._service not in _closing:
            while running < self._limit() and (step := self._next()):
                self._service.submit(self._run_step, step)
                running += 1
            if not running:
                break
            self._ended.get()
            running -= 1
        if self._service not in _closing:
            self._finish()

    def _limit(self) -> int:
        """How many steps may run at once; UpdatePipelineExecution may change it."""
        stored = self._service.store.get(EXECUTION, self._arn) or {}
        limit: int = stored.get("ParallelismConfiguration", {}).get(
            "MaxParallelExecutionSteps", _MAX_PARALLEL_STEPS
        )
        return limit

    def _next(self) -> Step | None:
        """Take the next step that can start; put aside those that never will."""
        if self._failures or self._stopping():
            return None
        progress = True
        while progress:
            progress = False
            for name, step in list(self._pending.items()):
                if self._never_runs(step):
                    self._skipped.add(name)
                    del self._pending[name]
                    progress = True
                elif step.depends_on & self._known <= self._succeeded:
                    return self._pending.pop(name)
        return None

    def _never_runs(self, step: Step) -> bool:
        """Whether a step stands in a branch not taken, or waits for one that does."""
        if step.depends_on & self._skipped:
            return True
        if step.condition is None or step.condition not in self._succeeded:
            return False
        outcome: str = self._properties(step.condition)["Outcome"]
        return (outcome == "True") != step.branch

    def _run_step(self, step: Step) -> None:
        before = self._service.store.get(STEP, f"{self._arn}/{step.name}") or {}
        body = {
            "PipelineExecutionArn": self._arn,
            "StepName": step.name,
            "StepType": step.type,
            "StepDisplayName": step.body.get("DisplayName"),
            "StepDescription": step.body.get("Description"),
            "StepStatus": "Starting",
            "StartTime": time.time(),
            "AttemptCount": before.get("AttemptCount", 0) + 1,
        }
        body = {key: value for key, value in body.items() if value is not None}
        try:
            record(self._service, body, "Starting", **(body | _RESET if before else {}))
            record(self._service, body, "Executing")
            result = self._attempts(step, body)
        except _Interrupted:
            pass
        except StepStopped:
            record(self._service, body, "Stopped")
        except StepFailed as error:
            self._fail(body, str(error))
        except Exception as error:
            # A fault of this program: the execution must still end, and say so.
            _log.exception("step %s of %s", step.name, self._arn)
            self._fail(body, f"InternalServerError: {error!r}")
        else:
            hit = {"SourcePipelineExecutionArn": result.cached_from} if result.cached_from else None
            record(self._service, body, "Succeeded", Metadata=result.metadata, CacheHitResult=hit)
            self._succeeded.add(step.name)
        finally:
            self._ended.put(step.name)

    def _attempts(self, step: Step, body: dict[str, Any]) -> Result:
        """Run a step, again and again as its retry policies say."""

        def report(metadata: dict[str, Any], status: str = "Executing") -> None:
            record(self._service, body, status, Metadata=metadata)

        turn = Turn(
            self._service, step, self._arn, self._role, self._evaluator, self._must_stop, report
        )
        retries = Retries(step.body.get("RetryPolicies") or [])
        while True:
            try:
                return steps.run(turn)
            except StepFailed as error:
                delay = retries.delay(error.exception_type)
                if delay is None:
                    raise
            end = time.monotonic() + delay
            while (left := end - time.monotonic()) > 0:
                if self._must_stop():
                    raise StepStopped
                time.sleep(min(left, _POLL_SECONDS))
            body["AttemptCount"] += 1
            record(self._service, body, "Executing", AttemptCount=body["AttemptCount"])

    def _fail(self, step: Mapping[str, Any], reason: str) -> None:
        reason = shorten(reason, _MAX_REASON)
        self._failures[step["StepName"]] = reason
        record(self._service, step, "Failed", FailureReason=reason)

    def _finish(self) -> None:
        if self._failures:
            name, reason = next(iter(self._failures.items()))
            text = f"Step failure: One or multiple steps failed. Step '{name}': {reason}"
            self._service.set_status(EXECUTION, self._arn, "Failed", FailureReason=text)
            return
        with self._service.store.transaction():
            # A stop that was accepted is never answered with Succeeded.
            end = "Stopped" if self._stopping() else "Succeeded"
            self._service.set_status(EXECUTION, self._arn, end)

    def _stopping(self) -> bool:
        stored = self._service.store.get(EXECUTION, self._arn)
        return stored is None or stored["PipelineExecutionStatus"] == "Stopping"

    def _must_stop(self) -> bool:
        if self._service in _closing:
            raise _Interrupted
        return self._stopping()

    # What expressions read

    def _variables(self) -> Mapping[str, str]:
        return {
            "CurrentDateTime": _iso(time.time()),
            "PipelineArn": self._stored["PipelineArn"],
            "PipelineExecutionArn": self._arn,
            "PipelineExecutionId": self._arn.rpartition("/")[2],
            "PipelineName": self._stored["PipelineName"],
            "StartDateTime": _iso(self._stored["CreationTime"]),
        }

    def _properties(self, name: str) -> Mapping[str, Any]:
        stored = self._service.store.get(STEP, f"{self._arn}/{name}")
        if stored is None or "Metadata" not in stored:
            raise EvaluationError(f"Step '{name}' did not run.")
        return steps.properties(self._service, self._definition.steps[name], stored["Metadata"])

    def _property_file(self, step: str, name: str) -> str:
        declared = self._definition.steps[step].property_file(name)
        if declared is None:
            raise EvaluationError(f"Step '{step}' declares no property file '{name}'.")
        outputs = self._properties(step)["ProcessingOutputConfig"]["Outputs"]
        for output in outputs:
            if output["OutputName"] == declared["OutputName"]:
                folder: str = output["S3Output"]["S3Uri"]
                return f"{folder.rstrip('/')}/{declared['FilePath']}"
        raise EvaluationError(f"Step '{step}' has no output '{declared['OutputName']}'.")

    def _read(self, uri: str) -> bytes:
        place = urlsplit(uri)
        try:
            response = self._service.client("s3", self._role).get_object(
                Bucket=place.netloc, Key=place.path.lstrip("/")
            )
            content: bytes = response["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise EvaluationError(f"{uri} could not be read: {error}") from error
        return content


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
