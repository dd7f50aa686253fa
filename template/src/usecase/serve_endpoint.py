"""Requests to the endpoint and its answers: CSV, JSON and JSON Lines.

As SageMaker's own algorithms and its SDK's serialisers write them:
https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy.typing as npt
import polars as pl
from starlette.routing import Route

from usecase import rows
from usecase.config import UseCase
from usecase.errors import BadRequest, UseCaseError
from usecase.inputs import InfiniteFeatureError
from usecase.problem import Target
from usecase.rows import Fields, RowError, Value
from usecase.version import Version

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
CONTENT_TYPES = (CSV, JSON, JSON_LINES)
MAX_BYTES = 6 * 1024**2  # what SageMaker lets through to a real-time endpoint
ROUTES: list[Route] = []

Columns = dict[str, list[Any]]

MISSING = "leave it empty when it is not known"


def answer(body: bytes, content_type: str, accept: str, version: Version) -> bytes:
    """Answer a request.

    Args:
        body: The rows.
        content_type: Its form: `CSV`, `JSON` or `JSON_LINES`.
        accept: The form of the answer, any of the same.
        version: Predicts.

    Raises:
        BadRequest: When a row is wrong.
        UseCaseError: When the model answers NaN or infinity, or features cannot be made.
    """
    fields, columns = parse(body, content_type, version.use_case)
    if fields.raw:
        try:
            table = version.features(pl.DataFrame(columns, fields.schema))
        except InfiniteFeatureError as error:  # a zero to divide by, say
            raise BadRequest(str(error)) from None
        columns = table.to_dict(as_series=False)
    output = version.model.predict(columns)
    if wrong := rows.unanswered(output):
        row, reason = next(iter(wrong.items()))
        raise UseCaseError(f"row {row + 1}: {reason} ({len(wrong)} of {len(output)} rows)")
    return render(version.use_case.target, output, accept)


def parse(body: bytes, content_type: str, use_case: UseCase) -> tuple[Fields, Columns]:
    """Read the rows of a request.

    Args:
        body: CSV: a line per row without header, the fields in the order of usecase.toml, an empty
            field where a value is missing. JSON: `{"instances": [{field: value}]}`, `null` where
            a value is missing. JSON Lines: such a `{field: value}` on each line. UTF-8.
        content_type: `CSV`, `JSON` or `JSON_LINES`.
        use_case: Names the fields: the features or those of `[request]`, the same in all rows.

    Returns:
        The fields, and the values of each.

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
        return _csv(text, use_case)
    # Not by `splitlines`: a JSON string may hold other line ends, such as U+2028.
    entries: Iterator[object] = (
        map(rows.load, text.rstrip().split("\n"))
        if content_type == JSON_LINES
        else iter(_instances(text))
    )
    values: list[list[Value]] = []
    try:
        first = next(entries)
        fields = rows.fields_of(first, use_case)
        for entry in chain([first], entries):
            values.append(rows.read(entry, fields))
    except RowError as error:
        raise BadRequest(error.within(len(values) + 1)) from None
    columns = zip(fields.types, zip(*values, strict=True), strict=True)
    return fields, {name: [*column] for name, column in columns}


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


def _csv(text: str, use_case: UseCase) -> tuple[Fields, Columns]:
    try:
        lines = io.StringIO(text.rstrip("\r\n"), newline="")
        found = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise BadRequest(f"the body is not CSV: {error}") from None
    fields = rows.fields_of(found[0], use_case)
    width = len(fields.types)
    for number, row in enumerate(found, 1):
        if len(row) != width:
            raise BadRequest(
                f"row {number}: has {len(row)} fields, must have {width}: {','.join(fields.types)}"
            )
    if found[0] == fields.names:
        raise BadRequest("row 1: is a header; send the rows without it")
    columns = zip(fields.types, zip(*found, strict=True), strict=True)
    return fields, {name: _csv_values(name, texts, fields) for name, texts in columns}


def _csv_values(name: str, texts: Iterable[str], fields: Fields) -> list[Value]:
    kind = fields.types[name]
    convert = _csv_number if kind == "number" else rows.CONVERTERS[kind]
    values: list[Value] = []
    for row, text in enumerate(texts, 1):
        try:
            value = convert(text) if text else None
        except (ValueError, OverflowError):
            raise BadRequest(fields.wrong(name, text, MISSING).within(row)) from None
        if value is None and name in fields.required:
            raise BadRequest(fields.absent(name).within(row))
        values.append(value)
    return values


def _csv_number(text: str) -> float:
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
