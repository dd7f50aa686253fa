"""The server as the endpoint uses it, over HTTP."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.examples import CSV, OUTPUT, TARGET
from support.examples import JSON as ANSWERS
from support.image import Server, fail

from ops import predictions
from usecase import serve_endpoint, tables
from usecase.config import UseCase
from usecase.model import Model
from workflows import names

CSV_TYPE, JSON, JSON_LINES = serve_endpoint.CONTENT_TYPES

pytest_plugins = ["support.unsure"]


@pytest.fixture(scope="module")
def rows(prepared: Path, use_case: UseCase) -> pl.DataFrame:
    """Some features, with a missing number and a missing category."""
    table = tables.read(prepared / "test").select(use_case.features.names)[:20]
    first = pl.int_range(pl.len()) == 0
    return table.with_columns(
        pl.when(~first).then(pl.col("distance")).alias("distance"),
        pl.when(~first).then(pl.col("carrier")).alias("carrier"),
    )


@pytest.fixture(scope="module")
def expected(rows: pl.DataFrame, trained: Path, use_case: UseCase) -> Sequence[Sequence[object]]:
    """What the server has to answer to them, with the model's own predictions."""
    rows_as_columns: dict[str, list[Any]] = rows.to_dict(as_series=False)
    answers = use_case.target.answers(Model.load(trained / "model").predict(rows_as_columns))
    return list(zip(*answers.values(), strict=True))


def lines(rows: pl.DataFrame) -> str:
    return rows.write_csv(include_header=False)


def error(answer: tuple[int, str, str]) -> str:
    """The message of a refused request."""
    status, content_type, body = answer
    assert 400 <= status < 500
    assert content_type == JSON
    message: str = json.loads(body)["error"]
    return message


def test_answers_in_every_form() -> None:
    assert serve_endpoint.render(TARGET, OUTPUT, "text/csv").decode().splitlines() == CSV
    assert json.loads(serve_endpoint.render(TARGET, OUTPUT, JSON)) == {"predictions": ANSWERS}
    *answers, end = serve_endpoint.render(TARGET, OUTPUT, JSON_LINES).decode().split("\n")
    assert [json.loads(line) for line in answers] == ANSWERS
    assert end == ""


def test_csv(server: Server, rows: pl.DataFrame, expected: Sequence[Sequence[object]]) -> None:
    for content_type in ("text/csv", "text/csv; charset=utf-8", 'Text/CSV;charset="UTF-8"'):
        status, answered, body = server.invoke(lines(rows), content_type)
        assert (status, answered) == (200, "text/csv; charset=utf-8")
        assert [line.split(",") for line in body.splitlines()] == [
            [str(value) for value in row] for row in expected
        ]
    # As other clients write it.
    body = "\ufeff" + lines(rows).rstrip("\n").replace("\n", "\r\n")
    assert server.invoke(body)[2] == server.invoke(lines(rows))[2]


def test_json(
    server: Server, rows: pl.DataFrame, expected: Sequence[Sequence[object]], use_case: UseCase
) -> None:
    status, answered, body = server.invoke(json.dumps({"instances": rows.to_dicts()}), JSON)
    assert (status, answered) == (200, JSON)
    fields = use_case.target.answer
    assert json.loads(body)["predictions"] == [
        dict(zip(fields, row, strict=True)) for row in expected
    ]


def test_json_lines(server: Server, rows: pl.DataFrame) -> None:
    """As SageMaker's SDK writes and reads them: `JSONLinesSerializer`, `JSONLinesDeserializer`."""
    expected = server.invoke(json.dumps({"instances": rows.to_dicts()}), JSON)[2]
    body = rows.write_ndjson()
    for content_type in (JSON_LINES, "application/jsonlines; charset=utf-8"):
        status, answered, found = server.invoke(body, content_type)
        assert (status, answered) == (200, JSON_LINES)
        *answers, end = found.split("\n")
        assert end == ""
        assert [json.loads(line) for line in answers] == json.loads(expected)["predictions"]
    # As other clients write it.
    for other in (body.rstrip("\n"), "\ufeff" + body.replace("\n", "\r\n"), body + "\n\n"):
        assert server.invoke(other, JSON_LINES)[2] == found
    assert server.invoke(rows[:1].write_ndjson(), JSON_LINES)[2] == f"{answers[0]}\n"


