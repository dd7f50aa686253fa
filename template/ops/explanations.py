"""Answers that tell why, asked for from the command line and by people who look."""

import json

from ops import OpsError
from usecase.explanations import CONTRIBUTIONS, EXPLAIN, JSON_LINES, asking

ACCEPT = asking(JSON_LINES)
"""What a request that wants a line for each row accepts."""
NOT_TOLD = (
    f"the version that serves does not know {EXPLAIN}={CONTRIBUTIONS}, as it was trained before "
    "this project did: train and approve another"
)


def require(answer: bytes) -> None:
    """Go on only with an answer that tells why.

    Args:
        answer: JSON Lines, the first of them whole.

    Raises:
        OpsError: When it does not.
    """
    if CONTRIBUTIONS not in json.loads(answer.partition(b"\n")[0]):
        raise OpsError(NOT_TOLD)
