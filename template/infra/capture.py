"""What is allowed with the predictions that SageMaker captures of the endpoint."""

from infra.permissions import Allow, Arns, list_objects, read_objects, write_objects
from infra.predictions import PREDICTIONS, REJECTED

CAPTURE = "capture/"
"""Where in the data bucket requests and their answers are captured."""


def find_predictions(arns: Arns) -> list[Allow]:
    """Finding out what every version has predicted when, and what of it is collected."""
    return [*read_objects(arns, CAPTURE), list_objects(arns, PREDICTIONS, REJECTED)]


def judge_predictions(arns: Arns) -> list[Allow]:
    """Reading what every version has predicted, and collecting what was captured of it."""
    tables = PREDICTIONS, REJECTED
    return [*read_objects(arns, CAPTURE, *tables), write_objects(arns, *tables)]
