"""The training pipeline."""

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
from workflows.placeholders import parameter
from workflows.sagemaker_pipelines.steps import (
    compare,
    condition,
    fail,
    job,
    pipeline,
    property_file,
    value_in,
)


def definition(settings: Settings) -> Body:
    """Prepare, train, evaluate and describe; register the model if it is good enough."""
    gate = jobs.gate(settings)
    metric = value_in(EVALUATE, EVALUATION, gate.path)
    passes = "GreaterThanOrEqualTo" if gate.higher_is_better else "LessThanOrEqualTo"
    return pipeline(
        jobs.training_parameters(settings),
        steps=[
            job(PREPARE, "Processing", jobs.prepare(settings)),
            job(TRAIN, "Training", jobs.train(settings)),
            job(EVALUATE, "Processing", jobs.evaluate(settings))
            | property_file(EVALUATION, gate.file),
            job(BASELINE, "Processing", jobs.baseline(settings)),
            condition(
                GATE,
                [compare(passes, metric, parameter("Threshold"))],
                then=[job(REGISTER, "RegisterModel", jobs.register(settings))],
                otherwise=[fail(NOT_GOOD_ENOUGH, gate.missed())],
            )
            | {"DependsOn": [BASELINE]},
        ],
    )
