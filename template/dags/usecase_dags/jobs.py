"""The provider's operators for SageMaker's jobs and for functions, as the workflows use them.

A job has a name of its own for each run, task and try. One that has failed would fail again, so it
is not tried again: its reason, with the last lines of its log, is that of the task.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.logs import AwsLogsHook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerBaseOperator,
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
)
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.exceptions import ClientError

from usecase_dags.reasons import fail, told

KINDS = ("Processing", "Training", "Transform")
LINES = 5
"""So many lines of a job's log are told."""


def prefix(project: str, dag_id: str, run_id: str) -> str:
    """What the names of all jobs of a run begin with.

    The names of resources have at most 63 characters, and a run's id may have 250.
    """
    digest = hashlib.sha256(f"{dag_id} {run_id}".encode()).hexdigest()
    return f"{project}-{digest[:10]}-"


def stop_jobs(names_begin_with: str) -> list[str]:
    """Stop the jobs that run and whose names begin like this; their names."""
    client = SageMakerHook(aws_conn_id=None).get_conn()
    stopped = []
    for kind in KINDS:
        pages = client.get_paginator(f"list_{kind.lower()}_jobs").paginate(
            NameContains=names_begin_with, StatusEquals="InProgress"
        )
        for job in (job for page in pages for job in page[f"{kind}JobSummaries"]):
            name = job[f"{kind}JobName"]
            if name.startswith(names_begin_with):
                stop_job(client, kind, name)
                stopped.append(name)
    return stopped


def stop_job(client: Any, kind: str, name: str) -> None:  # noqa: ANN401 - boto3 makes its types
    """Stop a job, unless it has ended or was never started."""
    try:
        getattr(client, f"stop_{kind.lower()}_job")(**{f"{kind}JobName": name})
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ResourceNotFound", "ValidationException"):
            raise


class Job(SageMakerBaseOperator):
    """What the operators of all kinds of jobs do alike.

    Attributes:
        kind: The kind, as it stands in SageMaker's operations.
        project: What the names of jobs begin with.
    """

    kind: str

    def __init__(self, *, project: str, config: Mapping[str, Any], **more: Any) -> None:  # noqa: ANN401 - the provider's
        super().__init__(config=dict(config), aws_conn_id=None, **more)
        self.project = project
        self._killed = False

    def execute(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Run the job, or start it and defer.

        Returns:
            What the tasks after it need of it.

        Raises:
            AirflowFailException: When it has failed, or SageMaker will not take it.
        """
        ti = context["ti"]
        if ti.try_number > 1:
            # The try before may have lost its worker, and not its job.
            stop_jobs(f"{self._names_begin_with(context)}{self.task_id}-")
        self.config[f"{self.kind}JobName"] = self._name(context)
        with told(context):
            return self._ended(context, lambda: super(Job, self).execute(context))

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Mapping[str, Any]
    ) -> dict[str, str]:
        """Go on after a deferral, whether the trigger has found the job's end or has failed itself.

        The provider's own `execute_complete` never hears of a job that has failed.
        """
        resume = super().resume_execution
        with told(context):
            return self._ended(context, lambda: resume(next_method, next_kwargs, context))

    def on_kill(self) -> None:
        """Stop the job when the task is stopped while it waits for it."""
        self._killed = True
        if name := self.config.get(f"{self.kind}JobName"):
            stop_job(self.hook.get_conn(), self.kind, name)

    def results(self, job: Mapping[str, Any]) -> dict[str, str]:
        """What the tasks after it need of a job: nothing, unless its kind says so.

        Args:
            job: The job, as it is described.
        """
        return {"job": job[f"{self.kind}JobName"]}

    def _names_begin_with(self, context: Mapping[str, Any]) -> str:
        return prefix(self.project, context["ti"].dag_id, context["run_id"])

    def _name(self, context: Mapping[str, Any]) -> str:
        ti = context["ti"]
        return f"{self._names_begin_with(context)}{self.task_id}-{ti.try_number}"

    def _ended(self, context: Mapping[str, Any], wait: Callable[[], object]) -> dict[str, str]:
        """Wait for the job's end, unless that is by deferral, and look at how it has ended."""
        name, error = self._name(context), None
        try:
            wait()
        except Exception as raised:  # a deferral is none
            error = raised
        try:
            job = getattr(self.hook.get_conn(), f"describe_{self.kind.lower()}_job")(
                **{f"{self.kind}JobName": name}
            )
        except ClientError as unknown:
            raise error or unknown from None
        status = job[f"{self.kind}JobStatus"]
        if status == "Completed":
            return self.results(job)
        if self._killed:
            raise AirflowFailException("The task was stopped, and its job with it.")
        if status in ("Failed", "Stopped"):
            fail(context, self._reason(name, status, job))
        raise error or AirflowException(f"{name} is {status}")

    def _reason(self, name: str, status: str, job: Mapping[str, Any]) -> str:
        """Why a job has not completed, with the last lines of its log."""
        why, more = job.get("FailureReason") or status, job.get("ExitMessage")
        if more and more not in why:
            why = f"{why}: {more}"
        lines = [line for line in self._log_lines(name) if line not in why]
        return "\n".join([f"{self.task_id}: {why} ({name})", *lines])

    def _log_lines(self, name: str) -> list[str]:
        """The last lines of a job's log, those of each host."""
        logs, group = AwsLogsHook(aws_conn_id=None).conn, f"/aws/sagemaker/{self.kind}Jobs"
        found: list[str] = []
        try:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")
            for stream in streams["logStreams"]:
                events = logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], limit=LINES
                )["events"]
                found += [event["message"].rstrip() for event in events]
        except ClientError as error:
            self.log.warning("The log of %s cannot be read: %s", name, error)
        return found


class Processing(Job, SageMakerProcessingOperator):
    """Runs a processing job; the result has the S3 URI of each output by its name."""

    kind = "Processing"

    def results(self, job: Mapping[str, Any]) -> dict[str, str]:
        """The S3 URIs of the outputs by their names."""
        outputs = job["ProcessingOutputConfig"]["Outputs"]
        return {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs}


class Training(Job, SageMakerTrainingOperator):
    """Runs a training job; the result has the S3 URI of its model.tar.gz."""

    kind = "Training"

    def results(self, job: Mapping[str, Any]) -> dict[str, str]:
        """The S3 URI of the model, as `model`."""
        return {"model": job["ModelArtifacts"]["S3ModelArtifacts"]}


class Transform(Job, SageMakerTransformOperator):
    """Runs a transform job."""

    kind = "Transform"


class Function(LambdaInvokeFunctionOperator):
    """Calls a function; the result is its answer.

    Attributes:
        body: What it is called with; templated.
    """

    template_fields = ("function_name", "body")

    def __init__(self, *, body: Mapping[str, Any], **more: Any) -> None:  # noqa: ANN401 - the provider's
        # A function is asked once: Airflow tries again, not boto3 after a minute.
        once = {"read_timeout": 900, "retries": {"total_max_attempts": 1}}
        super().__init__(aws_conn_id=None, botocore_config=once, **more)
        self.body = dict(body)

    def execute(self, context: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
        """Call the function.

        Raises:
            AirflowFailException: When it has failed; with its own message.
        """
        self.payload = json.dumps(self.body)
        with told(context):
            try:
                return json.loads(super().execute(context))
            except ValueError as error:
                # The provider tells of a function's failure by its answer, as a second argument.
                answer = error.args[1] if len(error.args) > 1 else {}
                payload = answer.get("Payload") if isinstance(answer, dict) else None
                if payload is None:
                    raise
                fail(context, f"{self.task_id}: {json.loads(payload)['errorMessage']}")
