"""The JSONPath expressions of batch transform's InputFilter and OutputFilter.

The subset is that of "Supported JSONPath operators" in "Associate Prediction Results with Input
Records" (https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html),
which also says that a range includes its end, unlike in other dialects: `$[1:4]` is the second
to the fifth element.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(r"\.?\[((?:'[^']*'|[^\]'])*)\]|\.(\*|[^.\[\]'\s]+)")
_NAMES = re.compile(r"'[^']*'(?:\s*,\s*'[^']*')*")
_INDEXES = re.compile(r"-?\d+(?:\s*,\s*-?\d+)*")
_RANGE = re.compile(r"(-?\d+)?\s*:\s*(-?\d+)?")


class JsonPathError(ValueError):
    """A path is not one, or does not fit a record; the message names it."""


@dataclass(frozen=True)
class _Names:
    names: tuple[str, ...]
    several: bool  # ['a','b'] makes an object, .a is the value itself

    def of(self, value: Any) -> Iterable[Any]:  # noqa: ANN401 - JSON
        if not isinstance(value, dict):
            raise JsonPathError(f"the record has no attributes such as {self.names[0]!r}")
        missing = [name for name in self.names if name not in value]
        if missing:
            raise JsonPathError(f"the record has no attribute {missing[0]!r}")
        if self.several:
            return [{name: value[name] for name in self.names}]
        return [value[self.names[0]]]


@dataclass(frozen=True)
class _Elements:
    """Elements of a list: by index, or the range of `first` to `last`, both included."""

    indexes: tuple[int, ...] | None
    first: int | None = None
    last: int | None = None

    def places(self, width: int) -> list[int]:
        """Places of the elements in a list of this length, counted from 0."""
        if self.indexes is not None:
            return [_place(index, width) for index in self.indexes]
        first = 0 if self.first is None else _place(self.first, width)
        last = width - 1 if self.last is None else _place(self.last, width)
        if first > last:
            raise JsonPathError(f"range [{first}:{last}] is empty")
        return list(range(first, last + 1))

    def of(self, value: Any) -> Iterable[Any]:  # noqa: ANN401 - JSON
        if not isinstance(value, list):
            raise JsonPathError("the record is not a list")
        return [value[place] for place in self.places(len(value))]


class _Every:
    def of(self, value: Any) -> Iterable[Any]:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return list(value.values())
        if isinstance(value, list):
            return value
        raise JsonPathError("the record has neither attributes nor elements")


_Step = _Names | _Elements | _Every


@dataclass(frozen=True)
class JsonPath:
    """A path, ready for use.

    Attributes:
        text: As it was given.
        steps: What to take, one after the other.
    """

    text: str
    steps: tuple[_Step, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """Read a path.

        Raises:
            JsonPathError: It is not of the subset that batch transform knows.
        """
        if not text.startswith("$"):
            raise JsonPathError(f"Invalid JsonPath: {text}: it must begin with $")
        steps: list[_Step] = []
        at = 1
        while at < len(text):
            match = _STEP.match(text, at)
            if match is None:
                raise JsonPathError(f"Invalid JsonPath: {text}: {text[at:]} is not supported")
            at = match.end()
            bracket, name = match.groups()
            steps.append(_bracket(text, bracket.strip()) if bracket is not None else _name(name))
        return cls(text, tuple(steps))

    @property
    def is_root(self) -> bool:
        """Whether it takes everything."""
        return not self.steps

    @property
    def fits_csv(self) -> bool:
        """Whether it can be applied to a CSV row, which is taken as a list."""
        return not self.steps or (
            len(self.steps) == 1 and isinstance(self.steps[0], _Elements | _Every)
        )

    @property
    def rest(self) -> int | None:
        """The N of `$[N:]`, which takes a CSV row from that column on; None for other paths."""
        step = self.steps[0] if len(self.steps) == 1 else None
        if not isinstance(step, _Elements) or step.indexes is not None or step.last is not None:
            return None
        return step.first if step.first is not None and step.first >= 0 else None

    def columns(self, width: int) -> list[int]:
        """Return the columns that it takes of a CSV row, counted from 0.

        Args:
            width: Number of columns in the row.

        Raises:
            JsonPathError: The row has not as many columns.
        """
        step = self.steps[0] if self.steps else _Every()
        if not isinstance(step, _Elements):
            return list(range(width))
        try:
            return step.places(width)
        except JsonPathError as error:
            raise JsonPathError(f"Invalid JsonPath: {self.text}: {error}") from None

    def of(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return what it takes of a JSON value: a list if it can take several.

        Raises:
            JsonPathError: The value has no such part.
        """
        found, several = [value], False
        try:
            for step in self.steps:
                found = list(_taken(step, found))
                several |= isinstance(step, _Every) or (
                    isinstance(step, _Elements) and (step.indexes is None or len(step.indexes) > 1)
                )
        except JsonPathError as error:
            raise JsonPathError(f"Invalid JsonPath: {self.text}: {error}") from None
        return found if several else found[0]


def _taken(step: _Step, values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from step.of(value)


def _place(index: int, width: int) -> int:
    place = index + width if index < 0 else index
    if not 0 <= place < width:
        raise JsonPathError(f"index {index} is out of the record's {width} elements")
    return place


def _name(name: str) -> _Step:
    return _Every() if name == "*" else _Names((name,), several=False)


def _bracket(text: str, inside: str) -> _Step:
    if inside == "*":
        return _Every()
    if _NAMES.fullmatch(inside):
        names = tuple(re.findall(r"'([^']*)'", inside))
        return _Names(names, several=len(names) > 1)
    if _INDEXES.fullmatch(inside):
        return _Elements(tuple(map(int, inside.split(","))))
    if found := _RANGE.fullmatch(inside):
        first, last = (int(end) if end else None for end in found.groups())
        return _Elements(None, first, last)
    if ":" in inside:
        raise JsonPathError(
            f"Invalid JsonPath: {text}: only single range filters of format (eg: [1:5]) are "
            f"supported. Format [{inside}] is not supported"
        )
    raise JsonPathError(f"Invalid JsonPath: {text}: [{inside}] is not supported")
