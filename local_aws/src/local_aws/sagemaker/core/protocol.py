"""AWS's JSON 1.1 protocol for SageMaker, driven by the service model that botocore ships.

The model says which members an operation has, their types, patterns, enums and limits. Requests are
checked against all of it (botocore's own validator leaves out patterns, enums and maxima) and
refused with the codes and the wording of AWS's services; responses keep what the model declares.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sized
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any, NoReturn, TypeVar

import botocore.session
from botocore.model import (
    ListShape,
    MapShape,
    OperationModel,
    OperationNotFoundError,
    ServiceModel,
    Shape,
    StringShape,
    StructureShape,
)

_INTEGER_BITS = {"integer": 31, "long": 63}
# Beyond this nesting no SageMaker shape goes; it keeps hostile input from the recursion limit.
_MAX_DEPTH = 64
# What AWS's parsers call the JSON values that they meet in the wrong place.
_JSON_TOKENS = {
    str: "STRING_VALUE",
    bool: "BOOLEAN_VALUE",
    list: "START_ARRAY",
    dict: "START_OBJECT",
    type(None): "VALUE_NULL",
}

# Categories in Java's patterns that need no search through Unicode. Python's \w is letters, numbers
# and "_", which every pattern of the model that has \p{L} or \p{N} allows too, as "_" or \p{P}.
_CHARACTERS = {
    "Alnum": "A-Za-z0-9",
    "L": r"\w",
    "N": r"\w",
    "Print": " -~",
    "Z": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}
# Where Unicode has characters; between the two, and after, lies nothing or what is private.
_PLANES = (range(0x32400), range(0xE0000, 0xE01F0))

# The model leaves the shape out where a request or response has no members.
_EMPTY = StructureShape("Empty", {"type": "structure", "members": {}})

T = TypeVar("T")


class ApiError(Exception):
    """An error that the client gets in AWS's shape.

    Attributes:
        code: Error code, for example `ValidationException`.
        message: What is wrong, in AWS's words where they are known.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@cache
def service_model() -> ServiceModel:
    """Return botocore's model of SageMaker (0.1 s the first time)."""
    return botocore.session.Session().get_service_model("sagemaker")


def operation_model(operation: str) -> OperationModel:
    """Return the model of one operation.

    Raises:
        ApiError: SageMaker has no such operation (UnknownOperationException).
    """
    try:
        return service_model().operation_model(operation)
    except OperationNotFoundError:
        raise ApiError(
            "UnknownOperationException", f"SageMaker has no operation {operation!r}"
        ) from None


def input_shape(operation: str) -> StructureShape:
    """Return the shape of an operation's request."""
    return operation_model(operation).input_shape or _EMPTY


def output_shape(operation: str) -> StructureShape:
    """Return the shape of an operation's response."""
    return operation_model(operation).output_shape or _EMPTY


def parse(operation: str, body: bytes) -> dict[str, Any]:
    """Read and check a request.

    Args:
        operation: Operation name, for example `CreateModel`.
        body: JSON document as it came over the wire.

    Returns:
        The members that are given and not null; timestamps as epoch seconds.

    Raises:
        ApiError: SerializationException for what is not JSON or has a wrong JSON type,
            ValidationException for what violates the model. The message names the members.
    """
    return parse_structure(input_shape(operation), body)