def test_a_line_break_within_a_value_ends_no_line(server: Server, rows: pl.DataFrame) -> None:
    odd = [{**row, "carrier": "one\ntwo\u2028three"} for row in rows[:2].to_dicts()]
    for ascii_only in (True, False):
        body = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in odd)
        status, _, found = server.invoke(body, JSON_LINES)
        assert (status, found.count("\n")) == (200, 2)


@pytest.mark.parametrize("accept", serve_endpoint.CONTENT_TYPES)
@pytest.mark.parametrize("sent", serve_endpoint.CONTENT_TYPES)
def test_every_form_can_be_answered_in_every_other(
    server: Server, rows: pl.DataFrame, sent: str, accept: str
) -> None:
    bodies = {
        CSV_TYPE: lines(rows),
        JSON: json.dumps({"instances": rows.to_dicts()}),
        JSON_LINES: rows.write_ndjson(),
    }
    status, answered, found = server.invoke(bodies[sent], sent, Accept=accept)
    assert (status, answered.partition(";")[0]) == (200, accept)
    assert found == server.invoke(bodies[CSV_TYPE], Accept=accept)[2]


def test_the_answers_type_can_be_chosen(server: Server, rows: pl.DataFrame) -> None:
    assert server.invoke(lines(rows), Accept=JSON)[1] == JSON
    assert server.invoke(lines(rows), Accept="text/html, */*;q=0.5")[1].startswith("text/csv")
    assert server.invoke(lines(rows), Accept="image/png")[0] == 406


def test_many_rows_and_many_clients(server: Server, rows: pl.DataFrame) -> None:
    """A large request does not keep the health check waiting."""
    body = lines(rows) * 3000
    with ThreadPoolExecutor(6) as pool:
        large = pool.submit(server.invoke, body)
        small = [pool.submit(server.invoke, lines(rows)) for _ in range(50)]
        assert pool.submit(server.request, "GET", "/ping").result()[0] == 200
        answers = {future.result()[2] for future in small}
    assert len(answers) == 1
    assert large.result()[2] == answers.pop() * 3000


def row(use_case: UseCase, **values: object) -> str:
    """A row of CSV with some fields set."""
    fields: dict[str, object] = {**dict.fromkeys(use_case.features.names, ""), **values}
    return ",".join(str(value) for value in fields.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distance": "far"}, 'row 2, field distance: "far" is not a number; leave it empty'),
        ({"distance": "nan"}, 'field distance: "nan" is not a number'),
        ({"distance": "-inf"}, "field distance"),
        ({"distance": "1e39"}, "field distance"),
        ({"distance": "1_000"}, "field distance"),
        ({"distance": "\u0665"}, "field distance"),  # an Arabic digit
        ({"distance": "x" * 1000}, f'field distance: "{"x" * 38}… is not a number'),
        ({"distance": "1,2"}, "row 2: has 10 fields, must have 9: hour,weekday,distance"),
        ({"dest": '"'}, "the body is not CSV"),
    ],
)
def test_csv_that_is_wrong(
    server: Server, use_case: UseCase, values: dict[str, object], message: str
) -> None:
    body = f"{row(use_case)}\n{row(use_case, **values)}\n{row(use_case)}\n"
    assert message in error(server.invoke(body))


