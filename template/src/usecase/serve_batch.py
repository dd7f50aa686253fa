"""What batch transform asks: CSV or JSON Lines, one line per row, many rows at a time.

A row that cannot be scored does not stop the others: its answer holds an error and no prediction.
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

import codecs
import csv
import io
import os
from datetime import datetime
from typing import Any

import numpy.typing as npt
import polars as pl
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from usecase import inputs
from usecase import rows as json_rows
from usecase.config import UseCase
from usecase.errors import BadRequest
from usecase.rows import LARGEST, Fields, RowError, Value
from usecase.version import Version

CSV, JSON_LINES = "text/csv", "application/jsonlines"
CONTENT_TYPES = (CSV, JSON_LINES)
MAX_BYTES = 100 * 1024**2  # the most that a job's MaxPayloadInMB can be

ERROR = "error"
SHOWN = 40  # characters of a wrong value
HEADER = "is a header; send the rows without it"
NO_NUMBER = 'field {}: "{}" is not a number; leave it empty when it is not known'
_ROW = "row"


async def execution_parameters(_: Request) -> JSONResponse:
    """What a job uses where its request says nothing: as many requests at a time as processors.

    The job's request cannot know them: it names an instance type.
    """
    # Times MaxPayloadInMB, 6 unless the request says otherwise, it may be 100 at most.
    concurrent = min(os.cpu_count() or 1, 16)
    return JSONResponse({"MaxConcurrentTransforms": concurrent, "BatchStrategy": "MULTI_RECORD"})


ROUTES = [Route("/execution-parameters", execution_parameters)]


def answer(body: bytes, content_type: str, accept: str, version: Version) -> bytes:
    """Score rows.

    Args:
        body: A line per row. CSV: without header, the fields in the order of usecase.toml, an empty
            field where a value is missing. A field cannot hold a line break: SageMaker splits the
            input at each of them. JSON Lines: `{field: value}`, `null` where a value is missing.
            All rows have the features, or all what a caller sends in their place.
        content_type: Its form, `CSV` or `JSON_LINES`.
        accept: The form of the answer, the same or the other.
        version: Predicts.

    Returns:
        A line for each row: the fields of `target.answer`, then what is wrong with the row. One of
        the two is empty, or null in JSON Lines.

    Raises:
        BadRequest: When the body is empty or not UTF-8.
    """
    use_case = version.use_case
    fields = fields_of(body, content_type, use_case)
    rows = parse(body, content_type, fields)
    table, errors = rows, rows[ERROR]
    if fields.raw:
        table, reasons = inputs.finite(version.features(rows.drop(ERROR)))
        errors = errors.zip_with(errors.is_not_null(), reasons)
    output = version.model.predict({name: table[name] for name in use_case.features.names})
    answers = pl.DataFrame(use_case.target.answers(output))
    return render(answers, blame(errors, output), accept)


def blame(errors: pl.Series, output: npt.NDArray[Any]) -> pl.Series:
    """Add to what is wrong with rows what is wrong with the model's answers to the others."""
    wrong = json_rows.unanswered(output)
    if not wrong:
        return errors
    reasons = pl.Series([wrong.get(row) for row in range(len(output))], dtype=pl.String)
    return errors.zip_with(errors.is_not_null(), reasons)


def fields_of(body: bytes, content_type: str, use_case: UseCase) -> Fields:
    """The fields that the rows have, told by the first one that can be read.

    The batch workflow sends features, as CSV: such they are where a request has as many fields.
    """
    for line in io.BytesIO(body):
        text = line.decode("utf-8-sig", errors="replace")
        try:
            first = json_rows.load(text) if content_type == JSON_LINES else next(csv.reader([text]))
        except (RowError, csv.Error, StopIteration):
            continue
        return json_rows.fields_of(first, use_case, of_request=False)
    return json_rows.fields_of(None, use_case)


def parse(body: bytes, content_type: str, fields: Fields) -> pl.DataFrame:
    """Read rows.

    Returns:
        The values by the name of the field, and `error`, null where nothing is wrong.

    Raises:
        BadRequest: When the body is empty or not UTF-8.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body:
        raise BadRequest("the body is empty; send at least one row")
    if content_type == JSON_LINES:
        return parse_json(decode(body), fields)
    rows = parse_csv(body, fields)
    if is_header(body, fields.names):
        first = pl.int_range(pl.len()) == 0
        rows = rows.with_columns(
            *(pl.when(~first).then(name).alias(name) for name in fields.names),
            pl.when(first).then(pl.lit(HEADER)).otherwise(ERROR).alias(ERROR),
        )
    return rows


def is_header(body: bytes, names: list[str]) -> bool:
    """Whether the first line names the features: where all are text, they would be taken for it."""
    line = body[: body.find(b"\n") + 1 or None].decode(errors="replace")
    return [field.strip('"') for field in line.strip().split(",")] == names


def decode(body: bytes) -> str:
    """The text of a body.

    Raises:
        BadRequest: When it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 text: byte {error.start}") from None


def parse_json(text: str, fields: Fields) -> pl.DataFrame:
    """Read rows of JSON Lines."""
    nothing: list[Value] = [None] * len(fields.types)
    found: list[list[Value]] = []
    for line in text.removesuffix("\n").split("\n"):
        try:
            found.append([*json_rows.read(json_rows.load(line), fields), None])
        except RowError as error:
            # JSON can hold halves of characters, which UTF-8 cannot write.
            found.append([*nothing, str(error).encode("utf-8", "replace").decode()])
    return pl.DataFrame(found, {**fields.schema, ERROR: pl.String()}, orient="row")


