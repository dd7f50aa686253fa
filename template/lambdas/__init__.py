"""The Lambda functions: a file each, with nothing but boto3 and the standard library."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Execution:
    """An execution of a workflow.

    Attributes:
        arn: Its ARN.
        trigger: What started it; empty if that was a person.
        running: Whether it has not come to an end.
        started: When it was started, UTC.
    """

    arn: str
    trigger: str
    running: bool
    started: datetime
