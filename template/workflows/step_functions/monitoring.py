"""The monitoring workflow."""

from workflows import jobs
from workflows.jobs import DUE, INPUTS, MONITOR, RESULTS, Body, Settings
from workflows.placeholders import EXECUTION
from workflows.step_functions.states import (
    CATCH,
    FAILED,
    PAYLOAD,
    function,
    job,
    jsonata,
    machine,
)


def definition(settings: Settings, inputs_function: str, results_function: str) -> Body:
    """Run the monitors on the predictions of one version, each in its window of time.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds what they have to look at.
        results_function: ARN of the Lambda function that publishes what they have found.
    """
    return machine(
        settings.names,
        f"Runs the monitors of {settings.names.prefix} on what one version has predicted",
        jobs.MONITORING_PARAMETERS,
        {
            INPUTS: function(inputs_function, jobs.monitor_inputs())
            | {"Assign": {INPUTS: PAYLOAD}, "Next": DUE, "Catch": CATCH},
            DUE: {
                "Type": "Choice",
                "Choices": [{"Condition": jsonata(f"${INPUTS}.due > 0"), "Next": MONITOR}],
                "Default": "NothingToDo",
            },
            MONITOR: job("Processing", jobs.monitor(settings)) | {"Next": RESULTS, "Catch": CATCH},
            RESULTS: function(results_function, {"execution": EXECUTION})
            | {"End": True, "Catch": CATCH},
            "NothingToDo": {"Type": "Succeed"},
            "Failed": FAILED,
        },
    )
