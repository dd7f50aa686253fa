"""Large requests and answers become rows of the table, some at a time."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.examples import CSV as ANSWERS
from support.exchanges import REQUESTS, leave
from support.image import ROOT

from usecase import bodies, tables
from usecase.bodies import PARQUET
from usecase.config import UseCase
from usecase.predictions import exchanges, parquet
from usecase.predictions.parquet import ID, ROW, VERSION
from usecase.serve_endpoint import CSV, JSON_LINES

BODY_MB = int(os.environ.get("BODY_MB", "12"))
MOST_MB = 300


@pytest.fixture(scope="module")
def rows(prepared: Path, use_case: UseCase) -> pl.DataFrame:
    """More rows than a block has."""
    table = tables.read(prepared / "test").select(use_case.features.names)[:20]
    return pl.concat([table] * (bodies.ROWS // 20 + 1))


def collected(folder: Path, use_case: UseCase) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The predictions, and what was rejected."""
    exchanges.collect(folder / "capture", folder, use_case, "1", {})
    predictions, rejected = (
        pl.concat([pl.read_parquet(path) for path in sorted((folder / name).rglob("*.parquet"))])
        for name in ("predictions", "rejected")
    )
    return predictions, rejected


def answers(number: int) -> bytes:
    return (f"{ANSWERS[0]}\n" * number).encode()


@pytest.mark.parametrize("content_type", [CSV, JSON_LINES, PARQUET])
def test_every_row_is_in_the_table(
    tmp_path: Path, use_case: UseCase, rows: pl.DataFrame, content_type: str
) -> None:
    rows.write_parquet(tmp_path / "rows")
    written: dict[str, Callable[[], bytes]] = {
        CSV: lambda: rows.write_csv(include_header=False).encode(),
        JSON_LINES: lambda: rows.write_ndjson().encode(),
        PARQUET: (tmp_path / "rows").read_bytes,
    }
    leave(tmp_path, written[content_type](), answers(rows.height), content_type)
    predictions, rejected = collected(tmp_path, use_case)
    assert rejected.is_empty()
    assert predictions[ROW].to_list() == [*range(rows.height)]
    assert set(predictions[ID]) == {"id-a"}
    assert set(predictions[VERSION]) == {1}
    for name, column in parquet.feature_columns(use_case).items():
        kind = pl.Float64 if name in use_case.features.numeric else pl.String
        assert predictions[column].equals(rows[name].cast(kind), check_names=False), name
    # Once more, as after a crash: the same.
    again, _ = collected(tmp_path, use_case)
    assert again.equals(predictions)


def less(text: bytes) -> bytes:
    return text.split(b"\n", 1)[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / REQUESTS).unlink(), "incomplete"),
        (lambda folder: change(folder / REQUESTS, less), "unanswered"),
        (lambda folder: change(folder / "async/answers/a", less), "unanswered"),
        (lambda folder: change(folder / REQUESTS, lambda _: b""), "incomplete"),
    ],
)
def test_what_cannot_be_read_is_rejected_once(
    tmp_path: Path,
    use_case: UseCase,
    rows: pl.DataFrame,
    change: Callable[[Path], Any],
    reason: str,
) -> None:
    sent = rows.write_csv(include_header=False).encode()
    leave(tmp_path, sent, answers(rows.height))
    change(tmp_path)
    predictions, rejected = collected(tmp_path, use_case)
    assert predictions.is_empty()
    assert rejected["reason"].to_list() == [reason]
    assert rejected[ID].to_list() == ["id-a"]


def change(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


def test_large_bodies_take_little_memory(tmp_path: Path, rows: pl.DataFrame) -> None:
    """In a process of its own: the most that it has had in memory, with all its libraries."""
    part = rows.write_csv(include_header=False).encode()
    times = BODY_MB * 1024**2 // len(part)
    leave(tmp_path, b"", b"")
    for key, body in ((REQUESTS, part), ("async/answers/a", answers(rows.height))):
        with (tmp_path / key).open("wb") as file:
            for _ in range(times):
                file.write(body)
    program = f"""
import re
from pathlib import Path
from usecase import config
from usecase.predictions import exchanges
folder = Path({str(tmp_path)!r})
use_case = config.load(Path({str(ROOT / "usecase.toml")!r}))
exchanges.collect(folder / "capture", folder, use_case, "1", {{}})
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""
    command: Sequence[str] = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 0 < int(result.stdout.splitlines()[-1]) / 1024 <= MOST_MB
    found = pl.scan_parquet(tmp_path / "predictions" / "**" / "*.parquet")
    assert found.select(pl.len()).collect().item() == times * rows.height
