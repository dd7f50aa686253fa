"""What was asked and answered in bodies that are too large for an event of the captures.

`lambdas/exchanges.py` leaves an event without them, which says where they are. As it is, such an
event is one that cannot be read: here it gets its rows, some at a time, however many there are.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from usecase import bodies, container
from usecase.bodies import Block
from usecase.config import UseCase
from usecase.errors import BadRequest
from usecase.lookups import Lookup
from usecase.predictions import capture, collect, parquet, reading
from usecase.predictions.parquet import DAY_FOLDER, PREDICTIONS, REJECTED, ROW

LARGE = ".large.jsonl"
"""How the name of such an event ends."""
#: So many rows of a table's file come into the memory of a reader at least.
GROUP = 50_000

SIDES = ("endpointInput", "endpointOutput")

Event = dict[str, Any]


def collect_all(
    captures: Path, tables: Path, use_case: UseCase, version: str, known: Mapping[str, Lookup]
) -> int:
    """Write what was captured of a version into both tables, also what is of large bodies.

    Args:
        captures: As all arguments, what `collect.collect` takes. The bodies are beside it, by the
            keys that they have in the data bucket.

    Returns:
        How many files were collected.

    Raises:
        UseCaseError: When a file is in no folder of an hour.
    """
    number = collect.collect(captures, tables, use_case, version, known)
    for path in sorted(captures.rglob(f"*{LARGE}")):
        file = path.relative_to(captures).as_posix()
        event = container.read_json(path)
        payloads = event["captureData"]
        # Of one that is incomplete, the reason why it is rejected is in the table already.
        found = {side: captures.parent / key(payloads[side]) for side in SIDES if side in payloads}
        if reading.version_of(file) == version and all(
            side in found and found[side].exists() for side in SIDES
        ):
            complete(file, event, found, tables, use_case, known)
    return number


def key(payload: Mapping[str, str]) -> str:
    """The key of a body, in its bucket."""
    return payload["location"].removeprefix("s3://").partition("/")[2]


def complete(
    file: str,
    event: Event,
    found: Mapping[str, Path],
    tables: Path,
    use_case: UseCase,
    known: Mapping[str, Lookup],
) -> None:
    """Write the rows of an event into the tables, or the reason why they cannot be read.

    Args:
        file: Its file, below the folder of all captures.
        event: The event.
        found: The bodies.
        tables: The folders of the tables are written here.
        use_case: Names the features.
        known: The look-ups of the version.
    """
    kinds = parquet.columns(use_case)
    time = datetime.fromisoformat(event["eventMetadata"]["inferenceTime"]).astimezone(UTC)
    (place,) = (path for path in collect.files_of(file) if path.startswith(f"{time:{DAY_FOLDER}}"))
    version = str(reading.version_of(file))
    rejected = parquet.nothing(kinds[REJECTED])
    with tempfile.TemporaryDirectory() as folder:
        scratch, parts = Path(folder), Path(folder, "parts")
        parts.mkdir()
        parquet.nothing(kinds[PREDICTIONS]).write_parquet(parts / "0.parquet")
        for first, part in split(event, found):
            container.write_json(scratch / "events" / file, part)
            # One line: the file is JSON Lines.
            (scratch / "events" / file).write_text(f"{json.dumps(part)}\n", encoding="utf-8")
            read = capture.read(scratch / "events", use_case, version, known)
            if read.rejected.height:
                rejected = parquet.typed(read.rejected, kinds[REJECTED])
                break
            rows = read.rows.with_columns(pl.col(ROW) + first)
            path = parts / f"1-{first:012}.parquet"
            parquet.typed(rows, kinds[PREDICTIONS]).write_parquet(path)
        if rejected.is_empty():
            whole = pl.scan_parquet(parts / "*.parquet")
            container.write(
                tables / PREDICTIONS / place,
                lambda path: whole.sink_parquet(path, row_group_size=GROUP),
            )
    container.write(tables / REJECTED / place, rejected.write_parquet)


def split(event: Event, found: Mapping[str, Path]) -> Iterator[tuple[int, Event]]:
    """The event as several, of some rows each, and how many rows are before each of them.

    One that is not of as many rows as the other, or cannot be read, ends with an event that lacks
    a side, and so is rejected.
    """
    sides = [blocks(found[side], event["captureData"][side]) for side in SIDES]
    first = 0
    for some in zip_longest(*sides):
        first = next(block.first for block in some if block)
        payloads = {
            side: {
                "observedContentType": block.content_type,
                "encoding": "CSV",
                "data": block.body.decode(),
            }
            for side, block in zip(SIDES, some, strict=True)
            if block
        }
        yield first, event | {"captureData": payloads}


def blocks(path: Path, payload: Mapping[str, str]) -> Iterator[Block]:
    """The rows of a body, up to where it cannot be read."""
    content_type = payload["observedContentType"].partition(";")[0].strip().lower()
    try:
        yield from bodies.blocks(path, content_type)
    except (BadRequest, UnicodeDecodeError) as error:
        print(f"{path}: {error}")
