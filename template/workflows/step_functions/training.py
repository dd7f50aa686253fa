"""The training workflow."""

from workflows import jobs
from workflows.jobs import (
    BASELINE,
    EVALUATE,
    EVALUATION,
    GATE,
    NOT_GOOD_ENOUGH,
    PREPARE,
    REGISTER,
    TRAIN,
    Body,
    Settings,
)
from workflows.placeholders import parameter as variable
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
    gate = jobs.gate(settings)
    passes = ">=" if gate.higher_is_better else "<="
    return machine(
        settings.names,
        f"Trains the model of {settings.names.prefix} and registers it for approval",
        jobs.training_parameters(settings),
        {
            PREPARE: job("Processing", jobs.prepare(settings))
            | {"Assign": {PREPARE: OUTPUTS}, "Next": TRAIN, "Catch": CATCH},
            TRAIN: job("Training", jobs.train(settings))
            | {"Assign": {TRAIN: MODEL}, "Next": "Measure", "Catch": CATCH},
            "Measure": {
                "Type": "Parallel",
                "Branches": [
                    branch(
                        {
                            EVALUATE: job("Processing", jobs.evaluate(settings))
                            | {"Output": OUTPUTS, "End": True}
                        }
                    ),
                    branch(
                        {
                            BASELINE: job("Processing", jobs.baseline(settings))
                            | {"Output": OUTPUTS, "End": True}
                        }
                    ),
                ],
                "Assign": {
                    EVALUATE: jsonata("$states.result[0]"),
                    BASELINE: jsonata("$states.result[1]"),
                },
                "Next": "ReadMetric",
                "Catch": CATCH,
            },
            "ReadMetric": read(settings, f"${EVALUATE}.{EVALUATION}", gate.file)
            | {
                "Assign": {"metric": jsonata(f"{DOCUMENT}.{gate.path}")},
                "Next": GATE,
                "Catch": CATCH,
            },
            GATE: {
                "Type": "Choice",
                "Choices": [
                    {"Condition": jsonata(f"$metric {passes} $Threshold"), "Next": REGISTER}
                ],
                "Default": NOT_GOOD_ENOUGH,
            },
            REGISTER: request(
                "SageMaker",
                "createModelPackage",
                jobs.register(settings)
                # However often the request is sent, the execution registers one version.
                | {"ClientToken": jsonata(f"$substring({EXECUTION_HASH}, 0, 36)")},
            )
            | {"End": True, "Catch": CATCH},
            NOT_GOOD_ENOUGH: {
                "Type": "Fail",
                "Error": NOT_GOOD_ENOUGH,
                "Cause": gate.missed(variable("metric")),
            },
            "Failed": FAILED,
        },
    )
