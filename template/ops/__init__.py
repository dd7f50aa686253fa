"""What people run: `uv run ops --help`."""

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["running", "succeeded", "failed", "stopped"]


class OpsError(Exception):
    """Something the person at the terminal can fix; the message says what and how."""


@dataclass(frozen=True)
class Execution:
    """One execution of a workflow.

    Attributes:
        arn: The execution's ARN.
        status: Whether it runs, and if not, how it has ended.
        reason: Why it failed, else empty.
        running: The steps that run now.
        parameters: The parameters it was started with.
    """

    arn: str
    status: Status
    reason: str = ""
    running: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The last part of the ARN, which names the execution's folder in S3."""
        return self.arn.replace(":", "/").rpartition("/")[2]
