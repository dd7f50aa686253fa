"""The monitoring workflow."""

from workflows import jobs
from workflows.jobs import Body, Settings
from workflows.monitors import MONITORS, PARAMETERS, Monitor
from workflows.step_functions.states import (
    CATCH,
    OUTPUTS,
    PAYLOAD,
    REASON,
    branch,
    function,
    job,
    jsonata,
    machine,
)


def definition(settings: Settings, inputs_function: str, violations_function: str) -> Body:
    """Run every monitor on the predictions of one version in a window of time.

    A monitor that fails does not keep the others from coming to their end.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds what a monitor has to look at.
        violations_function: ARN of the Lambda function that counts what it has found.
    """
    return machine(
        settings.names,
        f"Runs the monitors of {settings.names.prefix} on what one version predicted in a window "
        "of time",
        PARAMETERS,
        {
            "Monitors": {
                "Type": "Parallel",
                "Branches": [
                    branch(_states(settings, monitor, inputs_function, violations_function))
                    for monitor in MONITORS
                ],
                "Output": {"failed": jsonata("[$states.result.failed]")},
                "Next": "AllCameToTheirEnd",
            },
            "AllCameToTheirEnd": {
                "Type": "Choice",
                "Choices": [
                    {"Condition": jsonata("$count($states.input.failed) > 0"), "Next": "Failed"}
                ],
                "Default": "Done",
            },
            "Done": {"Type": "Succeed"},
            "Failed": {
                "Type": "Fail",
                "Error": "MonitorFailed",
                "Cause": jsonata("$join($states.input.failed, '; ')"),
            },
        },
    )


def _states(
    settings: Settings, monitor: Monitor, inputs_function: str, violations_function: str
) -> Body:
    """Find what there is to look at; if there is anything, look at it and count violations."""
    failed = f"{monitor.step}Failed"
    catch = [CATCH[0] | {"Next": failed}]
    counts = [f"${monitor.inputs_step}.{name}_count > 0" for name in monitor.inputs]
    return {
        monitor.inputs_step: function(inputs_function, jobs.monitor_inputs(settings, monitor))
        | {
            "Assign": {monitor.inputs_step: PAYLOAD},
            "Next": f"{monitor.step}Due",
            "Catch": catch,
        },
        f"{monitor.step}Due": {
            "Type": "Choice",
            "Choices": [{"Condition": jsonata(" and ".join(counts)), "Next": monitor.step}],
            "Default": f"{monitor.step}NothingToDo",
        },
        monitor.step: job("Processing", jobs.monitor(settings, monitor))
        | {
            "Assign": {monitor.step: OUTPUTS},
            "Next": f"{monitor.step}Violations",
            "Catch": catch,
        },
        f"{monitor.step}Violations": function(violations_function, jobs.monitor_violations(monitor))
        | {"Output": PAYLOAD, "End": True, "Catch": catch},
        f"{monitor.step}NothingToDo": {"Type": "Succeed", "Output": {}},
        failed: {"Type": "Pass", "Output": {"failed": REASON}, "End": True},
    }
