"""Faults for tests: clients whose operations fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError


class Standing:
    """Stands for a client of boto3, with some operations of its own."""

    def __init__(self, real: Any, **operations: Callable[..., Any]) -> None:
        self._real = real
        vars(self).update(operations)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def stand_in(
    monkeypatch: pytest.MonkeyPatch, service: Any, name: str, **operations: Callable[..., Any]
) -> Any:
    """Let a service's client have some operations of ours; returns the real client."""
    client = service.client
    real = client(name)
    found = Standing(real, **operations)
    monkeypatch.setattr(
        service,
        "client",
        lambda asked, role="": found if asked == name else client(asked, role),
    )
    return real


def failing(operation: Callable[..., Any], *errors: Exception) -> Callable[..., Any]:
    """Return an operation that raises errors first, one a call."""
    left = list(errors)

    def called(*arguments: Any, **fields: Any) -> Any:
        if left:
            raise left.pop(0)
        return operation(*arguments, **fields)

    return called


def refused(status: int, code: str = "Broken") -> ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")  # type: ignore[arg-type]  # the rest is not looked at
