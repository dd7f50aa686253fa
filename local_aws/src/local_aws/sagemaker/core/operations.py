"""The tables that the modules with operations enter their functions in.

A new operation is one decorated function in one place. `assembly` imports all modules that have
any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

Operation = Callable[["Service", dict[str, Any]], dict[str, Any] | None]

OPERATIONS: dict[str, Operation] = {}
DIFFERENCES: dict[str, str] = {}
"""What is not as on AWS, by operation, as the README tells it."""


def operation(name: str, *, differs: str = "") -> Callable[[Operation], Operation]:
    """Register the function that answers one API operation.

    Args:
        name: Operation name as in AWS's model, for example `CreateModel`.
        differs: What is not as on AWS, in Markdown, without full stop at the end; for the README.

    Returns:
        A decorator. The function gets the service and the validated request (no nulls, timestamps
        as epoch seconds) and returns the response members, or None for an empty response.

    Raises:
        ValueError: The operation is registered twice.
    """

    def register(function: Operation) -> Operation:
        if name in OPERATIONS:
            raise ValueError(f"operation {name} is registered twice")
        OPERATIONS[name] = function
        if differs:
            DIFFERENCES[name] = differs
        return function

    return register
