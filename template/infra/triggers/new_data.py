"""Train when a load of the data mart is complete: when mart/_SUCCESS is written."""

from aws_cdk import Stack
from aws_cdk.aws_events import EventField, EventPattern

from infra.functions import Function
from usecase.config import UseCase
from workflows import names


def add(retrain: Function, _use_case: UseCase) -> None:
    """Call `retrain` for each load."""
    # The sequencer tells one writing of the object from the next.
    load = [
        EventField.from_path(f"$.detail.{path}")
        for path in ("bucket.name", "object.key", "object.etag", "object.sequencer")
    ]
    retrain.on(
        "new-data",
        EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={
                "bucket": {"name": [names.bucket(Stack.of(retrain).account)]},
                "object": {"key": ["mart/_SUCCESS"]},
            },
        ),
        {"trigger": "new_data", "cause": " ".join(load)},
    )
