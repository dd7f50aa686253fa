"""Resource types that a stack may have although nothing of them runs here: how they are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from local_aws.cloudformation.properties import Properties


@dataclass(frozen=True)
class InertType:
    """A resource type of which nothing runs.

    Attributes:
        name: Its name.
        properties: What it takes.
        ref: What `Ref` returns. In braces stand properties (a generated name if they are not
            given), `name`, `id` and `octet`, which are generated, `host` of the property Url,
            `region`, `account` and `now`.
        attributes: What `Fn::GetAtt` returns, in the same notation, with `ref` too.
    """

    name: str
    properties: Properties
    ref: str
    attributes: Mapping[str, str]


def row(name: str, properties: str, ref: str, **attributes: str) -> InertType:
    """Describe a resource type.

    Args:
        name: Its name without `AWS::`.
        properties: What it takes, as `Properties` reads it.
        ref: What `Ref` returns, in the notation of `InertType`.
        **attributes: What `Fn::GetAtt` returns.
    """
    return InertType(f"AWS::{name}", Properties(properties), ref, attributes)
