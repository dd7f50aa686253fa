"""Requests to the endpoint and its answers: CSV, JSON and JSON Lines.

As SageMaker's own algorithms and its SDK's serialisers write them:
https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html
"""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt
from starlette.routing import Route

from usecase import rows
from usecase.config import Features, UseCase
from usecase.errors import BadRequest, ModelError
from usecase.model import Model
from usecase.problem import Target
from usecase.rows import RowError, Value

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
CONTENT_TYPES = (CSV, JSON, JSON_LINES)
MAX_BYTES = 6 * 1024**2  # what SageMaker lets through to a real-time endpoint
ROUTES: list[Route] = []

Columns = dict[str, list[Value]]


def answer(body: bytes, content_type: str, accept: str, model: Model, use_case: UseCase) -> bytes:
    """Answer a request.

    Args:
        body: The rows.
        content_type: Its form: `CSV`, `JSON` or `JSON_LINES`.
        accept: The form of the answer, any of the same.
        model: Predicts.
        use_case: Names the fields.

    Raises:
        BadRequest: When a row is wrong.
        ModelError: When the model answers NaN or infinity.
    """
    output = model.predict(parse(body, content_type, use_case.features))
    if wrong := rows.unanswered(output):
        row, reason = next(iter(wrong.items()))
        raise ModelError(f"row {row + 1}: {reason} ({len(wrong)} of {len(output)} rows)")
    return render(use_case.target, output, accept)


def parse(body: bytes, content_type: str, features: Features) -> Columns:
    """Read the rows of a request.

    Args:
        body: CSV: a line per row without header, the fields in the order of usecase.toml, an empty
            field where a value is missing. JSON: `{"instances": [{feature: value}]}`, `null` where
            a value is missing. JSON Lines: such a `{feature: value}` on each line. UTF-8.
        content_type: `CSV`, `JSON` or `JSON_LINES`.
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
    if content_type == CSV:
        return _csv_columns(_csv_rows(text, features), features)
    # Not by `splitlines`: a JSON string may hold other line ends, such as U+2028.
    entries: Iterable[object] = (
        map(rows.load, text.rstrip().split("\n"))
        if content_type == JSON_LINES
        else _instances(text)
    )
    kinds = rows.converters(features)
    values: list[list[Value]] = []
    try:
        for entry in entries:
            values.append(rows.read(entry, kinds))
    except RowError as error:
        raise BadRequest(error.within(len(values) + 1)) from None
    return {name: [*column] for name, column in zip(kinds, zip(*values, strict=True), strict=True)}


def render(target: Target, output: npt.NDArray[Any], content_type: str) -> bytes:
    """Write the answer.

    Args:
        target: Knows the fields of an answer.
        output: What `Model.predict` returned.
        content_type: `CSV`: a line per row without header, the fields in the order of
            `target.answer`. `JSON`: `{"predictions": [{field: value}]}`. `JSON_LINES`: such a
            `{field: value}` on each line.
    """
    columns = target.answers(output)
    answers = zip(*columns.values(), strict=True)
    if content_type == CSV:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(answers)
        return text.getvalue().encode()
    predictions = [dict(zip(columns, row, strict=True)) for row in answers]
    if content_type == JSON_LINES:
        return "".join(f"{json.dumps(entry)}\n" for entry in predictions).encode()
    return json.dumps({"predictions": predictions}).encode()


def _csv_rows(text: str, features: Features) -> list[list[str]]:
    try:
        lines = io.StringIO(text.rstrip("\r\n"), newline="")
        found = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise BadRequest(f"the body is not CSV: {error}") from None
    width = len(features.names)
    for number, row in enumerate(found, 1):
        if len(row) != width:
            raise BadRequest(
                f"row {number}: has {len(row)} fields, must have {width}: "
                f"{','.join(features.names)}"
            )
    if found[0] == features.names:
        raise BadRequest("row 1: is a header; send the rows without it")
    return found


def _csv_columns(found: list[list[str]], features: Features) -> Columns:
    columns = dict(zip(features.names, zip(*found, strict=True), strict=True))
    return {
        **{name: _csv_numbers(name, columns[name]) for name in features.numeric},
        **{name: [text or None for text in columns[name]] for name in features.categorical},
    }


def _csv_numbers(name: str, texts: Iterable[str]) -> list[Value]:
    numbers: list[Value] = []
    for row, text in enumerate(texts, 1):
        try:
            numbers.append(_csv_number(text))
        except ValueError:
            reason = f"{rows.shorten(text)} is not a number; leave it empty when it is not known"
            raise BadRequest(RowError(reason, name).within(row)) from None
    return numbers


def _csv_number(text: str) -> float | None:
    if not text:
        return None
    if "_" in text or not text.isascii():  # Python allows both in numbers, other readers do not
        raise ValueError
    return rows.finite(float(text))


def _instances(text: str) -> list[object]:
    """The rows of a document `{"instances": […]}`."""
    try:
        document = rows.load(text)
    except RowError as error:
        raise BadRequest(f"the body {error}") from None
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list) or len(document) != 1:
        raise BadRequest('the body must be {"instances": [{feature: value, …}, …]}')
    if not instances:
        raise BadRequest("instances: is empty; send at least one row")
    return instances
