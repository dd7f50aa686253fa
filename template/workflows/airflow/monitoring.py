"""The monitoring workflow: what dags/usecase_dags/monitoring.py is told."""

from workflows import jobs
from workflows.airflow.dags import function, workflow
from workflows.jobs import INPUTS, MONITOR, RESULTS, Body, Settings
from workflows.placeholders import EXECUTION


def definition(settings: Settings, inputs_function: str, results_function: str) -> Body:
    """Run the monitors on the predictions of one version, each in its window of time.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds what they have to look at.
        results_function: ARN of the Lambda function that publishes what they have found.
    """
    return workflow(
        settings,
        settings.names.monitoring,
        f"Runs the monitors of {settings.names.prefix} on what one version has predicted",
        jobs.MONITORING_PARAMETERS,
        {
            INPUTS: function(inputs_function, jobs.monitor_inputs()),
            MONITOR: jobs.monitor(settings),
            RESULTS: function(results_function, {"execution": EXECUTION}),
        },
    )
