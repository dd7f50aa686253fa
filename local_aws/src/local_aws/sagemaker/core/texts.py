"""Texts that several rooms write the same way."""

from __future__ import annotations

import json


def text(value: object) -> str:
    """Write a value as it stands in a joined string: in JSON, unless it is text already."""
    return value if isinstance(value, str) else json.dumps(value)


def shorten(text: str, limit: int) -> str:
    """Cut a text to a number of characters by its middle: a job's own last words are at the end."""
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]} ... {text[head + 5 - limit :]}"
