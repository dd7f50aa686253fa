"""Bodies that are too large for the memory: their rows, some at a time.

CSV and JSON Lines are split between rows. The rows of Parquet become JSON Lines, so that they are
read, and refused, as those are. A JSON document is one value and stays whole.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from usecase import parquet_rows
from usecase.errors import BadRequest, UseCaseError
from usecase.serve_endpoint import CSV, JSON, JSON_LINES

#: As registered at IANA.
PARQUET = "application/vnd.apache.parquet"

#: So many rows are read, predicted and written at a time.
ROWS = 5000
#: No row may be longer: a body without line breaks would come into the memory as a whole.
ROW_BYTES = 1024**2
#: A JSON document is in the memory as a whole.
DOCUMENT_BYTES = 6 * 1024**2


@dataclass(frozen=True)
class Block:
    """Some rows of a body.

    Attributes:
        body: The rows, as a body of their own.
        content_type: The form of that: `CSV`, `JSON` or `JSON_LINES`.
        first: How many rows of the whole body come before.
    """

    body: bytes
    content_type: str
    first: int

    def counted(self, error: UseCaseError) -> UseCaseError:
        """An error that names a row of this block, as one of the whole body."""
        if not self.first:
            return error
        return type(error)(f"{error} (counted from row {self.first + 1} of the body)")


def blocks(path: Path, content_type: str) -> Iterator[Block]:
    """The rows of a body.

    Args:
        path: The body.
        content_type: Its form: `CSV`, `JSON`, `JSON_LINES` or `PARQUET`.

    Raises:
        BadRequest: When it is empty, has no rows of this form, or has a row or a document that is
            too large.
    """
    if content_type == JSON:
        if path.stat().st_size > DOCUMENT_BYTES:
            raise BadRequest(
                f"a JSON document may have {DOCUMENT_BYTES} bytes; send more as {JSON_LINES}, "
                f"{CSV} or {PARQUET}"
            )
        yield Block(path.read_bytes(), JSON, 0)
        return
    kind = JSON_LINES if content_type == PARQUET else content_type
    lines = _parquet(path) if content_type == PARQUET else _text(path, quoted=kind == CSV)
    first = 0
    while some := [*islice(lines, ROWS)]:
        yield Block(b"".join(some), kind, first)
        first += len(some)
    if not first:
        raise BadRequest("the body is empty; send at least one row")


def _text(path: Path, *, quoted: bool) -> Iterator[bytes]:
    """The rows of a text; see `_lines`."""
    with path.open("rb") as file:
        yield from _lines(file, quoted=quoted)


def _lines(file: IO[bytes], *, quoted: bool) -> Iterator[bytes]:
    """The rows of a text, each with its line end.

    Args:
        file: The text.
        quoted: Whether it is CSV, whose fields can hold line breaks within quotes.

    Raises:
        BadRequest: When a row is too long.
    """
    parts: list[bytes] = []
    size, open_quote, number = 0, False, 1
    while part := file.readline(ROW_BYTES + 1):
        parts.append(part)
        size += len(part)
        if size > ROW_BYTES:
            raise BadRequest(
                f"row {number}: has more than {ROW_BYTES} bytes; is each row on a line of its "
                "own, and each quote closed?"
            )
        open_quote ^= quoted and part.count(b'"') % 2 == 1
        # An empty line goes with the row after it, which is refused for it. After the last row
        # it is none.
        if not open_quote and part.strip(b"\r\n"):
            yield b"".join(parts)
            parts, size, number = [], 0, number + 1
    if open_quote:
        yield b"".join(parts)


def _parquet(path: Path) -> Iterator[bytes]:
    """The rows of a Parquet file as JSON Lines, by a process of their own.

    What a broken file says of its sizes can end the process that reads it, and take up its memory:
    other requests are not to suffer.

    Raises:
        BadRequest: When it is none, or a column is neither numbers nor text nor times.
    """
    command = [sys.executable, "-m", parquet_rows.__name__, str(path)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        if process.stdout is None:
            raise ValueError("its standard output is not a pipe")
        try:
            yield from _lines(process.stdout, quoted=False)
            status = process.wait()
        finally:
            process.kill()
        if status:
            said.seek(0)
            raise BadRequest(parquet_rows.reason(status, said.read()))
