"""The training workflow."""

from workflows import jobs, names
from workflows.jobs import Body, Settings
from workflows.step_functions.states import (
    CATCH,
    DOCUMENT,
    EXECUTION_HASH,
    FAILED,
    MODEL,
    OUTPUTS,
    branch,
    job,
    jsonata,
    machine,
    read,
    request,
)


def definition(settings: Settings) -> Body:
    """Prepare, train, evaluate and describe; register the model if it is good enough."""
    approval = settings.use_case.approval
    passes, misses = (">=", "below") if approval.higher_is_better else ("<=", "above")
    metric = f"{names.QUALITY_METRICS}.{approval.metric}.value"
    return machine(
        settings.names,
        f"Trains the model of {settings.names.prefix} and registers it for approval",
        {"Trigger": "manual", "Threshold": approval.threshold},
        {
            "Prepare": job("Processing", jobs.prepare(settings))
            | {"Assign": {"Prepare": OUTPUTS}, "Next": "Train", "Catch": CATCH},
            "Train": job("Training", jobs.train(settings))
            | {"Assign": {"Train": MODEL}, "Next": "Measure", "Catch": CATCH},
            "Measure": {
                "Type": "Parallel",
                "Branches": [
                    branch(
                        {
                            "Evaluate": job("Processing", jobs.evaluate(settings))
                            | {"Output": OUTPUTS, "End": True}
                        }
                    ),
                    branch(
                        {
                            "Baseline": job("Processing", jobs.baseline(settings))
                            | {"Output": OUTPUTS, "End": True}
                        }
                    ),
                ],
                "Assign": {
                    "Evaluate": jsonata("$states.result[0]"),
                    "Baseline": jsonata("$states.result[1]"),
                },
                "Next": "ReadMetric",
                "Catch": CATCH,
            },
            "ReadMetric": read(settings, "$Evaluate.evaluation", "statistics.json")
            | {
                "Assign": {"metric": jsonata(f"{DOCUMENT}.{metric}")},
                "Next": "Gate",
                "Catch": CATCH,
            },
            "Gate": {
                "Type": "Choice",
                "Choices": [
                    {"Condition": jsonata(f"$metric {passes} $Threshold"), "Next": "Register"}
                ],
                "Default": "NotGoodEnough",
            },
            "Register": request(
                "SageMaker",
                "createModelPackage",
                jobs.register(settings)
                # However often the request is sent, the execution registers one version.
                | {"ClientToken": jsonata(f"$substring({EXECUTION_HASH}, 0, 36)")},
            )
            | {"End": True, "Catch": CATCH},
            "NotGoodEnough": {
                "Type": "Fail",
                "Error": "NotGoodEnough",
                "Cause": jsonata(
                    f"'{approval.metric} on the test data is ' & $string($metric) & "
                    f"', {misses} the threshold ' & $string($Threshold)"
                ),
            },
            "Failed": FAILED,
        },
    )