def parse_structure(shape: StructureShape, body: bytes) -> dict[str, Any]:
    """Read and check a request of any service of this protocol, see `parse`.

    Args:
        shape: The shape of the request.
        body: JSON document as it came over the wire.
    """
    try:
        data = json.loads(body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", f"The request is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ApiError("SerializationException", "The request must be a JSON object")
    check = _Check()
    value = check.structure(shape, data, "", 0)
    if check.problems:
        plural = "s" if len(check.problems) > 1 else ""
        raise ApiError(
            "ValidationException",
            f"{len(check.problems)} validation error{plural} detected: "
            + "; ".join(check.problems),
        )
    return value


def serialize(operation: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Shape a response: declared members only, no nulls, timestamps as epoch seconds."""
    return shape_structure(output_shape(operation), result)


def shape_structure(shape: StructureShape, value: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a value what a structure of the model declares; timestamps become epoch seconds."""
    return {
        name: _shape(member, value[name])
        for name, member in shape.members.items()
        if value.get(name) is not None
    }


def _shape(shape: Shape, value: Any) -> object:  # noqa: ANN401 - whatever the shape stands for
    if shape.metadata.get("document"):
        return value
    if isinstance(shape, StructureShape):
        return shape_structure(shape, value)
    if isinstance(shape, ListShape):
        return [_shape(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: _shape(shape.value, item) for key, item in value.items()}
    if shape.type_name == "timestamp" and isinstance(value, datetime):
        return value.timestamp()
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


class _Check:
    """Checks one request and gathers all that is wrong, as AWS answers it in one message."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def value(self, shape: Shape, value: object, path: str, depth: int) -> object:
        if depth > _MAX_DEPTH:
            raise ApiError("SerializationException", f"'{path}' is nested too deeply")
        if shape.metadata.get("document"):
            return value  # whatever JSON has
        if isinstance(shape, StructureShape):
            return self.structure(shape, value, path, depth)
        if isinstance(shape, ListShape):
            return self.array(shape, value, path, depth)
        if isinstance(shape, MapShape):
            return self.map(shape, value, path, depth)
        return self.scalar(shape, value, path)

    def scalar(self, shape: Shape, value: object, path: str) -> object:
        if isinstance(shape, StringShape):
            return self.string(shape, value, path)
        if shape.type_name == "boolean":
            return _typed(value, bool, "a Boolean", path)
        if shape.type_name == "timestamp":
            return _timestamp(value, path)
        return self.number(shape, value, path)

    def structure(
        self, shape: StructureShape, value: object, path: str, depth: int
    ) -> dict[str, Any]:
        items = _typed(value, dict, "a structure", path).items()
        given = {name: item for name, item in items if item is not None}
        for name in shape.required_members:
            if name not in given:
                self.wrong(None, _member(path, name), "Member must not be null")
        for name in given.keys() - shape.members.keys():
            # AWS's front ends pass over unknown members; here they are most often typing errors, or
            # newer than the model, and would silently do nothing.
            self.problems.append(
                f"Unknown member '{_short(name)}' at '{path or 'the top level'}'; known are "
                + ", ".join(shape.members)
            )
        return {
            name: self.value(member, given[name], _member(path, name), depth + 1)
            for name, member in shape.members.items()
            if name in given
        }

    def array(self, shape: ListShape, value: object, path: str, depth: int) -> list[object]:
        items = _typed(value, list, "a list", path)
        self.length(shape, items, path)
        result = []
        for number, item in enumerate(items, 1):
            if item is None:
                self.wrong(None, f"{path}.{number}.member", "Member must not be null")
            else:
                result.append(self.value(shape.member, item, f"{path}.{number}.member", depth + 1))
        return result

    def map(self, shape: MapShape, value: object, path: str, depth: int) -> dict[str, object]:
        items = _typed(value, dict, "a map", path)
        self.length(shape, items, path)
        result = {}
        for key, item in items.items():
            self.value(shape.key, key, path, depth + 1)
            if item is not None:
                member = f"{path}.{_short(key)}.member"
                result[key] = self.value(shape.value, item, member, depth + 1)
        return result

    def string(self, shape: StringShape, value: object, path: str) -> str:
        text = _typed(value, str, "a String", path)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ApiError(
                "SerializationException", f"'{path}' is not valid Unicode: lone surrogate"
            ) from None
        if shape.enum and text not in shape.enum:
            self.wrong(text, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
            return text
        # The length comes first: it bounds the time that the pattern can take.
        pattern = shape.metadata.get("pattern")
        if self.length(shape, text, path) and pattern and not compiled(pattern).fullmatch(text):
            self.wrong(text, path, f"Member must satisfy regular expression pattern: {pattern}")
        return text

    def number(self, shape: Shape, value: object, path: str) -> int | float:
        kind = shape.type_name.capitalize()
        if isinstance(value, bool) or not isinstance(value, int | float):
            _not_convertible(value, f"a {kind}", path)
        bits = _INTEGER_BITS.get(shape.type_name)
        try:
            number = float(value) if bits is None else int(value)
            fits = math.isfinite(number) and (bits is None or -(2**bits) <= number < 2**bits)
        except (OverflowError, ValueError):
            fits = False
        if not fits or (bits is not None and number != value):
            raise ApiError(
                "SerializationException", f"{_short(value)} at '{path}' is not a value of {kind}"
            )
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and number < low:
            self.wrong(value, path, f"Member must have value greater than or equal to {low}")
        if high is not None and number > high:
            self.wrong(value, path, f"Member must have value less than or equal to {high}")
        return number

    def length(self, shape: Shape, value: Sized, path: str) -> bool:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and len(value) < low:
            self.wrong(value, path, f"Member must have length greater than or equal to {low}")
            return False
        if high is not None and len(value) > high:
            self.wrong(value, path, f"Member must have length less than or equal to {high}")
            return False
        return True

    def wrong(self, value: object, path: str, constraint: str) -> None:
        text = "null" if value is None else f"'{_short(value)}'"
        self.problems.append(f"Value {text} at '{path}' failed to satisfy constraint: {constraint}")


def _member(path: str, name: str) -> str:
    """Extend a path as AWS prints it: `productionVariants.1.member.modelName`."""
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _typed(value: object, kind: type[T], wanted: str, path: str) -> T:
    if not isinstance(value, kind):
        _not_convertible(value, wanted, path)
    return value


def _not_convertible(value: object, wanted: str, path: str) -> NoReturn:
    got = _JSON_TOKENS.get(type(value), "NUMBER_VALUE")
    raise ApiError("SerializationException", f"{got} at '{path}' can not be converted to {wanted}")


def _timestamp(value: object, path: str) -> float:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            _not_convertible(value, "a Timestamp", path)
        else:
            datetime.fromtimestamp(value, UTC)  # raises unless it is a moment that can be shown
            return float(value)
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ApiError(
            "SerializationException",
            f"'{_short(value)}' at '{path}' is not a Timestamp (epoch seconds or ISO 8601)",
        ) from None


def _short(value: object, limit: int = 200) -> str:
    text = (
        str(value) if not isinstance(value, int) or value.bit_length() < 1024 else "a huge number"
    )
    return text if len(text) <= limit else text[:limit] + "..."


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the model, which is in Java's dialect and means the whole value.

    Raises:
        re.error: The pattern uses something of Java's that is not translated here.
    """
    # Two patterns quantify an end-of-text anchor (`...)${1,128}`): legal in Java, without meaning.
    python = re.sub(r"\$\{\d+,\d+\}$", "", pattern)
    python = python.replace(r"\p{Print}+", r"[\p{Print}]+")  # the only class that stands alone
    # Java strings are UTF-16: a pair of surrogate ranges stands for all beyond the basic plane.
    python = python.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    python = re.sub(r"\\p\{(\w+)\}", lambda match: _unicode_class(match[1]), python)
    return re.compile(python)


def _unicode_class(name: str) -> str:
    """Spell a category of Java's patterns as the inside of a Python character set."""
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    return "".join(f"\\U{low:08X}-\\U{high:08X}" for low, high in _unicode_ranges()[name])


@cache
def _unicode_ranges() -> dict[str, list[tuple[int, int]]]:
    """Return the runs of characters, first and last, of each major category (`P`)."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for plane in _PLANES:
        for category, run in groupby(plane, lambda point: unicodedata.category(chr(point))[0]):
            points = list(run)
            ranges.setdefault(category, []).append((points[0], points[-1]))
    return ranges
