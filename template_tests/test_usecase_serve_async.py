"""The server as an asynchronous endpoint uses it: large bodies in every form, in little memory."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.image import Server

from usecase import bodies, serve_async, tables
from usecase.bodies import PARQUET
from usecase.config import UseCase
from usecase.errors import BadRequest
from usecase.serve_async import ANSWERS
from usecase.serve_endpoint import CSV, JSON, JSON_LINES

#: MB of a large body; `tests/test_large_bodies.py` of the template sets what SageMaker allows.
BODY_MB = int(os.environ.get("BODY_MB", "12"))
MOST_MB = 300


@pytest.fixture(scope="module")
def rows(prepared: Path, use_case: UseCase) -> pl.DataFrame:
    """More rows than a block has, with a missing number and a missing category."""
    table = tables.read(prepared / "test").select(use_case.features.names)[:20]
    first = pl.int_range(pl.len()) == 0
    table = table.with_columns(
        pl.when(~first).then(table.columns[0]).alias(table.columns[0]),
        pl.when(~first).then(table.columns[-1]).alias(table.columns[-1]),
    )
    return pl.concat([table] * (bodies.ROWS // 20 + 1))


def written(rows: pl.DataFrame, content_type: str, path: Path) -> bytes:
    """Rows in one of the forms."""
    if content_type == PARQUET:
        rows.write_parquet(path)
        return path.read_bytes()
    if content_type == CSV:
        return rows.write_csv(include_header=False).encode()
    if content_type == JSON_LINES:
        return rows.write_ndjson().encode()
    return json.dumps({"instances": rows.to_dicts()}).encode()


@pytest.mark.parametrize("content_type", ANSWERS)
def test_every_form_gets_the_same_answers(
    server: Server, rows: pl.DataFrame, tmp_path: Path, content_type: str
) -> None:
    expected = server.invoke(rows.write_csv(include_header=False))[2]
    assert len(expected.splitlines()) == rows.height > bodies.ROWS
    some = rows if content_type != JSON else rows[:100]
    body = written(some, content_type, tmp_path / "body.parquet")
    status, answered, found = server.invoke(body, content_type, Accept=CSV)
    assert (status, answered) == (200, "text/csv; charset=utf-8")
    assert found.splitlines() == expected.splitlines()[: some.height]
    status, answered, found = server.invoke(body, content_type)
    kind = ANSWERS[content_type][0]
    assert status == 200
    assert answered == (f"{CSV}; charset=utf-8" if kind == CSV else kind)
    if kind == JSON_LINES:
        assert len([json.loads(line) for line in found.splitlines()]) == some.height


def test_forms_that_cannot_be(server: Server) -> None:
    assert server.invoke("1", "text/plain")[0] == 415
    for content_type in (CSV, JSON_LINES, PARQUET):
        status, _, body = server.invoke("1", content_type, Accept=JSON)
        assert status == 406
        assert "Accept must be" in body
        assert f"{JSON} " not in body


def test_an_answer_names_the_version(
    trained: Path, start_server: Callable[..., Server], rows: pl.DataFrame
) -> None:
    server = start_server(trained, MODEL_VERSION="7", WEB_CONCURRENCY="1")
    answer = server.invoke(rows[:1].write_csv(include_header=False))
    assert answer[1] == "text/csv; charset=utf-8; model-version=7"


def test_a_wrong_row_refuses_the_request_wherever_it_is(
    server: Server, rows: pl.DataFrame, use_case: UseCase
) -> None:
    right = rows.write_csv(include_header=False)
    status, _, body = server.invoke(right + "wrong\n")
    last = rows.height - bodies.ROWS + 1
    assert status == 400
    assert json.loads(body)["error"] == (
        f"row {last}: has 1 fields, must have {len(use_case.features.names)}: "
        f"{','.join(use_case.features.names)} (counted from row {bodies.ROWS + 1} of the body)"
    )
    assert server.invoke("\n" + right)[0] == 400, "an empty line is no row"
    assert server.invoke(right + "\n\r\n")[2] == server.invoke(right)[2]


@pytest.mark.parametrize(
    ("content", "content_type", "message"),
    [
        (b"", CSV, "the body is empty"),
        (b"\n\n", JSON_LINES, "the body is empty"),
        (b"\n", CSV, "the body is empty"),
        (b"1,2", PARQUET, "is not a Parquet file that can be read"),
        (b'"' + b"1\n" * bodies.ROW_BYTES, CSV, "row 1: has more than 1048576 bytes"),
        (b"1" * (bodies.ROW_BYTES + 1), JSON_LINES, "row 1: has more than 1048576 bytes"),
        (b"1\n" * 3 + b"1" * (bodies.ROW_BYTES + 1), CSV, "row 4: has more than"),
        (b" " * (bodies.DOCUMENT_BYTES + 1), JSON, "send more as application/jsonlines"),
    ],
)
def test_bodies_without_rows(
    tmp_path: Path, content: bytes, content_type: str, message: str
) -> None:
    path = tmp_path / "body"
    path.write_bytes(content)
    with pytest.raises(BadRequest, match=message):
        list(bodies.blocks(path, content_type))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([float("inf")], "a number is infinite"),
        ([[1.0]], "is List"),
        ([b"1"], "is Binary"),
    ],
)
def test_columns_of_parquet_that_no_request_has(
    tmp_path: Path, values: Sequence[Any], message: str
) -> None:
    pl.DataFrame({"x": values}).write_parquet(tmp_path / "body")
    with pytest.raises(BadRequest, match=f"field x: .*{message}"):
        list(bodies.blocks(tmp_path / "body", PARQUET))


def test_small_parquet_that_takes_a_lot_of_memory(tmp_path: Path) -> None:
    """It is refused by a process of its own: the server could end, and all other requests in it."""
    word = pl.Series("x", ["x" * 1_000_000], pl.Categorical)
    word.new_from_index(0, 3000).to_frame().write_parquet(tmp_path / "body")
    assert (tmp_path / "body").stat().st_size < 10_000
    with pytest.raises(BadRequest, match="take more than 2147483648 bytes of memory"):
        list(bodies.blocks(tmp_path / "body", PARQUET))


def test_rows_of_parquet_are_as_long_as_others(tmp_path: Path) -> None:
    pl.DataFrame({"x": ["short", "x" * bodies.ROW_BYTES]}).write_parquet(tmp_path / "body")
    with pytest.raises(BadRequest, match="row 2: has more than 1048576 bytes"):
        list(bodies.blocks(tmp_path / "body", PARQUET))


def test_values_of_parquet_are_those_of_json(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "number": [1.5, float("nan"), None],
            "whole": [2**53 + 1, None, 0],
            "text": pl.Series(["a", "b", None], dtype=pl.Categorical),
            "time": pl.Series(["2026-01-31T09:00:00", None, None]).str.to_datetime(time_zone="UTC"),
        }
    )
    table.write_parquet(tmp_path / "body")
    (block,) = bodies.blocks(tmp_path / "body", PARQUET)
    assert [json.loads(line) for line in block.body.splitlines()] == [
        {
            "number": 1.5,
            "whole": 2**53 + 1,
            "text": "a",
            "time": "2026-01-31T09:00:00.000000+00:00",
        },
        {"number": None, "whole": None, "text": "b", "time": None},
        {"number": None, "whole": 0, "text": None, "time": None},
    ]


def test_rows_of_csv_hold_line_breaks_in_quotes(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b'1,"a\nb"\r\n2,"c""\n\n"\n3,d')
    (block,) = bodies.blocks(tmp_path / "body", CSV)
    assert block.body == b'1,"a\nb"\r\n2,"c""\n\n"\n3,d'
    assert (block.first, block.content_type) == (0, CSV)


def test_body_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Content-Type": CSV, "Content-Length": str(serve_async.MAX_BYTES + 1)}
    connection.request("POST", "/invocations", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"send fewer rows" in answer.read()
    connection.close()


@pytest.mark.parametrize("content_type", [CSV, PARQUET])
def test_large_bodies_take_little_memory(
    trained: Path,
    start_server: Callable[..., Server],
    rows: pl.DataFrame,
    tmp_path: Path,
    content_type: str,
) -> None:
    """The most that any process of the server has had in memory, with all its libraries."""
    server = start_server(trained, WEB_CONCURRENCY="1")
    path = large(rows, content_type, tmp_path)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=3600)
    with path.open("rb") as body:
        length = str(path.stat().st_size)
        headers = {"Content-Type": content_type, "Content-Length": length, "Accept": CSV}
        connection.request("POST", "/invocations", body, headers)
        answer = connection.getresponse()
    assert answer.status == 200
    count = 0
    while part := answer.read(1 << 20):
        count += part.count(b"\n")
    connection.close()
    assert count == path.with_suffix(".count").read_text().count("x") * rows.height
    peaks = memory(server.process.pid)
    assert 0 < max(peaks.values()) <= MOST_MB, peaks


def test_large_parquet_takes_little_memory_where_it_is_read(
    rows: pl.DataFrame, tmp_path: Path
) -> None:
    path = large(rows, PARQUET, tmp_path)
    command = [sys.executable, "-m", "usecase.parquet_rows", str(path)]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reading:
        assert reading.stdout
        while reading.stdout.read(1 << 20):
            # By its own count: that of its parent begins before it was a program of its own.
            peak = max(peak, *memory(reading.pid).values(), 0.0)
    assert reading.returncode == 0
    assert 0 < peak <= MOST_MB


def large(rows: pl.DataFrame, content_type: str, folder: Path) -> Path:
    """A body of BODY_MB, less what Parquet saves; beside it, an x for each time it has the rows."""
    path, times = folder / "body", 0
    if content_type == CSV:
        part = rows.write_csv(include_header=False).encode()
        times = BODY_MB * 1024**2 // len(part)
        with path.open("wb") as file:
            for _ in range(times):
                file.write(part)
    else:
        # Numbers of many digits: nothing to save.
        noise = rows.with_columns(pl.first() + pl.int_range(pl.len()) / 3e5)
        noise.write_parquet(folder / "part.parquet", compression="uncompressed")
        times = max(1, BODY_MB * 1024**2 // (folder / "part.parquet").stat().st_size)
        parts = pl.concat([pl.scan_parquet(folder / "part.parquet")] * times)
        parts.sink_parquet(path, compression="uncompressed")
    path.with_suffix(".count").write_text("x" * times)
    return path


def memory(process: int) -> Mapping[int, float]:
    """The most MB that a process and its children have had in memory, by their ids."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        except (OSError, ValueError):
            continue  # it has ended
        pid = int(lines["Pid"])
        if process in (pid, int(lines["PPid"])) and "VmHWM" in lines:
            found[pid] = int(lines["VmHWM"].split()[0]) / 1024
    return found
