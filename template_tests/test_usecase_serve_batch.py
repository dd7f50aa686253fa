"""The server as batch transform uses it, over HTTP."""

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.by_zero import divide, flights
from support.image import Server

from usecase import serve_batch, tables
from usecase.config import Features, Request, UseCase
from usecase.errors import BadRequest
from usecase.model import Model
from usecase.rows import Fields
from usecase.version import Version
from workflows import names

CSV, JSON_LINES = serve_batch.CONTENT_TYPES

pytest_plugins = ["support.unsure"]


@pytest.fixture(scope="module")
def rows(prepared: Path, use_case: UseCase) -> pl.DataFrame:
    """Some features, with a missing number and a missing category."""
    table = tables.read(prepared / "test").select(use_case.features.names)[:500]
    first = pl.int_range(pl.len()) == 0
    return table.with_columns(
        pl.when(~first).then(pl.col("distance")).alias("distance"),
        pl.when(~first).then(pl.col("carrier")).alias("carrier"),
    )


@pytest.fixture(scope="module")
def expected(rows: pl.DataFrame, trained: Path, use_case: UseCase) -> list[list[str]]:
    """The answers to them, of the model's own predictions, row by row."""
    columns: dict[str, list[Any]] = rows.to_dict(as_series=False)
    answers = use_case.target.answers(Model.load(trained / "model").predict(columns))
    return [[str(value) for value in row] for row in zip(*answers.values(), strict=True)]


def lines(rows: pl.DataFrame) -> str:
    return rows.write_csv(include_header=False)


def answers(server: Server, body: str | bytes) -> list[list[str]]:
    """The fields of each line of the answer."""
    status, content_type, answer = server.invoke(body)
    assert (status, content_type) == (200, "text/csv; charset=utf-8")
    return list(csv.reader(io.StringIO(answer)))


def same(found: list[str], expected: list[str]) -> bool:
    """Whether an answer is the expected one, with no error behind it."""
    *values, error = found
    return error == "" and all(
        a == b or float(a) == float(b) for a, b in zip(values, expected, strict=True)
    )


def test_a_line_for_each_row(server: Server, rows: pl.DataFrame, expected: list[list[str]]) -> None:
    found = answers(server, lines(rows))
    assert all(map(same, found, expected))
    assert len(found) == rows.height
    # Without the line break at the end, and a row alone.
    assert answers(server, lines(rows).rstrip("\n")) == found
    assert answers(server, lines(rows[:1])) == found[:1]


def test_many_rows(server: Server, rows: pl.DataFrame) -> None:
    found = answers(server, lines(rows) * 200)
    assert found == answers(server, lines(rows)) * 200


def row(use_case: UseCase, values: Mapping[str, object]) -> str:
    fields: dict[str, object] = {**dict.fromkeys(use_case.features.names, ""), **values}
    return ",".join(str(value) for value in fields.values())


