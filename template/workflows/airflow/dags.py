"""What the DAGs of dags/usecase_dags are told: all that is known when they are deployed, as JSON.

Airflow has its own Python and packages, and nothing of this repository but that folder. So a DAG
finds the requests of its tasks beside its file, with Jinja for what is known only while it runs:
https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html
"""

from collections.abc import Mapping, Sequence

from workflows import jobs, keys
from workflows.jobs import Body, Settings
from workflows.placeholders import fill


def workflow(
    settings: Settings,
    name: str,
    description: str,
    parameters: Mapping[str, str | float],
    requests: Body,
) -> Body:
    """What a DAG is told.

    Args:
        settings: Where it runs.
        name: Its name.
        description: What it does.
        parameters: What a run can be given, with what it is otherwise.
        requests: The requests of its tasks by their names, with placeholders.
    """
    names = settings.names
    return {
        "name": name,
        "dag": names.dag(name),
        "project": names.prefix,
        "environment": names.airflow,
        "bucket": settings.bucket,
        "ended": keys.ENDED,
        "description": description,
        "parameters": dict(parameters),
        "requests": fill(requests, _expression, _join),
        # The job stops itself first, and says so; this is for one whose end is never heard of.
        "timeout_seconds": jobs.MAX_RUNTIME_SECONDS + 1800,
    }


def function(arn: str, payload: Body) -> Body:
    """The request of a task that calls a function."""
    return {"FunctionName": arn, "Payload": payload}


def _expression(placeholder: str) -> str:
    """A placeholder in Jinja; a task's result is in XCom."""
    match placeholder.split("."):
        case ["execution"]:
            return _jinja("execution(run_id)")
        case ["parameter", name]:
            return _jinja(f"params.{name}")
        case ["output" | "result", step, name]:
            return _jinja(f"ti.xcom_pull('{step}')['{name}']")
        case ["model", step]:
            return _jinja(f"ti.xcom_pull('{step}')['model']")
    raise ValueError(f"@{{{placeholder}}} means nothing to Airflow")


def _jinja(expression: str) -> str:
    return " ".join(("{" * 2, expression, "}" * 2))


def _join(parts: Sequence[str]) -> str:
    """Text and expressions side by side are a template themselves."""
    return "".join(parts)
