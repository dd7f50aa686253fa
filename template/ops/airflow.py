"""Start and follow runs of the DAGs, by Airflow's REST API."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from lambdas import Execution
from lambdas import airflow as dags
from ops import OpsError
from workflows import names

if TYPE_CHECKING:
    from types_boto3_mwaa import MWAAClient

END = "End"
ACTIVE = ("running", "deferred", "up_for_retry", "up_for_reschedule")


@cache
def client() -> "MWAAClient":
    """The client of Managed Workflows for Apache Airflow."""
    return boto3.client("mwaa", region_name=names.REGION)


def start(workflow: str, parameters: Mapping[str, str]) -> str:
    """Start a run and return its reference.

    Raises:
        OpsError: When the workflow has no such parameter, or it is not a number as it should be.
    """
    # A UUID with hyphens: the ids that functions make have none there.
    environment, run = names.current().airflow, f"manual-{uuid.uuid4()}"
    conf = typed(environment, workflow, parameters)
    body = {"dag_run_id": run, "logical_date": None, "conf": conf}
    dags.call(client(), environment, f"POST /dags/{workflow}/dagRuns", Body=body)
    return f"{environment}/{workflow}/{run}"


def typed(environment: str, workflow: str, given: Mapping[str, str]) -> dict[str, str | float]:
    """Parameters as the DAG takes them: command lines have numbers as text.

    Raises:
        OpsError: When the workflow has no such parameter, or it is not a number as it should be.
    """
    known = dags.call(client(), environment, f"GET /dags/{workflow}/details")["params"]
    found: dict[str, str | float] = {}
    for name, text in given.items():
        if name not in known:
            raise OpsError(f"{workflow} has no parameter {name}; it has {', '.join(known)}")
        number = known[name]["schema"].get("type") == "number"
        try:
            found[name] = float(text) if number else text
        except ValueError:
            raise OpsError(f"{name}: {text!r} is not a number") from None
    return found


def executions(workflow: str) -> list[Execution]:
    """The runs of a workflow, newest first, without their details."""
    return list(dags.executions(f"{names.current().airflow}/{workflow}", client()))


def describe(reference: str) -> Execution:
    """The state of a run now."""
    environment, path = dags.run_path(reference)
    run = dags.call(client(), environment, f"GET {path}")
    found = dags.execution(reference.rpartition("/")[0], run)
    if found.status == "succeeded":
        return found
    tasks = dags.call(client(), environment, f"GET {path}/taskInstances")["task_instances"]
    if found.status == "running":
        running = [task["task_id"] for task in tasks if task["state"] in ACTIVE]
        return replace(found, running=[task for task in running if task != END])
    outcome = ended(environment, path)
    if outcome is None:
        failed = [task["task_id"] for task in tasks if task["state"] == "failed"]
        return replace(found, reason=f"{', '.join(failed)}: see the log in Airflow")
    if found.status == "failed":
        found = replace(found, status=outcome["status"])
    return replace(found, reason=outcome["reason"])


def ended(environment: str, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """What the last task of a run has found of its end, `None` if it did not come so far."""
    try:
        found = dags.call(
            client(), environment, f"GET {path}/taskInstances/{END}/xcomEntries/outcome"
        )
    except client().exceptions.RestApiClientException as error:
        if error.response.get("RestApiStatusCode") == dags.NOT_FOUND:
            return None
        raise
    value = found["value"]
    return json.loads(value) if isinstance(value, str) else value


def stop(reference: str) -> None:
    """Stop a run, unless it has ended; its last task stops its jobs."""
    environment, path = dags.run_path(reference)
    if dags.call(client(), environment, f"GET {path}")["state"] not in dags.ENDED:
        body = {"state": "failed", "note": f"{dags.STOPPED} by `ops`"}
        dags.call(client(), environment, f"PATCH {path}", Body=body)
