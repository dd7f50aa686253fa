"""The kinds of resources: how their members, ARNs, list orders, errors and events read.

A kind is declared by the module that has its operations, see `resources.declare`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_aws.sagemaker.core.events import Event

Change = Callable[["Kind", Mapping[str, Any], str | None, Mapping[str, str]], "Event"]
"""Makes a change's event of the kind, the stored body, the status before, and the tags."""


@dataclass(frozen=True)
class Kind:
    """A kind of resource.

    Attributes:
        name: Its name in the names of operations: `Describe<name>`.
        arn_path: What stands before the name in its ARN.
        status_member: Member that holds its status, if it has one.
        ascending: Whether AWS lists the oldest first when SortOrder is not given.
        not_found: Code and text of the error for one that is not there.
        exists: Code and text of the error for creating one that is there.
        event: Makes the EventBridge event of a change; None for a kind that sends none.
        stem: What the members of name and ARN begin with, if it is not the kind's name.
        sort_by: What AWS sorts a list by when SortBy is not given.
    """

    name: str
    arn_path: str
    status_member: str | None = None
    ascending: bool = False
    not_found: tuple[str, str] = ("ValidationException", "{kind} {arn} does not exist.")
    exists: tuple[str, str] = ("ValidationException", "{kind} already exists: {arn}")
    event: Change | None = None
    stem: str | None = None
    sort_by: str = "CreationTime"

    @property
    def name_member(self) -> str:
        """The member that holds a resource's name."""
        return f"{self.stem or self.name}Name"

    @property
    def arn_member(self) -> str:
        """The member that holds a resource's ARN."""
        return f"{self.stem or self.name}Arn"


KINDS: dict[str, Kind] = {}
"""All kinds by name."""


def register(kind: Kind) -> None:
    """Enter a kind in the table.

    Raises:
        ValueError: It is registered twice.
    """
    if kind.name in KINDS:
        raise ValueError(f"kind {kind.name} is registered twice")
    KINDS[kind.name] = kind


def job(name: str, arn_path: str, event: Change | None, *, ascending: bool = True) -> Kind:
    """Describe a kind of job, whose status is in `<name>Status`."""
    return Kind(
        name,
        arn_path,
        f"{name}Status",
        ascending,
        not_found=("ValidationException", "Could not find requested job with name: {name}"),
        exists=(
            "ResourceInUse",
            (
                "Job name must be unique within an AWS account and region, and a job with this "
                "name already exists ({arn})"
            ),
        ),
        event=event,
    )


def hosting(
    name: str,
    arn_path: str,
    title: str,
    status_member: str | None = None,
    event: Change | None = None,
) -> Kind:
    """Describe a kind of hosting, whose errors call it by a title of its own."""
    return Kind(
        name,
        arn_path,
        status_member,
        not_found=("ValidationException", f'Could not find {title} "{{arn}}".'),
        exists=("ValidationException", f'Cannot create already existing {title} "{{arn}}".'),
        event=event,
    )