NUMBER = 'field distance: "{}" is not a number; leave it empty when it is not known'
WRONG = [
    ({"distance": "far"}, NUMBER.format("far")),
    ({"distance": "nan"}, NUMBER.format("nan")),
    ({"distance": "-inf"}, NUMBER.format("-inf")),
    ({"distance": "1e39"}, NUMBER.format("1e39")),
    ({"distance": "1_000"}, NUMBER.format("1_000")),
    ({"distance": "\u0665"}, NUMBER.format("\u0665")),  # an Arabic digit
    ({"distance": "x" * 1000}, NUMBER.format("x" * 40)),
    ({"distance": "far", "hour": "noon"}, 'field hour: "noon" is not a number'),
    ({"distance": "1,2"}, "has 10 fields, must have 9: hour,weekday,distance"),
    ({"dest": '"'}, "is not CSV: unexpected end of data"),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_row_that_is_wrong_does_not_stop_the_others(
    server: Server,
    use_case: UseCase,
    rows: pl.DataFrame,
    expected: list[list[str]],
    wrong: tuple[dict[str, object], str],
) -> None:
    values, message = wrong
    good = lines(rows[:3]).splitlines()
    bad = row(use_case, values)
    found = answers(server, "\n".join([*good[:2], bad, good[2], bad]) + "\n")
    assert all(map(same, [found[0], found[1], found[3]], expected))
    for *prediction, error in (found[2], found[4]):
        assert set(prediction) == {""}
        assert error.startswith(message)


def test_all_rows_wrong_at_once(server: Server, use_case: UseCase) -> None:
    found = answers(server, "\n".join(row(use_case, values) for values, _ in WRONG))
    for (*prediction, error), (_, message) in zip(found, WRONG, strict=True):
        assert set(prediction) == {""}
        assert error.startswith(message)


def test_quotes_spaces_and_line_ends_of_other_systems(
    server: Server, rows: pl.DataFrame, expected: list[list[str]]
) -> None:
    plain = lines(rows[:3]).splitlines()
    quoted = [
        ",".join(f'"{field}"' for field in plain[0].split(",")),
        plain[1].replace(",", ", ", 1),
        plain[2],
    ]
    found = answers(server, "\n".join(quoted))
    assert all(map(same, found, expected))
    assert answers(server, lines(rows[:3]).replace("\n", "\r\n")) == found


@pytest.mark.parametrize("features", [("a",), ("a", "b")])
def test_a_row_in_which_all_is_missing(features: tuple[str, ...]) -> None:
    separators = "," * (len(features) - 1)
    body = f"1{separators}\n{separators}\n2{separators}"
    rows = serve_batch.parse(body.encode(), CSV, Fields.of_features(Features(features)))
    assert rows["a"].to_list() == [1, None, 2]
    assert rows["error"].null_count() == 3


def test_what_is_read_at_once_and_line_by_line_is_the_same(
    rows: pl.DataFrame, use_case: UseCase
) -> None:
    fields = Fields.of_features(use_case.features)
    whole = serve_batch.whole(lines(rows).encode(), fields)
    assert whole is not None
    one = lines(rows).splitlines()
    quoted = ",".join(f'"{field}"' for field in one[0].split(","))
    by_line = serve_batch.parse("\n".join([quoted, *one[1:]]).encode(), CSV, fields)
    assert by_line.select(use_case.features.names).equals(whole)


def test_json_lines_are_answered_in_json_lines(
    server: Server, rows: pl.DataFrame, expected: list[list[str]], use_case: UseCase
) -> None:
    body = rows.write_ndjson()
    status, content_type, answer = server.invoke(body, JSON_LINES)
    assert (status, content_type) == (200, JSON_LINES)
    *found, end = answer.split("\n")
    assert end == ""
    assert len(found) == rows.height
    target = [*use_case.target.answer]
    for line, values in zip(found, expected, strict=True):
        fields = json.loads(line)
        assert [*fields] == [*target, "error"]
        assert same([str(fields[name]) for name in target] + [fields["error"] or ""], values)
    # Batch transform sends no line break at the end; a file of other systems has others.
    for other in (body.removesuffix("\n"), "\ufeff" + body, body.replace("\n", "\r\n")):
        assert server.invoke(other, JSON_LINES)[2] == answer


def test_one_form_can_be_answered_in_the_other(server: Server, rows: pl.DataFrame) -> None:
    bodies = {CSV: lines(rows), JSON_LINES: rows.write_ndjson()}
    for accept in bodies:
        answers = [server.invoke(body, kind, Accept=accept) for kind, body in bodies.items()]
        assert answers[0][1].partition(";")[0] == accept
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": "far"}, 'field distance: "far" is not a number; send null'),
        ({"distance": 1e39}, "field distance: 1e+39 is not a number"),
        ({"distance": True}, "field distance: true is not a number"),
        ({"carrier": 1.5}, "field carrier: 1.5 is not text"),
        ({"colour": "red"}, "field colour: unknown; known: hour, weekday"),
        ({"carrier": "\ud800"}, 'field carrier: "?" is not text'),
        ({"\ud800": 1}, "field ?: unknown; known: hour, weekday"),
        ("{", "is not JSON: Expecting property name"),
        ("", "is not JSON: Expecting value"),
        ('{"distance": NaN}', "is not JSON: NaN is not a JSON number"),
        ("[]", "must be an object"),
        ("{}", "field hour: is not there; send null when it is not known"),
    ],
)
def test_a_line_of_json_that_is_wrong_does_not_stop_the_others(
    server: Server, rows: pl.DataFrame, change: dict[str, object] | str, message: str
) -> None:
    good = rows[:2].to_dicts()
    bad = change if isinstance(change, str) else json.dumps(good[0] | change)
    body = "\n".join([json.dumps(good[0]), bad, bad, json.dumps(good[1])])
    found = [json.loads(line) for line in server.invoke(body, JSON_LINES)[2].splitlines()]
    expected = server.invoke(rows[:2].write_ndjson(), JSON_LINES)[2].splitlines()
    assert [found[0], found[3]] == [json.loads(line) for line in expected]
    for answer in found[1:3]:
        assert answer.pop("error").startswith(message)
        assert {*answer.values()} == {None}


