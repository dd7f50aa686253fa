"""Checks requests against botocore's models more strictly than botocore does itself.

botocore checks required members and types, not the enums, patterns and limits that its models hold.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

# Character classes of Java's regular expressions, of which the models' patterns are made.
CLASSES = {
    r"\p{L}": r"\w",
    r"\p{M}": "",
    r"\p{Z}": r"\s",
    r"\p{N}": r"\d",
    r"\p{S}": r"$+<=>^`|~",
    r"\p{P}": r"!-/:-@\[-`{-~",
    r"\p{ASCII}": r"[\x00-\x7f]",
}


@cache
def service(name: str) -> ServiceModel:
    """The model of an AWS service."""
    model: ServiceModel = botocore.session.get_session().get_service_model(name)
    return model


def errors(service_name: str, operation: str, request: object) -> list[str]:
    """What is wrong with a request; empty if nothing is."""
    shape = service(service_name).operation_model(operation).input_shape
    return list(check(shape, request, operation))


def input_of(model: OperationModel, request: object) -> list[str]:
    """What is wrong with a request for an operation."""
    return list(check(model.input_shape, request, model.name))


def check(shape: Any, value: object, where: str) -> Iterator[str]:
    """Yield what is wrong with a value of a shape."""
    kinds: dict[str, tuple[type | tuple[type, ...], Callable[..., Iterator[str]]]] = {
        "structure": (Mapping, structure),
        "map": (Mapping, mapping),
        "list": (list, sequence),
        "string": (str, string),
        "integer": (int, number),
        "long": (int, number),
        "float": ((int, float), number),
        "double": ((int, float), number),
        "boolean": (bool, anything),
    }
    wanted, checker = kinds[shape.type_name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{where}: {value!r} is no {shape.type_name}"
    else:
        yield from checker(shape, value, where)


def structure(shape: Any, value: Mapping[str, object], where: str) -> Iterator[str]:
    yield from (f"{where}.{name}: missing" for name in shape.required_members if name not in value)
    for name, member in value.items():
        if name in shape.members:
            yield from check(shape.members[name], member, f"{where}.{name}")
        else:
            yield f"{where}.{name}: unknown"


def mapping(shape: Any, value: Mapping[str, object], where: str) -> Iterator[str]:
    yield from limits(shape, len(value), where)
    for key, item in value.items():
        yield from check(shape.key, key, f"{where} key")
        yield from check(shape.value, item, f"{where}[{key}]")


def sequence(shape: Any, value: list[object], where: str) -> Iterator[str]:
    yield from limits(shape, len(value), where)
    for i, item in enumerate(value):
        yield from check(shape.member, item, f"{where}[{i}]")


def string(shape: Any, value: str, where: str) -> Iterator[str]:
    yield from limits(shape, len(value), where)
    if shape.enum and value not in shape.enum:
        yield f"{where}: {value!r} is none of {shape.enum[:5]}…"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(translate(pattern), value):
        yield f"{where}: {value!r} does not match {pattern}"


def number(shape: Any, value: float, where: str) -> Iterator[str]:
    yield from limits(shape, value, where)


def anything(*_: object) -> Iterator[str]:
    yield from ()


def limits(shape: Shape, size: float, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        yield f"{where}: {size} is not between {low} and {high}"


def translate(pattern: str) -> str:
    """Write a pattern of the models as a regular expression of Python."""
    for java, python in CLASSES.items():
        pattern = pattern.replace(java, python)
    # Some patterns end in `${1,256}`: a quantifier on the end of the line, which means nothing.
    return re.sub(r"\$\{\d+,\d+\}$", "", pattern)
