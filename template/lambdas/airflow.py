"""Airflow: start runs of the workflows, find them again, and say why one has failed."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from lambdas import Execution, Status
from lambdas.mail import Mail, quota_advice

if TYPE_CHECKING:
    from types_boto3_mwaa import MWAAClient

ENDED: dict[str, Status] = {"success": "succeeded", "failed": "failed"}
STOPPED = "Stopped"
"""How the note of a run begins that a person has stopped: Airflow itself calls it failed."""
NAME = re.compile(r"(\w+)-[0-9a-f]{24}")
"""Ids of runs that `start` has started, with their trigger.

They are short, and so are the names of the DAGs: MWAA takes paths of up to 64 characters.
"""
PAGE = 100
WAITS = (0.5, 1, 2, 4)
"""Seconds after which a request is sent again that Airflow has failed at."""
CONFLICT = 409


@cache
def mwaa() -> "MWAAClient":
    """The client of Managed Workflows for Apache Airflow."""
    return boto3.client("mwaa")


def call(client: "MWAAClient", environment: str, request: str, **more: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Send a request to Airflow's REST API.

    Args:
        client: The client.
        environment: Name of the environment.
        request: Method and path, for example `GET /dags`.
        more: `QueryParameters` and `Body`.

    Raises:
        RestApiClientException: When Airflow will not do it; with its status and answer.
        RestApiServerException: When Airflow has failed at it, time and again.
    """
    method: Any
    method, _, path = request.partition(" ")
    for seconds in (*WAITS, None):
        try:
            answer = client.invoke_rest_api(Name=environment, Method=method, Path=path, **more)
            break
        except client.exceptions.RestApiServerException:
            if seconds is None:
                raise
            time.sleep(seconds)
    return answer["RestApiResponse"]


def start(
    workflow: str, trigger: str, idempotency_key: str, parameters: Mapping[str, str] | None = None
) -> str:
    """Start a run.

    Args:
        workflow: The environment and the DAG, `<environment>/<DAG>`.
        trigger: What starts it, a word; also its parameter Trigger.
        idempotency_key: There is one run for it, even for calls at the same time: its id is made of
            it, and Airflow takes an id once.
        parameters: Its other parameters, where they are not to have their defaults.

    Returns:
        The run's reference.
    """
    environment, _, dag = workflow.partition("/")
    digest = hashlib.sha256(idempotency_key.encode()).hexdigest()
    run = f"{trigger}-{digest[:24]}"
    conf = {"Trigger": trigger, **(parameters or {})}
    body = {"dag_run_id": run, "logical_date": None, "conf": conf}
    try:
        call(mwaa(), environment, f"POST /dags/{dag}/dagRuns", Body=body)
    except mwaa().exceptions.RestApiClientException as error:
        if error.response.get("RestApiStatusCode") != CONFLICT:
            raise
    return f"{workflow}/{run}"


def executions(
    workflow: str, client: "MWAAClient | None" = None, like: str = ""
) -> Iterator[Execution]:
    """The runs of a workflow, newest first.

    Args:
        workflow: The environment and the DAG, `<environment>/<DAG>`.
        client: Asks MWAA; that of the function's region unless given.
        like: Only those with an id that has this in it, where Airflow can tell them apart.
    """
    environment, _, dag = workflow.partition("/")
    offset, pattern = 0, {"run_id_pattern": like} if like else {}
    while True:
        page = call(
            client or mwaa(),
            environment,
            f"GET /dags/{dag}/dagRuns",
            QueryParameters={"order_by": "-run_after", "limit": PAGE, "offset": offset} | pattern,
        )
        for run in page["dag_runs"]:
            yield execution(workflow, run)
        offset += PAGE
        if offset >= page["total_entries"]:
            return


def execution(workflow: str, run: Mapping[str, Any]) -> Execution:
    """What Airflow tells of a run: neither why it has failed nor which tasks run.

    Args:
        workflow: The environment and the DAG.
        run: The run, as Airflow's REST API has it.
    """
    status = ENDED.get(run["state"], "running")
    if status == "failed" and (run.get("note") or "").startswith(STOPPED):
        status = "stopped"
    return Execution(
        reference=f"{workflow}/{run['dag_run_id']}",
        status=status,
        # The time of its start is set anew when a task is cleared.
        started=datetime.fromisoformat(run["run_after"]),
        trigger=trigger_in(run["dag_run_id"]),
        parameters={name: str(value) for name, value in (run.get("conf") or {}).items()},
    )


def trigger_in(run: str) -> str:
    """What has started a run, by its id; empty if that was a person."""
    by_trigger = NAME.fullmatch(run)
    return by_trigger[1] if by_trigger else ""


def failed(detail: dict[str, Any]) -> Mail:
    """A run of a workflow has failed."""
    reference, workflow, reason = (detail[key] for key in ("execution", "workflow", "reason"))
    text = f"""\
An execution of {workflow} has failed.

{reason}
{quota_advice(reason)}
{reference}
"""
    # A run that a person has cleared may fail once more, of another try.
    return Mail(f"failed {reference} {reason}", f"{workflow} failed", text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail]] = {"Airflow Run Ended": failed}