def test_bodies_that_are_wrong(server: Server, use_case: UseCase) -> None:
    good = row(use_case)
    header = ",".join(use_case.features.names)
    assert "row 1: is a header" in error(server.invoke(f"{header}\n{good}\n"))
    assert "row 2: has 0 fields" in error(server.invoke(f"{good}\n\n{good}\n"))
    assert "row 1: has 1 fields" in error(server.invoke("1\n"))
    for empty in (b"", b"\n", b"  \r\n"):
        assert "the body is empty" in error(server.invoke(empty))
        assert "the body is empty" in error(server.invoke(empty, JSON))
    assert "is not UTF-8 text: byte 1" in error(server.invoke(b"1\xff"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": "1"}, 'row 2, field distance: "1" is not a number'),
        ({"distance": True}, "field distance: true is not a number"),
        ({"distance": [1]}, "field distance: [1] is not a number"),
        ({"distance": 10**400}, "field distance"),
        ({"carrier": 1.5}, "row 2, field carrier: 1.5 is not text"),
        ({"carrier": False}, "row 2, field carrier: false is not text"),
        ({"carrier": "\ud800"}, 'row 2, field carrier: "?" is not text'),
        ({"colour": "red"}, "row 2, field colour: unknown; known: hour, weekday"),
        ({"\ud800": 1}, "row 2, field ?: unknown"),
    ],
)
def test_json_that_is_wrong(
    server: Server, use_case: UseCase, change: dict[str, object], message: str
) -> None:
    good: dict[str, object] = dict.fromkeys(use_case.features.names)
    body = json.dumps({"instances": [good, good | change]})
    assert message in error(server.invoke(body, JSON))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "the body is not JSON"),
        ("[" * 100_000, "the body is not JSON"),
        ('{"instances": [{"distance": NaN}]}', "NaN is not a JSON number; send null"),
        ("[]", 'the body must be {"instances"'),
        ('{"instances": {}}', 'the body must be {"instances"'),
        ('{"instances": [], "parameters": 1}', 'the body must be {"instances"'),
        ('{"instances": []}', "instances: is empty"),
        ('{"instances": [1]}', "row 1: must be an object"),
        ('{"instances": [{"weekday": 1}]}', "row 1, field hour: is not there; send null"),
    ],
)
def test_json_of_another_form(server: Server, body: str, message: str) -> None:
    assert message in error(server.invoke(body, JSON))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{", "row 2: is not JSON: Expecting property name"),
        ("", "row 2: is not JSON: Expecting value"),
        ("[" * 100_000, "row 2: is not JSON"),
        ('{"distance": NaN}', "row 2: is not JSON: NaN is not a JSON number; send null"),
        ('{"distance": Infinity}', "row 2: is not JSON: Infinity is not a JSON number"),
        ("[1, 2]", "row 2: must be an object"),
        ("{}", "row 2, field hour: is not there; send null"),
        ('{"instances": []}', "row 2, field hour: is not there; send null"),
        ({"distance": "far"}, 'row 2, field distance: "far" is not a number; send null'),
        ({"carrier": 1.5}, "row 2, field carrier: 1.5 is not text"),
        ({"colour": "red"}, "row 2, field colour: unknown; known: hour, weekday"),
    ],
)
def test_json_lines_that_are_wrong(
    server: Server, use_case: UseCase, wrong: dict[str, object] | str, message: str
) -> None:
    good: dict[str, object] = dict.fromkeys(use_case.features.names)
    line = wrong if isinstance(wrong, str) else json.dumps(good | wrong)
    body = f"{json.dumps(good)}\n{line}\n{json.dumps(good)}\n"
    assert message in error(server.invoke(body, JSON_LINES))


@pytest.mark.parametrize("accept", serve_endpoint.CONTENT_TYPES)
def test_a_model_that_answers_no_number(
    unsure_server: Server, rows: pl.DataFrame, accept: str
) -> None:
    """It is the model's fault, for SageMaker to count as a 5xx; and NaN is not JSON."""
    good = rows.drop_nulls()[:3]
    assert unsure_server.invoke(lines(good), Accept=accept)[0] == 200
    for distance, said in ((None, "nan"), (0.0, "inf")):
        odd = good[:2].with_columns(pl.lit(distance, pl.Float64).alias("distance"))
        body = lines(pl.concat([good[:2].with_columns(pl.col("distance").cast(pl.Float64)), odd]))
        status, content_type, answer = unsure_server.invoke(body, Accept=accept)
        assert (status, content_type) == (500, JSON)
        message = f"row 3: the model answered {said}, which is not a finite number (2 of 4 rows)"
        assert json.loads(answer) == {"error": message}
    assert unsure_server.request("GET", "/ping")[0] == 200


