"""Captured requests and answers, line by line, with or without the labels merged in."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_aws.analyzer.settings import AnalysisError

Row = dict[str, str | None]


@dataclass(frozen=True)
class Captured:
    """One line of a capture file.

    Attributes:
        record: The line.
        path: The file it is in.
    """

    record: dict[str, Any]
    path: Path

    @property
    def identity(self) -> str:
        """The inference id that the caller gave, or else the event's id."""
        metadata = self.record.get("eventMetadata", {})
        return str(metadata.get("inferenceId") or metadata.get("eventId") or "")

    @property
    def time(self) -> datetime | None:
        """When the request was answered, if the line tells."""
        text = self.record.get("eventMetadata", {}).get("inferenceTime")
        try:
            moment = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def rows(self, side: str) -> list[Row]:
        """Return the rows of `endpointInput` or `endpointOutput`.

        Raises:
            ValueError: The payload is neither CSV nor JSON.
        """
        payload = self.record["captureData"][side]
        data, kind = payload["data"], payload.get("encoding", "")
        if kind == "BASE64":
            data = base64.b64decode(data).decode()
            content_type = payload.get("observedContentType", "")
            kind = "JSON" if "json" in content_type.lower() else "CSV"
        return json_rows(data) if kind == "JSON" else csv_rows(data)


def read(folder: Path) -> Iterator[Captured]:
    """Yield the lines of all capture files in a folder, in the order of the files' names.

    Raises:
        AnalysisError: A line is not a JSON object.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if not isinstance(record, dict):
                    raise AnalysisError(f"{path.name}: line {number} is not a JSON object")
                yield Captured(record, path)


def csv_rows(text: str) -> list[Row]:
    """Return CSV without header; columns are `_c0`, `_c1` and so on, empty fields missing."""
    return [
        {f"_c{place}": field or None for place, field in enumerate(fields)}
        for fields in csv.reader(io.StringIO(text))
        if fields
    ]


def json_rows(text: str) -> list[Row]:
    """Return one JSON object, a list of them, lines of them, or a member that holds the list."""
    try:
        # Numbers stay as they were written.
        content = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        content = [
            json.loads(line, parse_int=str, parse_float=str)
            for line in text.splitlines()
            if line.strip()
        ]
    if isinstance(content, dict) and len(content) == 1:
        (inner,) = content.values()
        if isinstance(inner, list):
            content = inner
    return rows_of(content)


def rows_of(content: object) -> list[Row]:
    """Return the rows of JSON values: an object, a list of objects or lists, or a single value."""
    rows = content if isinstance(content, list) else [content]
    return [_named(row) for row in rows]


def _named(row: object) -> Row:
    if isinstance(row, dict):
        return dict(_flat("", row))
    values = row if isinstance(row, list) else [row]
    return {f"_c{place}": _plain(value) for place, value in enumerate(values)}


def _flat(prefix: str, row: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: object) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value)
