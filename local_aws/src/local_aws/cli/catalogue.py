"""What there is: operations with what of each is not as on AWS, and resource types.

`python -m local_aws.cli.catalogue README.md docs/mwaa.md` writes it into the README, and what is
Amazon MWAA's into a page of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.session

import local_aws.sagemaker.assembly  # noqa: F401 - importing it fills the tables
from local_aws.cloudformation import inert_types, mwaa_types, sagemaker_types
from local_aws.mwaa import operations as mwaa
from local_aws.sagemaker.core.operations import DIFFERENCES, OPERATIONS
from local_aws.sagemaker.hosting import autoscaling, runtime

BEGIN, END = "<!-- operations -->\n", "<!-- end -->\n"

MWAA, MWAA_PAGE = "Amazon MWAA", "mwaa.md"
"""The service whose operations have a page of their own, and that page."""


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
    differs: str = ""


def entries() -> dict[str, list[Entry]]:
    """Return the operations by service; in SageMaker those of one kind of resource together."""
    sagemaker = [
        Entry(name, _first_sentence(function.__doc__), DIFFERENCES.get(name, ""))
        for name, function in OPERATIONS.items()
    ]
    return {
        "SageMaker": sorted(sagemaker, key=lambda entry: (_noun(entry.name), entry.name)),
        "SageMaker Runtime": list(_runtime()),
        "Application Auto Scaling": [
            Entry(name, _first_sentence(function.__doc__), autoscaling.DIFFERENCES.get(name, ""))
            for name, function in autoscaling.OPERATIONS.items()
        ],
        MWAA: [
            Entry(name, _first_sentence(function.__doc__), mwaa.DIFFERENCES.get(name, ""))
            for name, function in mwaa.OPERATIONS.items()
        ],
    }


def markdown() -> str:
    """Write operations and resource types as the README shows them."""
    lines = []
    for service, found in entries().items():
        if service != MWAA:
            lines += [f"### {service}", "", *_table(found), ""]
    lines += ["### CloudFormation", "", "| resource types | |", "|---|---|"]
    real = [*sagemaker_types.available(), mwaa_types.NAME]
    lines.append(f"| real, beside ministack's own | {_types(real)} |")
    lines.append(f"| inert: checked and stored, and nothing runs | {_types(inert_types.TYPES)} |")
    return "\n".join(["", *lines, "", ""])


def mwaa_markdown() -> str:
    """Write the operations of Amazon MWAA as its page shows them."""
    return "\n".join(["", *_table(entries()[MWAA]), "", ""])


def text() -> str:
    """Write the operations for a terminal."""
    lines = []
    for service, found in entries().items():
        for entry in found:
            lines += [f"{service}: {entry.name}", f"    {entry.does}."]
            if entry.differs:
                lines.append(f"    Not as on AWS: {entry.differs}.")
    return "\n".join(lines) + "\n"


def write(page: Path) -> None:
    """Put the tables between the marks of the README, or of MWAA's page.

    Raises:
        ValueError: It has no marks.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{page} has no lines {BEGIN.strip()} and {END.strip()}")
    tables = mwaa_markdown() if page.name == MWAA_PAGE else markdown()
    page.write_text(before + begin + tables + end + after)


def _table(found: Iterable[Entry]) -> Iterator[str]:
    yield from ("| operation | as on AWS | not as on AWS |", "|---|---|---|")
    for entry in found:
        yield f"| {entry.name} | {entry.does} | {entry.differs} |"


def _runtime() -> Iterator[Entry]:
    """Yield the runtime's operations; the code knows them by the last part of their path."""
    model = botocore.session.Session().get_service_model("sagemaker-runtime")
    for name in model.operation_names:
        last = model.operation_model(name).http["requestUri"].rpartition("/")[2]
        if last in runtime.OPERATIONS:
            yield Entry(name, _first_sentence(runtime.OPERATIONS[last].__doc__))


def _types(names: Iterable[str]) -> str:
    """List resource types, those of one service together."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        _, service, kind = name.split("::")
        groups.setdefault(service, []).append(kind)
    return "; ".join(f"{service}: {', '.join(kinds)}" for service, kinds in groups.items())


def _noun(name: str) -> str:
    """Return an operation's name without its verb, and without a plural."""
    return re.sub(r"^(Batch)?[A-Z][a-z]+", "", name).removesuffix("s")


def _first_sentence(documentation: str | None) -> str:
    paragraph = " ".join((documentation or "").partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name))
