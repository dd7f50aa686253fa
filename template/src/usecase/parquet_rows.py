"""The rows of a Parquet file as JSON Lines, which a process of its own writes.

`python -m usecase.parquet_rows FILE` writes them to standard output. Where it cannot, the last line
of standard error says why, as a JSON text.
"""

import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from usecase.errors import BadRequest
from usecase.rows import plain

#: A slice costs the reading of its pages; larger ones cost less time and more memory.
SLICE = 20_000
#: What the process may have in memory: a small file can say that it has a lot.
MOST_BYTES = 2 * 1024**3
REFUSED = 3
"""The exit status of a file that is refused."""


def main(path: str) -> int:
    """Write the rows of a file; the exit status."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    try:
        for part in rows(Path(path)):
            sys.stdout.buffer.write(part)
    except BadRequest as error:
        print(json.dumps(str(error)), file=sys.stderr)
        return REFUSED
    return 0


def reason(status: int, said: bytes) -> str:
    """Why the rows of a file could not be written.

    Args:
        status: How the process has ended.
        said: What is on its standard error.
    """
    if status == REFUSED:
        return str(json.loads(said.splitlines()[-1]))
    return (
        f"the body is not a Parquet file that can be read: {SLICE} rows of it take more than "
        f"{MOST_BYTES} bytes of memory, or it is broken (status {status})"
    )


def rows(path: Path) -> Iterator[bytes]:
    """The rows of a Parquet file as JSON Lines, many at a time.

    Raises:
        BadRequest: When it is none, or a column is neither numbers nor text nor times.
    """
    try:
        table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        height = table.select(pl.len()).collect().item()
        for first in range(0, height, SLICE):
            some = table.slice(first, SLICE).collect(engine="in-memory")
            yield plain(some).write_ndjson().encode()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise BadRequest(f"the body is not a Parquet file that can be read: {error}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
