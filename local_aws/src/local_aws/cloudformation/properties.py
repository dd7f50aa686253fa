"""What the resource types of this package have in common: which properties they take.

Source: the resource types' schemas in the CloudFormation registry (required and
createOnlyProperties; readOnlyProperties are not properties here).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

Given = Mapping[str, Any]
Provisioned = tuple[str, dict[str, Any]]
Handlers = dict[str, Callable[..., Any]]


@dataclass(frozen=True)
class Properties:
    """The properties of a resource type.

    Attributes:
        text: Their names; `+` follows those that are required, `=` those that only a replacement
            changes.
    """

    text: str

    @cached_property
    def names(self) -> frozenset[str]:
        """All names."""
        return frozenset(word.rstrip("+=") for word in self.text.split())

    @cached_property
    def required(self) -> frozenset[str]:
        """Those that a resource must have."""
        return frozenset(word.rstrip("+=") for word in self.text.split() if "+" in word)

    @cached_property
    def replacing(self) -> frozenset[str]:
        """Those whose change replaces the resource."""
        return frozenset(word.rstrip("+=") for word in self.text.split() if word.endswith("="))

    def check(self, logical_id: str, given: Given) -> None:
        """Refuse what CloudFormation does, in its words.

        Raises:
            ValueError: A property is missing or unknown.
        """
        wrong = [
            f"#: required key [{name}] not found" for name in sorted(self.required - given.keys())
        ] + [
            f"#: extraneous key [{name}] is not permitted"
            for name in sorted(given.keys() - self.names)
        ]
        if wrong:
            raise ValueError(
                f"Properties validation failed for resource {logical_id} with message: "
                + ", ".join(wrong)
            )


def typed(shape: Shape, value: Any) -> Any:  # noqa: ANN401 - whatever the shape stands for
    """Give numbers, booleans and strings the type of the API; in a template they may be others.

    Args:
        shape: What the API wants.
        value: What the template has.

    Returns:
        The same, and as it was where it cannot be converted: the API refuses that by its path.
    """
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        members = shape.members
        return {k: typed(members[k], v) if k in members else v for k, v in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [typed(shape.member, item) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        return {k: typed(shape.value, v) for k, v in value.items()}
    try:
        return _scalar(shape.type_name, value)
    except (KeyError, ValueError):
        return value


def _scalar(kind: str, value: Any) -> Any:  # noqa: ANN401 - a number, a boolean or a string
    if kind == "string" and isinstance(value, bool):
        return str(value).lower()
    if kind == "string" and isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        return value
    if kind == "boolean":
        return {"true": True, "false": False}[value.lower()]
    if kind in {"integer", "long"}:
        return int(value)
    return float(value) if kind in {"float", "double"} else value