def parse_csv(body: bytes, fields: Fields) -> pl.DataFrame:
    """Read rows of CSV."""
    if (table := whole(body, fields)) is not None:
        rows = table.with_columns(pl.lit(None, pl.String).alias(ERROR))
    else:
        rows = split(body, fields.names)
        for name, kind in fields.types.items():
            if kind == "number":
                rows = rows.with_columns(*numbers(name))
    for name, kind in fields.types.items():
        if kind == "datetime":
            rows = rows.with_columns(moments(name, rows[name], fields))
    for name in fields.required:
        absent = pl.col(name).is_null() & pl.col(ERROR).is_null()
        rows = rows.with_columns(
            pl.when(absent).then(pl.lit(str(fields.absent(name)))).otherwise(ERROR).alias(ERROR)
        )
    return rows


def numbers(name: str) -> tuple[pl.Expr, pl.Expr]:
    """The numbers of a field that has been read as text, and what is wrong with a row."""
    text = pl.col(name).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    odd = text.is_not_null() & ~(number.abs() <= LARGEST).fill_null(value=False)
    reason = pl.format(NO_NUMBER, pl.lit(name), pl.col(name).str.head(SHOWN))
    wrong = pl.when(odd & pl.col(ERROR).is_null()).then(reason).otherwise(ERROR).alias(ERROR)
    return pl.when(~odd).then(number).alias(name), wrong


def moments(name: str, texts: pl.Series, fields: Fields) -> tuple[pl.Series, pl.Expr]:
    """The times of a field that has been read as text, and what is wrong with a row."""
    times: list[datetime | None] = []
    wrong: list[str | None] = []
    for text in texts:
        time, reason = None, None
        try:
            time = json_rows.moment(text)
        except (ValueError, OverflowError):
            reason = str(fields.wrong(name, text, "leave it empty when it is not known"))
        times.append(time)
        wrong.append(reason)
    values = pl.Series(name, times, pl.Datetime("us"))
    return values, pl.coalesce(ERROR, pl.Series(ERROR, wrong, pl.String))


def whole(body: bytes, fields: Fields) -> pl.DataFrame | None:
    """Read rows at once, as can be done where nothing is wrong and nothing in quotes.

    Returns:
        Numbers and text; times as text.
    """
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    if b'"' in body or body.count(b",") != lines * (len(fields.types) - 1):
        return None
    numeric = [name for name, kind in fields.types.items() if kind == "number"]
    schema = dict.fromkeys(fields.types, pl.String()) | dict.fromkeys(numeric, pl.Float64())
    try:
        table = pl.read_csv(body, has_header=False, schema=schema, quote_char=None)
    except pl.exceptions.PolarsError:
        return None
    # Polars refuses a line that is too long, so with as many separators as there have to be, none
    # is too short.
    fit = all((table[name].abs() <= LARGEST).all() for name in numeric)
    return table if fit and table.height == lines else None


def split(body: bytes, names: list[str]) -> pl.DataFrame:
    """Split lines into fields.

    Returns:
        The fields as text, null where empty, and `error`, for lines that have not these fields.
    """
    schema = {name: pl.String() for name in names}
    text = decode(body)
    lines = pl.DataFrame({"line": text.removesuffix("\n").split("\n")}).with_row_index(_ROW)
    separators = pl.col("line").str.count_matches(",", literal=True)
    quoted = pl.col("line").str.contains('"', literal=True)
    # A blank line of a CSV file is not a row; here it is one, whose only field is empty.
    usual = (separators == len(names) - 1) & ~quoted & (pl.col("line") != "")
    plain = lines.filter(usual)
    content = body if plain.height == lines.height else "\n".join(plain["line"]).encode()
    if plain.height:
        parsed = pl.read_csv(content, has_header=False, schema=schema, quote_char=None)
    else:
        parsed = pl.DataFrame(schema=schema)
    table = parsed.with_columns(plain[_ROW], pl.lit(None, pl.String).alias(ERROR))
    if plain.height == lines.height:
        return table
    others = [one_by_one(row, line, names) for row, line in lines.filter(~usual).iter_rows()]
    rest = pl.DataFrame(others, schema={_ROW: pl.UInt32, **schema, ERROR: pl.String}, orient="row")
    return pl.concat([table, rest.select(table.columns)]).sort(_ROW)


def one_by_one(row: int, line: str, names: list[str]) -> list[int | str | None]:
    """Read a line that has quotes, or not the expected number of fields."""
    nothing: list[str | None] = [None] * len(names)
    try:
        found = next(csv.reader([line], strict=True), [""])
    except csv.Error as error:
        return [row, *nothing, f"is not CSV: {error}"]
    if len(found) != len(names):
        return [
            row,
            *nothing,
            f"has {len(found)} fields, must have {len(names)}: {','.join(names)}",
        ]
    return [row, *(field or None for field in found), None]


def render(answers: pl.DataFrame, errors: pl.Series, content_type: str) -> bytes:
    """Write the answer; rows with an error have no prediction."""
    right = errors.is_null()
    if not right.all():
        answers = answers.select(
            pl.when(right).then(pl.col(name)).alias(name) for name in answers.columns
        )
    answers = answers.with_columns(errors.alias(ERROR))
    if content_type == JSON_LINES:
        return answers.write_ndjson().encode()
    return answers.write_csv(include_header=False).encode()
