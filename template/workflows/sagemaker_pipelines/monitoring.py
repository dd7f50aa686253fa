"""The monitoring pipeline."""

from workflows import jobs
from workflows.jobs import Body, Settings
from workflows.monitors import MONITORS, Monitor
from workflows.placeholders import result
from workflows.sagemaker_pipelines.steps import Step, compare, condition, function, job, pipeline


def definition(settings: Settings, inputs_function: str, violations_function: str) -> Body:
    """Run every monitor on the predictions of a window of time.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds what a monitor has to look at.
        violations_function: ARN of the Lambda function that counts what it has found.
    """
    return pipeline(
        # SageMaker refuses an empty string as a parameter.
        parameters=[
            {"Name": "WindowStart", "Type": "String", "DefaultValue": "auto"},
            {"Name": "WindowEnd", "Type": "String", "DefaultValue": "auto"},
        ],
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
    looks_at = {"baseline": "String", "start": "String", "end": "String"}
    for name in monitor.inputs:
        looks_at |= {name: "String", f"{name}_count": "Integer"}
    find = function(
        monitor.inputs_step, inputs_function, jobs.monitor_inputs(settings, monitor), looks_at
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