def test_whole_numbers_can_be_categories(server: Server, use_case: UseCase) -> None:
    instance: dict[str, object] = dict.fromkeys(use_case.features.names)
    for carrier in (12, "", "unheard of"):
        body = json.dumps({"instances": [instance | {"carrier": carrier}]})
        assert server.invoke(body, JSON)[0] == 200


def test_who_names_content_types_names_those_that_are_understood() -> None:
    """The registry and `ops invoke`."""
    understood = serve_endpoint.CONTENT_TYPES
    assert understood == names.CONTENT_TYPES
    assert tuple(dict.fromkeys(predictions.CONTENT_TYPES.values())) == understood


def test_content_types_that_are_not_understood(server: Server, rows: pl.DataFrame) -> None:
    for content_type in ("text/plain", "", "text/csv; charset=shift_jis"):
        assert "Content-Type must be" in error(server.invoke(lines(rows), content_type))
        assert server.invoke(lines(rows), content_type)[0] == 415


def test_bodies_that_are_too_large(server: Server) -> None:
    """By the announced length, and as they come when there is none."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
            b"Content-Length: 6291457\r\n\r\n"
        )
        assert b" 413 " in connection.recv(4096).splitlines()[0]
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    chunks = (b"1," * 2**19 for _ in range(7))
    try:
        client.request("POST", "/invocations", chunks, {"Content-Type": "text/csv"})
        status = client.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server hung up before it had all
    assert status == 413
    client.close()


def processes(server: Server) -> set[int]:
    """The process ids of what a server has forked."""
    pid = server.process.pid
    return {int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: When it does not hold within 30 s.
    """
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def pair(trained: Path, start_server: Callable[..., Server]) -> Server:
    """A server of two processes."""
    server = start_server(trained, WEB_CONCURRENCY="2")
    until(lambda: len(processes(server)) == 2)
    return server


def test_a_process_that_crashes_is_replaced(
    pair: Server, rows: pl.DataFrame, expected: Sequence[Sequence[object]]
) -> None:
    crashed, _ = before = processes(pair)
    os.kill(crashed, signal.SIGKILL)
    until(lambda: len(processes(pair) - {crashed}) == 2)
    assert len(processes(pair) & before) == 1
    status, _, answer = pair.invoke(lines(rows))
    assert (status, len(answer.splitlines())) == (200, len(expected))
    assert pair.process.poll() is None


def test_sigterm_lets_all_processes_answer_what_has_begun(pair: Server, rows: pl.DataFrame) -> None:
    body = (lines(rows) * 2000).encode()
    answers: list[int] = []
    begun = threading.Barrier(5, timeout=30)

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", pair.port, timeout=60)
        connection.putrequest("POST", "/invocations")
        connection.putheader("Content-Type", "text/csv")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:1000])
        begun.wait()  # all are connected
        begun.wait()  # the server has been told to end
        connection.send(body[1000:])
        answers.append(connection.getresponse().status)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    begun.wait()
    # One that was accepted has its answer; what is still in the backlog would not.
    assert all(pair.request("GET", "/ping")[0] == 200 for _ in range(8))
    workers = processes(pair)
    pair.process.send_signal(signal.SIGTERM)
    begun.wait()
    for thread in asking:
        thread.join()
    _, log = pair.process.communicate(timeout=30)
    assert answers == [200] * 4
    assert pair.process.returncode == 0
    assert "Traceback" not in log
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_no_process_is_left_of_a_server_that_is_killed(pair: Server) -> None:
    workers = processes(pair)
    pair.process.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_a_number_of_processes_that_is_none(trained: Path, server: Server) -> None:
    reason = fail("serve", trained, WEB_CONCURRENCY="two")
    assert "WEB_CONCURRENCY: 'two' is not a number of processes, at least 1" in reason
    reason = fail("serve", trained, SAGEMAKER_BIND_TO_PORT=str(server.port))
    assert f"cannot listen to 127.0.0.1:{server.port}" in reason
