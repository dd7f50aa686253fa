"""Who looks at the dashboard, and whether that person may decide what serves."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

LOCAL = "DASHBOARD_LOCAL_IDENTITY"
"""The environment variable that only `poe dashboard` sets: who started it is who looks at it."""
CONTAINER = "ECS_CONTAINER_METADATA_URI_V4"
"""What ECS sets in every container."""


class NotSignedIn(Exception):  # noqa: N818  its name is what people read
    """Nobody is signed in; the message says what to do."""


@dataclass(frozen=True)
class Person:
    """Who looks at the dashboard.

    Attributes:
        name: The e-mail address, or what a local person is called.
        may_approve: Whether they may decide what serves.
    """

    name: str
    may_approve: bool


def person(headers: Mapping[str, str]) -> Person:  # noqa: ARG001  the local one needs none
    """Who asks.

    Args:
        headers: Those of the request.

    Raises:
        NotSignedIn: When nobody is signed in.
    """
    name = os.environ.get(LOCAL, "")
    if not name or CONTAINER in os.environ:
        raise NotSignedIn("start the dashboard with `uv run poe dashboard`")
    return Person(f"{name} (local)", may_approve=True)
