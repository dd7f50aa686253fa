"""The batch workflow."""

from workflows import batch
from workflows.batch import COLLECT, INPUTS, SELECT, TRANSFORM
from workflows.jobs import Body, Settings
from workflows.step_functions.states import (
    CATCH,
    DOCUMENT,
    FAILED,
    OUTPUTS,
    PAYLOAD,
    function,
    job,
    jsonata,
    machine,
    read,
)


def definition(settings: Settings, inputs_function: str, rejections_function: str) -> Body:
    """Score the records of some days with the version that was approved last.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds the version and the days.
        rejections_function: ARN of the Lambda function that counts what was rejected.
    """
    return machine(
        settings.names,
        "Scores the records of some days with the version of "
        f"{settings.names.prefix} approved last",
        {"Start": "auto", "End": "auto"},
        {
            INPUTS: function(inputs_function, batch.inputs(settings))
            | {"Assign": {INPUTS: PAYLOAD}, "Next": SELECT, "Catch": CATCH},
            SELECT: job("Processing", batch.select(settings))
            | {"Assign": {SELECT: OUTPUTS}, "Next": "ReadSelection", "Catch": CATCH},
            "ReadSelection": read(settings, f"${SELECT}.selection", "selection.json")
            | {
                "Assign": {"records": jsonata(f"{DOCUMENT}.records")},
                "Next": "AnyRecords",
                "Catch": CATCH,
            },
            "AnyRecords": {
                "Type": "Choice",
                "Choices": [{"Condition": jsonata("$records > 0"), "Next": TRANSFORM}],
                "Default": "Rejections",
            },
            TRANSFORM: job("Transform", batch.transform(settings))
            | {"Next": COLLECT, "Catch": CATCH},
            COLLECT: job("Processing", batch.collect(settings))
            | {"Next": "Rejections", "Catch": CATCH},
            "Rejections": function(rejections_function, batch.rejections(settings))
            | {"Output": PAYLOAD, "End": True, "Catch": CATCH},
            "Failed": FAILED,
        },
    )
