"""What was asked and answered in bodies that are too large for an event of the captures.

`lambdas/exchanges.py` leaves an event without them, which says where they are. As it is, such an
event is one that cannot be read: here it gets its rows, some at a time, however many there are.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from usecase.predictions import capture, parquet, reading
from usecase.predictions import collect as small
from usecase.predictions.parquet import DAY_FOLDER, PREDICTIONS, REJECTED, ROW

LARGE = ".large.jsonl"
"""How the name of such an event ends."""
#: So many rows of a table's file come into the memory of a reader at least.
GROUP = 50_000

SIDES = ("endpointInput", "endpointOutput")


def collect(
    captures: Path, tables: Path, use_case: UseCase, version: str, known: Mapping[str, Lookup]
) -> int:
    """Write what was captured of a version into both tables, also what is of large bodies.

    Args:
        captures: All captured files are below it. The bodies are beside it, by the keys that they
            have in the data bucket.
        tables: The folders of the tables are written here.
        use_case: Names the features.
        version: The version.
        known: Its look-ups, which make features of requests.

    Returns:
        How many files were collected.

    Raises:
        UseCaseError: When a file is in no folder of an hour, or the key of the hashes is missing.
    """
    number = small.collect(captures, tables, use_case, version, known)
    for path in sorted(captures.rglob(f"*{LARGE}")):
        found = Exchange(path.relative_to(captures).as_posix(), container.read_json(path))
        # Of one that is incomplete, the reason why it is rejected is in the table already.
        if reading.version_of(found.file) == version and found.is_whole(captures.parent):
            complete(found, captures.parent, tables, use_case, known)
    return number


@dataclass(frozen=True)
class Exchange:
    """A request with its answer.

    Attributes:
        file: The file of its event, below the folder of all captures.
        event: The event.
    """

    file: str
    event: dict[str, Any]

    def body(self, side: str, folder: Path) -> Path:
        """The body of a side, in a folder that has the keys of the data bucket."""
        location: str = self.event["captureData"][side]["location"]
        return folder / location.removeprefix("s3://").partition("/")[2]

    def is_whole(self, folder: Path) -> bool:
        """Whether both bodies are there."""
        known = self.event["captureData"].keys()
        return known >= set(SIDES) and all(self.body(side, folder).exists() for side in SIDES)

    def parts(self, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """The event as several, of some rows each, and how many rows are before each of them.

        A side that has fewer rows than the other, or cannot be read, ends in events that lack it,
        and so are rejected.
        """
        for some in zip_longest(*(self._blocks(side, folder) for side in SIDES)):
            payloads = {
                side: {
                    "observedContentType": block.content_type,
                    "encoding": "CSV",
                    "data": block.body.decode(errors="replace"),
                }
                for side, block in zip(SIDES, some, strict=True)
                if block
            }
            first = next(block.first for block in some if block)
            yield first, self.event | {"captureData": payloads}

    def _blocks(self, side: str, folder: Path) -> Iterator[Block]:
        kind = self.event["captureData"][side]["observedContentType"]
        try:
            yield from bodies.blocks(
                self.body(side, folder), kind.partition(";")[0].strip().lower()
            )
        except BadRequest as error:
            print(f"{self.file}: {side}: {error}")


def complete(
    exchange: Exchange, folder: Path, tables: Path, use_case: UseCase, known: Mapping[str, Lookup]
) -> None:
    """Write the rows of an exchange into the tables, or the reason why they cannot be read.

    Args:
        exchange: The exchange, of which all is there.
        folder: Has its bodies.
        tables: The folders of the tables are written here.
        use_case: Names the features.
        known: The look-ups of the version.
    """
    kinds = parquet.columns(use_case)
    metadata = exchange.event["eventMetadata"]
    day = f"{datetime.fromisoformat(metadata['inferenceTime']).astimezone(UTC):{DAY_FOLDER}}"
    (place,) = (path for path in small.files_of(exchange.file) if path.startswith(day))
    rejected = parquet.nothing(kinds[REJECTED])
    with tempfile.TemporaryDirectory() as scratch:
        parts, events = Path(scratch, "parts"), Path(scratch, "events")
        line = events / exchange.file
        for path in (parts, line.parent):
            path.mkdir(parents=True)
        for first, part in exchange.parts(folder):
            line.write_text(f"{json.dumps(part)}\n", encoding="utf-8")
            version = str(reading.version_of(exchange.file))
            found = capture.read(events, use_case, version, known)
            if found.rejected.height:
                rejected = parquet.typed(found.rejected, kinds[REJECTED])
                break
            kept = parquet.withhold(found.rows, use_case).with_columns(pl.col(ROW) + first)
            rows = parquet.typed(kept, kinds[PREDICTIONS])
            rows.write_parquet(parts / f"{first:012}.parquet")
        if rejected.is_empty() and any(parts.iterdir()):
            whole = pl.scan_parquet(parts / "*.parquet")
            container.write(
                tables / PREDICTIONS / place,
                lambda path: whole.sink_parquet(path, row_group_size=GROUP),
            )
    container.write(tables / REJECTED / place, rejected.write_parquet)
