"""Start and follow runs of the DAGs, by Airflow's REST API."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import boto3

from lambdas import Execution
from lambdas import airflow as dags
from ops import OpsError, aws
from workflows import keys, names

if TYPE_CHECKING:
    from types_boto3_mwaa import MWAAClient

END = "End"
ACTIVE = ("running", "deferred", "up_for_retry", "up_for_reschedule")
LONGEST_PATH = 64


@cache
def client() -> "MWAAClient":
    """The client of Managed Workflows for Apache Airflow."""
    return boto3.client("mwaa", region_name=names.REGION)


def start(workflow: str, parameters: Mapping[str, str]) -> str:
    """Start a run and return its reference.

    Raises:
        OpsError: When the workflow has no such parameter, or it is not a number as it should be.
    """
    environment, dag = found_by(workflow).split("/")
    # Not as long as the ids that functions make.
    run = f"manual-{uuid.uuid4().hex[:20]}"
    conf = typed(environment, dag, parameters)
    body = {"dag_run_id": run, "logical_date": None, "conf": conf}
    dags.call(client(), environment, f"POST /dags/{dag}/dagRuns", Body=body)
    return f"{environment}/{dag}/{run}"


def found_by(workflow: str) -> str:
    """The environment and the DAG of a workflow, `<environment>/<DAG>`."""
    return f"{names.current().airflow}/{names.current().dag(workflow)}"


def typed(environment: str, dag: str, given: Mapping[str, str]) -> dict[str, str | float]:
    """Parameters as the DAG takes them: command lines have numbers as text.

    Raises:
        OpsError: When the workflow has no such parameter, or it is not a number as it should be.
    """
    known = dags.call(client(), environment, f"GET /dags/{dag}/details")["params"]
    found: dict[str, str | float] = {}
    for name, text in given.items():
        if name not in known:
            raise OpsError(f"{dag} has no parameter {name}; it has {', '.join(known)}")
        number = known[name]["schema"].get("type") == "number"
        try:
            found[name] = float(text) if number else text
        except ValueError:
            raise OpsError(f"{name}: {text!r} is not a number") from None
    return found


def executions(workflow: str) -> list[Execution]:
    """The runs of a workflow, newest first, without their details."""
    return list(dags.executions(found_by(workflow), client()))


def describe(reference: str) -> Execution:
    """The state of a run now.

    Raises:
        OpsError: When there is no such run.
    """
    environment, dag, run = reference.split("/", 2)
    # Among all: the path of a single one can be too long for MWAA.
    runs = dags.executions(f"{environment}/{dag}", client(), run)
    found = next((one for one in runs if one.reference == reference), None)
    if found is None:
        raise OpsError(f"{environment} has no run {run} of {dag}")
    if found.status == "succeeded":
        return found
    answer = dags.call(
        client(),
        environment,
        f"GET /dags/{dag}/dagRuns/~/taskInstances",
        QueryParameters={"run_id_pattern": run, "limit": dags.PAGE},
    )
    tasks = [task for task in answer["task_instances"] if task["dag_run_id"] == run]
    states = {task["task_id"]: task["state"] for task in tasks}
    if found.status == "running":
        running = [task for task, state in states.items() if state in ACTIVE and task != END]
        return replace(found, running=running)
    # What the last task of the run has left.
    end = aws.find_json(f"s3://{aws.bucket()}/{keys.ENDED}{dag}/{run}.json")
    if end is None:
        failed = [task for task, state in states.items() if state == "failed"]
        return replace(found, reason=f"{', '.join(failed)}: see the log in Airflow")
    status = found.status if found.status == "stopped" else end["status"]
    return replace(found, status=status, reason=end["reason"])


def stop(reference: str) -> None:
    """Stop a run, unless it has ended; its last task stops its jobs.

    Raises:
        OpsError: When MWAA does not take the path of its id, which Airflow has made.
    """
    environment, dag, run = reference.split("/", 2)
    path = f"/dags/{dag}/dagRuns/{run}"
    if describe(reference).status != "running":
        return
    if len(path) > LONGEST_PATH:
        raise OpsError(f"{run}: its id is too long for MWAA; mark it as failed on Airflow's page")
    body = {"state": "failed", "note": f"{dags.STOPPED} by `ops`"}
    dags.call(client(), environment, f"PATCH {path}", Body=body)
