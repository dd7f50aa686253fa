"""What there is: SageMaker's operations, and what of each is not as on AWS."""

from __future__ import annotations

import re
from dataclasses import dataclass

import local_aws.sagemaker.service  # noqa: F401 - importing it fills the tables
from local_aws.sagemaker.operations import DIFFERENCES, OPERATIONS


@dataclass(frozen=True)
class Entry:
    """An operation.

    Attributes:
        name: Its name in AWS's model.
        does: What it does here, as on AWS.
        differs: What is not as on AWS; empty if nothing is.
    """

    name: str
    does: str
    differs: str


def entries() -> list[Entry]:
    """Return all operations, those of one kind of resource together."""
    found = [
        Entry(name, _first_sentence(function.__doc__ or ""), DIFFERENCES.get(name, ""))
        for name, function in OPERATIONS.items()
    ]
    return sorted(found, key=lambda entry: (_noun(entry.name), entry.name))


def markdown() -> str:
    """Write the operations as the table that is in the README."""
    head = ["| operation | as on AWS | not as on AWS |", "|---|---|---|"]
    rows = [f"| {entry.name} | {entry.does} | {entry.differs} |" for entry in entries()]
    return "\n".join([*head, *rows]) + "\n"


def text() -> str:
    """Write the operations for a terminal."""
    lines = []
    for entry in entries():
        lines += [entry.name, f"    {entry.does}."]
        if entry.differs:
            lines.append(f"    Not as on AWS: {entry.differs}.")
    return "\n".join(lines) + "\n"


def _noun(name: str) -> str:
    """Return an operation's name without its verb, and without a plural."""
    return re.sub(r"^(Batch)?[A-Z][a-z]+", "", name).removesuffix("s")


def _first_sentence(documentation: str) -> str:
    paragraph = " ".join(documentation.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")
