"""The monitoring pipeline."""

from workflows import jobs
from workflows.jobs import DUE, INPUTS, MONITOR, RESULTS, Body, Settings
from workflows.placeholders import EXECUTION, result
from workflows.sagemaker_pipelines.steps import compare, condition, function, job, pipeline


def definition(settings: Settings, inputs_function: str, results_function: str) -> Body:
    """Run the monitors on the predictions of one version, each in its window of time.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds what they have to look at.
        results_function: ARN of the Lambda function that publishes what they have found.
    """
    return pipeline(
        jobs.MONITORING_PARAMETERS,
        steps=[
            function(
                INPUTS,
                inputs_function,
                jobs.monitor_inputs(),
                {"due": "Integer", "image": "String"},
            ),
            condition(
                DUE,
                [compare("GreaterThan", result(INPUTS, "due"), 0)],
                then=[
                    job(MONITOR, "Processing", jobs.monitor(settings)),
                    function(
                        RESULTS,
                        results_function,
                        {"execution": EXECUTION},
                        {"violations": "Integer", "problems": "Integer"},
                    )
                    | {"DependsOn": [MONITOR]},
                ],
                otherwise=[],
            ),
        ],
    )
