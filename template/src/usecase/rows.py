"""Rows of a request that are JSON objects, and answers of the model that cannot be given."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from usecase.config import Features

#: The largest number of 32 bits, which is what the model computes with.
LARGEST = 3.4028234663852886e38

Value = float | str | None
Converter = Callable[[Any], Value]

_SHOWN = 40  # characters of a wrong value


class RowError(ValueError):
    """A row is wrong; the message says what is, and of which field, but not in which row.

    Attributes:
        field: The field, if it is a field's value.
    """

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason if field is None else f"field {field}: {reason}")
        self.field = field

    def within(self, row: int) -> str:
        """The message for a request of several rows, which are counted from 1."""
        return f"row {row}{':' if self.field is None else ','} {self}"


def load(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON.

    Raises:
        RowError: When it is none. NaN and Infinity, which Python would read, are not JSON.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RowError(f"is not JSON: {error}") from None


def converters(features: Features) -> dict[str, Converter]:
    """What reads the value of each feature, in the order of usecase.toml."""
    return {
        **dict.fromkeys(features.numeric, number),
        **dict.fromkeys(features.categorical, category),
    }


def read(instance: object, kinds: Mapping[str, Converter]) -> list[Value]:
    """Read a row `{feature: value}`, in which `null` is a missing value.

    Args:
        instance: What `load` returned.
        kinds: What `converters` returned.

    Returns:
        The values in the order of the features.

    Raises:
        RowError: When a feature is missing, unknown, or has a value of another type.
    """
    if not isinstance(instance, dict):
        raise RowError("must be an object {feature: value, …}")
    values = []
    for name, convert in kinds.items():
        if name not in instance:
            raise RowError("is not there; send null when it is not known", name)
        try:
            values.append(convert(instance[name]))
        except (ValueError, TypeError, OverflowError):
            wanted = "a number" if convert is number else "text"
            shown = shorten(instance[name])
            raise RowError(
                f"{shown} is not {wanted}; send null when it is not known", name
            ) from None
    if len(instance) != len(kinds):
        unknown = next(name for name in instance if name not in kinds)
        raise RowError(f"unknown; known: {', '.join(kinds)}", unknown)
    return values


def number(value: object) -> float | None:
    """A number that the model can compute with.

    Raises:
        TypeError, ValueError, OverflowError: When it is none.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return finite(float(value))


def category(value: object) -> str | None:
    """Text, or a whole number as a code: CSV writes the two alike.

    Raises:
        TypeError, ValueError: When it is neither, or has halves of characters, as JSON can.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise TypeError
    if isinstance(value, str):
        value.encode()
    return None if value is None else str(value) or None


def finite(value: float) -> float:
    """The same number.

    Raises:
        ValueError: When it is NaN, infinite, or too large for 32 bits.
    """
    if math.isnan(value) or abs(value) > LARGEST:
        raise ValueError
    return value


def unanswered(output: npt.NDArray[Any]) -> dict[int, str]:
    """The rows whose answer is NaN or infinite: neither JSON nor those who read CSV know that.

    Args:
        output: What `Model.predict` returned, shape (rows, …).

    Returns:
        What is wrong, by the place of the row.
    """
    values = output.reshape(len(output), -1)
    wrong = ~np.isfinite(values)
    return {
        int(row): f"the model answered {values[row][wrong[row]][0]}, which is not a finite number"
        for row in np.flatnonzero(wrong.any(axis=1))
    }


def shorten(value: object) -> str:
    """A value for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; send null for a missing value")
