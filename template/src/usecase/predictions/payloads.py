"""The rows of what was captured: requests and answers."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from usecase.config import UseCase
from usecase.rows import Fields, fields_of, moment


@dataclass(frozen=True)
class Payloads:
    """One side of some events.

    Attributes:
        rows: `_event`, its number; `_row`; and the fields, all as text, also those that were not
            expected.
        unreadable: The events whose JSON has another form.
        odd: Those with a CSV row of another width, with what is odd about the first such row.
    """

    rows: pl.DataFrame
    unreadable: list[int]
    odd: dict[int, str]


def raw(events: pl.DataFrame, use_case: UseCase) -> pl.Series:
    """Whether events have the fields of `[request]`, from which the server made the features.

    Args:
        events: `sent`, its text, and `sent_json`, whether it is JSON.
        use_case: Names the fields.
    """
    if use_case.request is None:
        return pl.repeat(value=False, n=events.height, eager=True)
    sent = events.select("sent", "sent_json").iter_rows()
    found = [fields_of(_first(text, is_json=json), use_case).raw for text, json in sent]
    return pl.Series(found, dtype=pl.Boolean)


def _first(text: str, *, is_json: bool) -> object:
    """The first row of a request; `None` when it cannot be read."""
    try:
        return json.loads(text)["instances"][0] if is_json else next(csv.reader(io.StringIO(text)))
    except (ValueError, TypeError, LookupError, StopIteration, csv.Error):
        return None


def typed(rows: pl.DataFrame, fields: Fields) -> pl.DataFrame:
    """Fields with the types that they have for the server, which has read them already.

    Args:
        rows: The fields as text.
        fields: Those of `[request]`.
    """
    columns = []
    for name, kind in fields.schema.items():
        texts = rows[name]
        if fields.types[name] == "datetime":
            columns.append(pl.Series(name, [_moment(text) for text in texts], kind))
        elif fields.types[name] == "number":
            columns.append(texts.str.strip_chars().cast(kind, strict=False))
        else:
            columns.append(texts)
    return pl.DataFrame(columns)


def _moment(text: str | None) -> datetime | None:
    """A time, `None` for what is none: the server has refused it."""
    try:
        return moment(text)
    except (ValueError, OverflowError):
        return None


def read(events: pl.DataFrame, side: str, member: str, names: list[str]) -> Payloads:
    """The rows of one side of the events, all as text.

    Args:
        events: `_event`, and of the side its text and whether it is JSON.
        side: `sent` or `answered`.
        member: The member of a JSON payload that holds the rows.
        names: What the fields of a CSV row are.
    """
    is_json = pl.col(f"{side}_json")
    csv_rows, others = _csv_rows(events.filter(~is_json).select("_event", text=side), len(names))
    json_rows, unreadable = _json_rows(
        events.filter(is_json).select("_event", side).iter_rows(), member
    )
    from_csv = csv_rows.select(
        "_event",
        *(pl.col("fields").list.get(i).alias(name) for i, name in enumerate(names)),
    )
    schema = {"_event": pl.UInt32} | dict.fromkeys([*names, *_keys(json_rows)], pl.String)
    from_json = pl.DataFrame(json_rows, schema=schema, orient="row")
    rows = pl.concat([from_csv, from_json], how="diagonal").with_columns(
        pl.exclude("_event").replace("", None),
        _row=pl.int_range(pl.len()).over("_event"),
    )
    odd = {event: f"{width} in a row instead of {len(names)}" for event, width in others.items()}
    return Payloads(rows, unreadable, odd)


def _csv_rows(events: pl.DataFrame, width: int) -> tuple[pl.DataFrame, dict[int, int]]:
    """Split CSV payloads into rows and fields: `_event`, `fields`.

    An event with a row of another width is left out; it is returned with that width.
    """
    quoted = pl.col("text").str.contains('"', literal=True)
    plain = (
        events.filter(~quoted)
        .with_columns(pl.col("text").str.strip_chars_end("\r\n").str.split("\n"))
        .explode("text")
        .select("_event", fields=pl.col("text").str.strip_chars_end("\r").str.split(","))
    )
    # Quotes are rare, and Python's reader knows all about them.
    parsed = [
        {"_event": event, "fields": fields}
        for event, text in events.filter(quoted).iter_rows()
        for fields in csv.reader(io.StringIO(text))
    ]
    rows = pl.concat([plain, pl.DataFrame(parsed, schema=plain.schema)])
    rows = rows.with_columns(width=pl.col("fields").list.len())
    odd = rows.filter(pl.col("width") != width).unique("_event", keep="first", maintain_order=True)
    fitting = rows.filter(~pl.col("_event").is_in(odd["_event"].to_list()))
    return fitting.drop("width"), dict(odd.select("_event", "width").iter_rows())


def _json_rows(
    events: Iterable[tuple[int, str]], member: str
) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows of JSON payloads, values as text, and the events that are of another form."""
    rows: list[dict[str, Any]] = []
    unreadable = []
    for event, text in events:
        try:
            # Numbers stay as they were written.
            found = json.loads(text, parse_int=str, parse_float=str)[member]
            rows += [
                {"_event": event} | {name: _plain(value) for name, value in entry.items()}
                for entry in found
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            unreadable.append(event)
    return rows, unreadable


def _plain(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _keys(rows: list[dict[str, Any]]) -> list[str]:
    """The keys of the rows but `_event`, in order."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name != "_event"]
