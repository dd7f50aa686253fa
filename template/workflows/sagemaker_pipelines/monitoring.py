"""The monitoring pipeline."""

from workflows import jobs
from workflows.jobs import Body, Settings
from workflows.monitors import MONITORS, PARAMETERS, Monitor
from workflows.placeholders import result
from workflows.sagemaker_pipelines.steps import Step, compare, condition, function, job, pipeline


def definition(settings: Settings, inputs_function: str, violations_function: str) -> Body:
    """Run every monitor on the predictions of one version in a window of time.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds what a monitor has to look at.
        violations_function: ARN of the Lambda function that counts what it has found.
    """
    return pipeline(
        PARAMETERS,
        steps=[
            step
            for monitor in MONITORS
            for step in _monitor_steps(settings, monitor, inputs_function, violations_function)
        ],
    )


def _monitor_steps(
    settings: Settings, monitor: Monitor, inputs_function: str, violations_function: str
) -> list[Step]:
    """Find what there is to look at; if there is anything, look at it and count violations."""
    find = function(
        monitor.inputs_step, inputs_function, jobs.monitor_inputs(settings, monitor), monitor.found
    )
    count = function(
        f"{monitor.step}Violations",
        violations_function,
        jobs.monitor_violations(monitor),
        {"violations": "Integer"},
    )
    due = condition(
        f"{monitor.step}Due",
        [
            compare("GreaterThan", result(monitor.inputs_step, f"{name}_count"), 0)
            for name in monitor.inputs
        ],
        then=[job(monitor.step, "Processing", jobs.monitor(settings, monitor)), count],
        otherwise=[],
    )
    return [find, due]
