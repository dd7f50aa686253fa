"""The Lambda functions: a file each, with nothing but boto3 and the standard library."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Status = Literal["running", "succeeded", "failed", "stopped"]


@dataclass(frozen=True)
class Execution:
    """An execution of a workflow. A list of executions tells nothing but the first four of it.

    Attributes:
        reference: What it is found by: its ARN.
        status: Whether it runs, and if not, how it has ended.
        started: When it was started, UTC.
        trigger: What started it; empty if that was a person.
        reason: Why it failed, else empty.
        running: The steps that run now.
        parameters: The parameters it was started with.
    """

    reference: str
    status: Status
    started: datetime
    trigger: str
    reason: str = ""
    running: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The last part of the reference, which names the execution's folder in S3."""
        return self.reference.replace(":", "/").rpartition("/")[2]


def metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a report on a model's quality that are a single number.

    Args:
        report: A statistics.json, in the format of Model Monitor.
    """
    sections = (values for key, values in report.items() if key.endswith("_metrics"))
    return {
        name: float(entry["value"])
        for name, entry in next(sections, {}).items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
    }
