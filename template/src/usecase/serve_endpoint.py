"""Requests to the endpoint and its answers: text/csv and application/json."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy.typing as npt
from starlette.routing import Route

from usecase.config import Features, UseCase
from usecase.errors import BadRequest
from usecase.model import Model
from usecase.problem import Target

CSV, JSON = "text/csv", "application/json"
CONTENT_TYPES = (CSV, JSON)
MAX_BYTES = 6 * 1024**2  # what SageMaker lets through to a real-time endpoint
ROUTES: list[Route] = []

#: The largest number of 32 bits, which is what the model computes with.
LARGEST = 3.4028234663852886e38

Value = float | str | None
Converter = Callable[[Any], Value]
Columns = dict[str, list[Value]]


def answer(body: bytes, content_type: str, accept: str, model: Model, use_case: UseCase) -> bytes:
    """Answer a request.

    Args:
        body: The rows.
        content_type: Its form, `CSV` or `JSON`.
        accept: The form of the answer.
        model: Predicts.
        use_case: Names the fields.

    Raises:
        BadRequest: When a row is wrong.
    """
    rows = parse(body, content_type, use_case.features)
    return render(use_case.target, model.predict(rows), accept)


def parse(body: bytes, content_type: str, features: Features) -> Columns:
    """Read the rows of a request.

    Args:
        body: CSV: a line per row without header, the fields in the order of usecase.toml, an empty
            field where a value is missing. JSON: `{"instances": [{feature: value}]}`, `null` where
            a value is missing. UTF-8.
        content_type: `CSV` or `JSON`.
        features: The features.

    Returns:
        The values of each feature.

    Raises:
        BadRequest: When it is something else.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 text: byte {error.start}") from None
    if not text.strip():
        raise BadRequest("the body is empty; send at least one row")
    rows: list[list[Any]]
    number: Converter
    category: Converter
    if content_type == CSV:
        rows, number, category = _csv_rows(text, features), _csv_number, _csv_category
    else:
        rows, number, category = _json_rows(text, features), _json_number, _json_category
    columns = dict(zip(features.names, zip(*rows, strict=True), strict=True))
    return {
        **{name: _convert(name, columns[name], number) for name in features.numeric},
        **{name: _convert(name, columns[name], category) for name in features.categorical},
    }


def render(target: Target, output: npt.NDArray[Any], content_type: str) -> bytes:
    """Write the answer.

    Args:
        target: Knows the fields of an answer.
        output: What `Model.predict` returned.
        content_type: `CSV`: a line per row without header, the fields in the order of
            `target.answer`. `JSON`: `{"predictions": [{field: value}]}`.
    """
    columns = target.answers(output)
    rows = zip(*columns.values(), strict=True)
    if content_type == CSV:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()
    predictions = [dict(zip(columns, row, strict=True)) for row in rows]
    return json.dumps({"predictions": predictions}).encode()


def _csv_rows(text: str, features: Features) -> list[list[Any]]:
    try:
        lines = io.StringIO(text.rstrip("\r\n"), newline="")
        rows = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise BadRequest(f"the body is not CSV: {error}") from None
    width = len(features.names)
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise BadRequest(
                f"row {number}: has {len(row)} fields, must have {width}: "
                f"{','.join(features.names)}"
            )
    if rows[0] == features.names:
        raise BadRequest("row 1: is a header; send the rows without it")
    return rows


def _json_rows(text: str, features: Features) -> list[list[Any]]:
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list) or len(document) != 1:
        raise BadRequest('the body must be {"instances": [{feature: value, …}, …]}')
    if not instances:
        raise BadRequest("instances: is empty; send at least one row")
    names = features.names
    rows = []
    for number, instance in enumerate(instances, 1):
        if not isinstance(instance, dict):
            raise BadRequest(f"row {number}: must be an object {{feature: value, …}}")
        try:
            row = [instance[name] for name in names]
        except KeyError as error:
            name = error.args[0]
            raise BadRequest(
                f"row {number}, field {name}: is not there; send null when it is not known"
            ) from None
        if len(instance) != len(names):
            unknown = next(name for name in instance if name not in names)
            raise BadRequest(f"row {number}, field {unknown}: unknown; known: {', '.join(names)}")
        rows.append(row)
    return rows


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number; send null for a missing value")


def _convert(name: str, values: Iterable[object], kind: Converter) -> list[Value]:
    """Convert the values of a feature."""
    converted = []
    for row, value in enumerate(values, 1):
        try:
            converted.append(kind(value))
        except (ValueError, TypeError, OverflowError):
            wanted = "number" if kind in (_csv_number, _json_number) else "text"
            raise BadRequest(
                f"row {row}, field {name}: {_shown(value)} is no {wanted}; send an empty field "
                "(CSV) or null (JSON) when it is not known"
            ) from None
    return converted


def _csv_number(text: str) -> float | None:
    if not text:
        return None
    if "_" in text:  # which Python allows in numbers
        raise ValueError
    return _finite(float(text))


def _csv_category(text: str) -> str | None:
    return text or None


def _json_number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return _finite(float(value))


def _json_category(value: object) -> str | None:
    """Text, or a whole number as a code: CSV writes the two alike."""
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise TypeError
    return None if value is None else str(value) or None


def _finite(number: float) -> float:
    if abs(number) > LARGEST or math.isnan(number):
        raise ValueError
    return number


def _shown(value: object) -> str:
    """A value for a message, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"
