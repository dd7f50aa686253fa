"""Answers of AWS, cached for a while: many people look at the same pages."""

from collections.abc import Callable
from threading import Condition
from typing import Any, ParamSpec, TypeVar

from cachetools import TTLCache, cached

P = ParamSpec("P")
T = TypeVar("T")

_remembering: list[Any] = []


def remembered(seconds: float, most: int = 64) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Ask a function once for everybody who wants the same answer, and again only after a while.

    What it raises is not remembered.

    Args:
        seconds: So long.
        most: So many of its answers, those that were asked for last.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        found = cached(TTLCache[Any, T](most, seconds), condition=Condition())(function)
        _remembering.append(found)
        return found

    return decorate


def forget() -> None:
    """Ask anew from now on: something was changed."""
    for function in _remembering:
        function.cache_clear()
