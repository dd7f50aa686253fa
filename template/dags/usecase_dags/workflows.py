"""What all workflows have in common: what the deployment tells them, and how a run ends."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.hooks.eventbridge import EventBridgeHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import DAG, Param, get_current_context, task

from usecase_dags.jobs import Function, Processing, Training, Transform, prefix, stop_jobs
from usecase_dags.reasons import REASON, fail

END = "End"
DETAIL_TYPE = "Airflow Run Ended"


def execution(run_id: str) -> str:
    """A run's id, as it stands in keys of S3: what people have started has `:` and `+` in it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", run_id)


@dataclass(frozen=True)
class Workflow:
    """A workflow, as `workflows/airflow/` describes it and the deployment has written it.

    Attributes:
        name: Its name.
        dag: The id of its DAG.
        project: What the names of its jobs begin with.
        environment: The environment of MWAA that it runs in.
        bucket: The data bucket.
        ended: What the keys begin with that tell of ends.
        description: What it does.
        parameters: What a run can be given, with what it is otherwise.
        requests: The requests of its tasks, by their names, with Jinja in them.
        timeout_seconds: How long a job may take.
    """

    name: str
    dag: str
    project: str
    environment: str
    bucket: str
    ended: str
    description: str
    parameters: Mapping[str, str | float]
    requests: Mapping[str, Mapping[str, Any]]
    timeout_seconds: int

    def start(self, doc: str | None) -> DAG:
        """The workflow's DAG, without tasks yet."""
        return DAG(
            dag_id=self.dag,
            description=self.description,
            doc_md=doc,
            # EventBridge starts it, by a function: what for is told there, once for each cause.
            schedule=None,
            is_paused_upon_creation=False,
            tags=[self.project],
            params={
                name: Param(default, type="string" if isinstance(default, str) else "number")
                for name, default in self.parameters.items()
            },
            user_defined_macros={"execution": execution},
            # A quota that is used up is tried for half an hour, as other jobs may end.
            default_args={
                "retries": 5,
                "retry_delay": timedelta(minutes=1),
                "retry_exponential_backoff": True,
            },
        )

    def processing(self, name: str) -> Processing:
        """The task that runs a processing job."""
        return Processing(task_id=name, config=self.requests[name], **self._job())

    def training(self, name: str) -> Training:
        """The task that runs a training job."""
        # With print_log it would look at the job every 30 seconds, whatever the interval.
        return Training(task_id=name, config=self.requests[name], print_log=False, **self._job())

    def transform(self, name: str) -> Transform:
        """The task that runs a transform job."""
        return Transform(task_id=name, config=self.requests[name], **self._job())

    def function(self, name: str, trigger_rule: str = "all_success") -> Function:
        """The task that calls a function, unless one before it has failed or was skipped."""
        request = self.requests[name]
        return Function(
            task_id=name,
            function_name=request["FunctionName"],
            body=request["Payload"],
            trigger_rule=trigger_rule,
        )

    def _job(self) -> dict[str, Any]:
        interval = conf.getfloat("usecase", "check_interval", fallback=30.0)
        return {
            "project": self.project,
            "check_interval": interval,
            # The job stops itself first, and says so.
            "execution_timeout": timedelta(seconds=self.timeout_seconds),
            "max_attempts": math.ceil(self.timeout_seconds / interval),
            "action_if_job_exists": "fail",
        }

    def end(self, dag: DAG, decides: str | None = None) -> None:
        """Put the last task into the DAG: it stops what still runs, and tells how the run ended.

        As a teardown it runs whatever happens, also when somebody marks the run as failed. Airflow
        skips the tasks that were to come then, and would call that a success.

        Args:
            dag: The DAG, with all its other tasks.
            decides: The task that may find that there is nothing to do, which skips others.
        """
        last = tell_end(
            {"workflow": self.name, "project": self.project, "environment": self.environment},
            {"bucket": self.bucket, "prefix": f"{self.ended}{self.dag}/"},
            decides,
        )
        for one in list(dag.tasks):
            if one.task_id != END:
                one.set_downstream(last)
        last.as_teardown(on_failure_fail_dagrun=True)


def load(file: str) -> Workflow:
    """The workflow of a DAG file: the deployment puts it beside that, as JSON.

    Args:
        file: The DAG file.
    """
    return Workflow(**json.loads(Path(file).with_suffix(".json").read_text()))


@task(task_id=END, trigger_rule="all_done")
def tell_end(run_of: dict[str, str], to: dict[str, str], decides: str | None) -> str:
    """Stop what still runs of a run, and tell `ops` and EventBridge how it has ended.

    Args:
        run_of: `workflow`, its name; `project`, what the names of its jobs begin with;
            `environment`, that of MWAA.
        to: `bucket`, and the `prefix` of what is written there.
        decides: The task that may find that there is nothing to do.

    Raises:
        AirflowFailException: When it has not succeeded; so the run has failed, too.
        RuntimeError: When EventBridge does not take the event.
    """
    context = get_current_context()
    ti: Any = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    others = {one: str(state) for one, state in states.items() if one != END}
    reasons = reasons_of(ti, others)  # before the jobs are stopped, which may become one
    stopped = stop_jobs(prefix(run_of["project"], ti.dag_id, ti.run_id))
    idle = decides is not None and ti.xcom_pull(task_ids=decides) is False
    status, reason = outcome(others, reasons, idle, stopped)
    told = {"status": status, "reason": reason}
    key = f"{to['prefix']}{ti.run_id}.json"
    S3Hook(aws_conn_id=None).load_string(json.dumps(told), key, to["bucket"], replace=True)
    reference = f"{run_of['environment']}/{ti.dag_id}/{ti.run_id}"
    detail = {"workflow": run_of["workflow"], "execution": reference, **told}
    entry = {"Source": run_of["project"], "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}
    answer = EventBridgeHook(aws_conn_id=None).conn.put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        raise RuntimeError(f"EventBridge has not taken the event: {answer['Entries']}")
    if status != "succeeded":
        fail(context, f"{status}: {reason}" if reason else status)
    return status


def reasons_of(ti: Any, states: Mapping[str, str]) -> dict[str, str]:  # noqa: ANN401 - Airflow has no public type
    """Why tasks have failed, as far as they have left it."""
    failed = [one for one, state in states.items() if state == "failed"]
    found = {one: ti.xcom_pull(task_ids=one, key=REASON) for one in failed}
    return {one: reason for one, reason in found.items() if reason}


def outcome(
    states: Mapping[str, str], reasons: Mapping[str, str], idle: bool, stopped: list[str]
) -> tuple[str, str]:
    """How a run has ended, and why.

    Args:
        states: The states of its tasks but the last.
        reasons: Why tasks have failed, as far as they have said so.
        idle: Whether a task has decided that there is nothing to do, and so that others are
            skipped.
        stopped: The jobs that still ran, though no task waited for them any more.

    Returns:
        `succeeded`, `failed` or `stopped`, and the reason, empty where there is none.
    """
    if reasons:
        return "failed", "; ".join(reasons.values())
    failed = [one for one, state in states.items() if state == "failed"]
    # When somebody marks the run as failed, what runs is failed and what was to come is skipped.
    # After a failure of its own, what was to come is `upstream_failed`.
    skipped = "skipped" in states.values() and not idle
    if stopped or skipped:
        return "stopped", ""
    if failed:
        return "failed", f"{', '.join(failed)}: see the log in Airflow"
    return "succeeded", ""
