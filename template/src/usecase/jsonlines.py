"""Folders of JSON Lines files."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

LOG = logging.getLogger(__name__)


def read(folder: Path, schema: dict[str, Any]) -> pl.DataFrame:
    """Read all JSON Lines files below a folder, in order of their names.

    Args:
        folder: The folder.
        schema: The members that are wanted; others are ignored. Lines that are no JSON objects are
            left out; their number is logged.
    """
    # One call for all: SageMaker can write very many, very small files.
    content = b"\n".join(file.read_bytes() for file in sorted(folder.rglob("*.jsonl"))).strip()
    if not content:
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_ndjson(content, schema=schema)
    except pl.exceptions.PolarsError:
        lines = [line for line in content.splitlines() if line.strip()]
        good = [line for line in lines if _fits(line, schema)]
        if len(good) < len(lines):
            LOG.warning("left out %d lines that are not JSON of this form", len(lines) - len(good))
        if not good:
            return pl.DataFrame(schema=schema)
        return pl.read_ndjson(b"\n".join(good), schema=schema)


def _fits(line: bytes, schema: dict[str, Any]) -> bool:
    try:
        pl.read_ndjson(line, schema=schema)
    except pl.exceptions.PolarsError:
        return False
    return True
