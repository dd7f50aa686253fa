"""Fields and rows of a request, and answers of the model that cannot be given."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from usecase.config import Features, FieldType, Request, UseCase
from usecase.errors import BadRequest

#: The largest number of 32 bits, which is what the model computes with.
LARGEST = 3.4028234663852886e38

Value = float | str | datetime | None

MISSING = "send null when it is not known"
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


@dataclass(frozen=True)
class Fields:
    """The fields of a row.

    Attributes:
        types: The type of each by its name, in the order in which CSV has them.
        required: Those that must have a value.
        optional: Those that JSON can leave out.
        raw: Whether they are those of `[request]`, of which the features are still to be made.
    """

    types: Mapping[str, FieldType]
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    raw: bool = False

    @classmethod
    def of_features(cls, features: Features) -> Self:
        """The features: JSON has to name each, as whoever leaves one out may not know of it."""
        numeric: dict[str, FieldType] = dict.fromkeys(features.numeric, "number")
        return cls({**numeric, **dict.fromkeys(features.strings, "text")})

    @classmethod
    def of_request(cls, request: Request) -> Self:
        """What a caller sends where that is not the features."""
        return cls(request.fields, frozenset(request.required), frozenset(request.optional), True)

    @property
    def names(self) -> list[str]:
        """All of them, in the order in which CSV has them."""
        return [*self.types]

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Their types in a table; times are UTC, without a zone."""
        kinds = {"number": pl.Float64(), "text": pl.String(), "datetime": pl.Datetime("us")}
        return {name: kinds[kind] for name, kind in self.types.items()}

    def absent(self, name: str, advice: str = "") -> RowError:
        """The error that a field is not there.

        Args:
            name: The field.
            advice: What fixes it, of one that need not have a value.
        """
        if name in self.required:
            return RowError(f"is required; send {WORDS[self.types[name]]}", name)
        return RowError(f"is not there; {advice}", name)

    def wrong(self, name: str, value: object, advice: str) -> RowError:
        """The error that a field has a value of another type.

        Args:
            name: The field.
            value: Its value.
            advice: What else can be sent, of one that need not have a value.
        """
        reason = f"{shorten(value)} is not {WORDS[self.types[name]]}"
        return RowError(reason if name in self.required else f"{reason}; {advice}", name)


def fields_of(first: object, use_case: UseCase, *, of_request: bool = True) -> Fields:
    """The fields that the rows of a request have, told by the first: features or `[request]`.

    Rows of CSV are told by their number of fields, rows of JSON by the names of theirs.

    Args:
        first: The fields of a line of CSV as a list, or what `load` returned of a row.
        use_case: Names the features, and what a caller sends in their place.
        of_request: Where both have as many fields: whether a line of CSV has those of `[request]`.
    """
    features = Fields.of_features(use_case.features)
    if use_case.request is None:
        return features
    request = Fields.of_request(use_case.request)
    if not isinstance(first, list):
        computed = isinstance(first, dict) and _names_features(first, features, request)
    elif len(features.types) == len(request.types):
        computed = not of_request
    else:
        computed = len(first) == len(features.types)
    return features if computed else request


def _names_features(row: Mapping[str, object], features: Fields, request: Fields) -> bool:
    """Whether a row has a feature that no request has, or all of them and too little for one."""
    if row.keys() & (features.types.keys() - request.types.keys()):
        return True
    return row.keys() == features.types.keys() and not request.required <= row.keys()


def read(instance: object, fields: Fields) -> list[Value]:
    """Read a row `{field: value}`, in which `null` is a missing value.

    Args:
        instance: What `load` returned.
        fields: What it has to have.

    Returns:
        The values in the order of the fields.

    Raises:
        RowError: When a field is missing, unknown, or has a value of another type.
    """
    if not isinstance(instance, dict):
        raise RowError("must be an object {field: value, …}")
    values = []
    for name, kind in fields.types.items():
        try:
            value = CONVERTERS[kind](instance.get(name))
        except (ValueError, TypeError, OverflowError):
            raise fields.wrong(name, instance[name], MISSING) from None
        unknown = value is None and name in fields.required
        if unknown or (name not in instance and name not in fields.optional):
            raise fields.absent(name, MISSING)
        values.append(value)
    if not instance.keys() <= fields.types.keys():
        odd = next(name for name in instance if name not in fields.types)
        raise RowError(f"unknown; known: {', '.join(fields.types)}", odd)
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


def moment(value: object) -> datetime | None:
    """A time in ISO 8601 as one in UTC, without a zone; UTC unless it says otherwise.

    Raises:
        TypeError, ValueError, OverflowError: When it is none.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError
    time = datetime.fromisoformat(value)
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


CONVERTERS: dict[FieldType, Callable[[object], Value]] = {
    "number": number,
    "text": category,
    "datetime": moment,
}
#: What a value of each type is, in words.
WORDS: dict[FieldType, str] = {
    "number": "a number",
    "text": "text",
    "datetime": "a time like 2026-01-31T09:00:00Z",
}


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


def plain(table: pl.DataFrame) -> pl.DataFrame:
    """A table with the values that JSON has; a number that is NaN is a missing one.

    Raises:
        BadRequest: When a column has none of them, or an infinite number.
    """
    columns = []
    for name, kind in table.schema.items():
        column = pl.col(name)
        if kind.is_float() or kind.is_decimal():
            column = column.cast(pl.Float64).fill_nan(None)
            if table.select(column.is_infinite().any()).item():
                raise BadRequest(f"field {name}: a number is infinite")
        elif kind == pl.Datetime:
            column = column.dt.cast_time_unit("us").dt.to_string("iso:strict")
        elif kind == pl.Date:
            column = column.dt.to_string("iso")
        elif isinstance(kind, pl.Categorical | pl.Enum):
            column = column.cast(pl.String)
        elif not (kind.is_integer() or kind in (pl.String, pl.Boolean, pl.Null)):
            raise BadRequest(f"field {name}: is {kind}, neither numbers nor text nor times")
        columns.append(column)
    return table.select(columns)
