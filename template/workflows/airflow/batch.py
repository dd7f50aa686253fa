"""The batch workflow: what dags/usecase_dags/batch.py is told."""

from workflows import batch
from workflows.airflow.dags import function, workflow
from workflows.batch import COLLECT, INPUTS, SELECT, TRANSFORM
from workflows.jobs import Body, Settings


def definition(settings: Settings, inputs_function: str, rejections_function: str) -> Body:
    """Score the records of some days with the version that was approved last.

    Args:
        settings: Where it runs.
        inputs_function: ARN of the Lambda function that finds the version and the days.
        rejections_function: ARN of the Lambda function that counts what was rejected.
    """
    return workflow(
        settings,
        settings.names.batch,
        "Scores the records of some days with the version of "
        f"{settings.names.prefix} approved last",
        {"Start": "auto", "End": "auto"},
        {
            INPUTS: function(inputs_function, batch.inputs(settings)),
            SELECT: batch.select(settings),
            TRANSFORM: batch.transform(settings),
            COLLECT: batch.collect(settings),
            "Rejections": function(rejections_function, batch.rejections(settings)),
        },
    )
