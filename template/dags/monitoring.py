"""Runs the monitors on what one version has predicted, each in its window of time."""

from typing import Any

from airflow.sdk import task

from usecase_dags.workflows import load

WORKFLOW = load(__file__)
DUE = "Due"


@task.short_circuit(task_id=DUE)
def due(found: dict[str, Any]) -> bool:
    """Whether a monitor has something to look at; else what follows is skipped."""
    return bool(found["due"] > 0)


with WORKFLOW.start(__doc__) as dag:
    inputs = WORKFLOW.function("Inputs")
    monitor = WORKFLOW.processing("Monitor")
    results = WORKFLOW.function("Results")
    due(inputs.output) >> monitor >> results
    WORKFLOW.end(dag, decides=DUE)