def test_a_line_break_within_a_value_ends_no_line(server: Server, rows: pl.DataFrame) -> None:
    odd = rows[:2].with_columns(pl.lit("one\ntwo").alias("carrier"))
    *found, _ = server.invoke(odd.write_ndjson(), JSON_LINES)[2].split("\n")
    assert [json.loads(line)["error"] for line in found] == [None, None]


@pytest.mark.parametrize(("distance", "said"), [(None, "nan"), (0.0, "inf")])
def test_a_model_that_answers_no_number(
    unsure_server: Server, rows: pl.DataFrame, distance: float | None, said: str
) -> None:
    """It is an error of that row, beside which others may be wrong in themselves."""
    good = rows.drop_nulls()[:2].with_columns(pl.col("distance").cast(pl.Float64))
    odd = good.with_columns(pl.lit(distance, pl.Float64).alias("distance"))
    body = lines(pl.concat([good, odd])) + "1\n"
    message = f"the model answered {said}, which is not a finite number"
    found = answers(unsure_server, body)
    assert [row[-1] for row in found[:4]] == ["", "", message, message]
    assert found[4][-1].startswith("has 1 fields, must have 9")
    assert {*found[0][:-1]} != {""}
    assert {field for row in found[2:] for field in row[:-1]} == {""}
    answer = unsure_server.invoke(body, Accept=JSON_LINES)[2]
    as_json = [json.loads(line) for line in answer.splitlines()]
    assert [row.pop("error") or "" for row in as_json] == [row[-1] for row in found]
    assert {value for row in as_json[2:] for value in row.values()} == {None}


def test_csv_that_could_be_either_has_the_features(use_case: UseCase) -> None:
    """As the batch workflow sends them. A request has as many fields; JSON tells the two apart."""
    names = use_case.features.names
    asked = Request({f"asked {name}": "text" for name in names})
    either = replace(use_case, request=asked)
    line = ",".join("1" for _ in names).encode()
    assert serve_batch.fields_of(line, CSV, either).names == names
    for fields in (names, [*asked.fields]):
        body = json.dumps(dict.fromkeys(fields, "1")).encode()
        assert serve_batch.fields_of(body, JSON_LINES, either).names == fields


@pytest.fixture
def divided(trained: Path, use_case: UseCase, monkeypatch: pytest.MonkeyPatch) -> Version:
    """A version whose features divide by a number of the request."""
    divide(monkeypatch)
    return Version.load(trained / "model", use_case)


def test_a_row_with_an_infinite_feature_does_not_stop_the_others(divided: Version) -> None:
    answer = serve_batch.answer(flights(1400, 0, 300, 1e-39), JSON_LINES, JSON_LINES, divided)
    errors = [json.loads(line)["error"] for line in answer.splitlines()]
    reason = "feature distance is infinite or too large for 32 bits"
    assert errors == [None, reason, None, reason]
    far = serve_batch.answer(flights(1400, 300), JSON_LINES, JSON_LINES, divided)
    assert far.splitlines() == answer.splitlines()[::2]


@pytest.mark.parametrize("header", ["hour,dest", '"hour","dest"', "\ufeffhour,dest"])
def test_a_header_is_no_row(header: str) -> None:
    """Where all features are text, its names would be taken for their values."""
    for read in (Features(categorical=("hour", "dest")), Features(("hour",), ("dest",))):
        rows = serve_batch.parse(f"{header}\n1,a\n".encode(), CSV, Fields.of_features(read))
        assert rows["error"].to_list() == ["is a header; send the rows without it", None]
        assert rows["dest"].to_list() == [None, "a"]


def test_a_request_that_is_wrong_as_a_whole(server: Server, use_case: UseCase) -> None:
    assert server.invoke(b"")[0] == 400
    assert server.invoke(b"", JSON_LINES)[0] == 400
    assert server.invoke("{}", "application/json")[0] == 415
    assert server.invoke("1", Accept="application/json")[0] == 406
    for content_type in serve_batch.CONTENT_TYPES:
        with pytest.raises(BadRequest, match="the body is not UTF-8 text: byte 1"):
            serve_batch.parse(b"1\xff", content_type, Fields.of_features(use_case.features))
    assert server.request("GET", "/ping")[0] == 200


def test_the_registry_knows_the_forms_that_are_understood() -> None:
    assert names.CONTENT_TYPES == serve_batch.CONTENT_TYPES


def test_the_container_knows_its_processors(server: Server) -> None:
    status, _, body = server.request("GET", "/execution-parameters")
    parameters = json.loads(body)
    assert status == 200
    assert parameters["BatchStrategy"] == "MULTI_RECORD"
    assert parameters["MaxConcurrentTransforms"] == min(os.cpu_count() or 1, 16)
