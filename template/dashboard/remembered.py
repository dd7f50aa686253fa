"""What AWS was asked is remembered for a while: many people look at the same."""

from collections.abc import Callable
from threading import Condition
from typing import Any, ParamSpec, TypeVar

from cachetools import TTLCache, cached

P = ParamSpec("P")
T = TypeVar("T")

_remembering: list[Any] = []


def remembered(seconds: float, most: int = 64) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function asked once for all who want the same at the same time, and a while after.

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
