"""Captured events: every form in which SageMaker writes them."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import write_lines as write
from examples import CSV, PREDICTIONS, TARGET
from examples import JSON as ANSWERS
from inference_endpoint import event

from usecase.config import Approval, Data, Features, UseCase
from usecase.predictions import capture
from usecase.problem import METRICS

USE_CASE = UseCase(
    data=Data(tables=("t",), id="id", time="at"),
    target=TARGET,
    features=Features(numeric=("a", "b"), categorical=("c",)),
    approval=Approval(next(iter(METRICS)), 0.5),
)
JSON = '{"instances": [{"a": 1.50, "b": null, "c": "x"}]}'
ANSWER = json.dumps({"predictions": ANSWERS[:1]})


def read(folder: Path, **window: datetime) -> list[dict[str, Any]]:
    return capture.read(folder, USE_CASE, **window).to_dicts()


def test_columns_and_types(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", [event("1,2.5,x\n", f"{CSV[0]}\n", "one")])
    found = capture.read(tmp_path, USE_CASE)
    assert found.to_dicts() == [
        {
            "inference_id": "one",
            "time": datetime(2026, 1, 15, 12, tzinfo=UTC),
            "row": 0,
            "a": "1",
            "b": "2.5",
            "c": "x",
            "prediction": PREDICTIONS[0],
        }
    ]
    empty = capture.read(tmp_path / "none", USE_CASE)
    assert (empty.height, empty.schema) == (0, found.schema)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [("application/json", "JSON"), ("application/json; charset=utf-8", "BASE64")],
)
def test_json(tmp_path: Path, content_type: str, encoding: str) -> None:
    line = event(JSON, ANSWER, "one", content_type=content_type, encoding=encoding)
    write(tmp_path / "1.jsonl", [line])
    (row,) = read(tmp_path)
    assert (row["a"], row["b"], row["c"], row["prediction"]) == ("1.50", None, "x", PREDICTIONS[0])


@pytest.mark.parametrize("encoding", ["JSON", "BASE64"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_json_lines(tmp_path: Path, encoding: str, end: str) -> None:
    sent = ['{"a": 1.50, "b": null, "c": "x\\ny"}', '{"a": 2, "b": 3, "c": "z"}']
    answered = "".join(json.dumps(answer) + "\n" for answer in ANSWERS[:2])
    lines = (end or "\n").join(sent) + end
    one = event(lines, answered, "1", content_type="application/jsonlines", encoding=encoding)
    alone = event(sent[1], json.dumps(ANSWERS[0]), "2", content_type="application/jsonlines")
    write(tmp_path / "1.jsonl", [one, alone])
    found = read(tmp_path)
    assert [(row["a"], row["b"], row["c"]) for row in found] == [
        ("1.50", None, "x\ny"),
        *[("2", "3", "z")] * 2,
    ]
    assert [row["row"] for row in found] == [0, 1, 0]
    assert [row["prediction"] for row in found] == [*PREDICTIONS[:2], PREDICTIONS[0]]


@pytest.mark.parametrize(
    ("content_type", "sent", "answered"),
    [
        ("text/csv", '"1",2,x', CSV[0]),
        ("application/json", '{"instances": [{"a": 1, "b": 2, "c": "x"}]}', ANSWER),
        ("application/jsonlines", '{"a": 1, "b": 2, "c": "x"}', json.dumps(ANSWERS[0])),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_first_field(
    tmp_path: Path, content_type: str, sent: str, answered: str
) -> None:
    write(tmp_path / "1.jsonl", [event(f"\ufeff{sent}", answered, "1", content_type=content_type)])
    assert [read(tmp_path)[0][name] for name in USE_CASE.features.names] == ["1", "2", "x"]


def test_a_whole_number_among_categories_is_the_same_text_in_every_form(tmp_path: Path) -> None:
    of_json = JSON.replace('"x"', "123")
    lines = of_json.removeprefix('{"instances": [').removesuffix("]}")
    sent = {"text/csv": "1,,123", "application/json": of_json, "application/jsonlines": lines}
    for number, (content_type, request) in enumerate(sent.items()):
        one = event(request, "", str(number), content_type=content_type)
        output = one["captureData"]["endpointOutput"]
        output.update(data=CSV[0], observedContentType="text/csv", encoding="CSV")
        write(tmp_path / f"{number}.jsonl", [one])
    assert [row["c"] for row in read(tmp_path)] == ["123"] * 3


def test_request_and_answer_may_differ(tmp_path: Path) -> None:
    line = event("1,2,x", "", "one", encoding="BASE64")
    output = line["captureData"]["endpointOutput"]
    output.update(data=ANSWER, observedContentType="application/json", encoding="JSON")
    write(tmp_path / "1.jsonl", [line])
    assert read(tmp_path)[0]["prediction"] == PREDICTIONS[0]


def test_csv_with_all_its_tricks(tmp_path: Path) -> None:
    sent = '1,,"x, ""y""\r\nz"\r\n,2,\r\n'
    first, second = "\r\n".join([*CSV[:2], ""]), "\n".join(CSV[2:])
    write(tmp_path / "1.jsonl", [event(sent, first), event("3,4,w\r\n5,6,v", second)])
    found = read(tmp_path)
    assert [(row["a"], row["b"], row["c"]) for row in found] == [
        ("1", None, 'x, "y"\r\nz'),
        (None, "2", None),
        ("3", "4", "w"),
        ("5", "6", "v"),
    ]
    assert [row["row"] for row in found] == [0, 1, 0, 1]
    assert [row["prediction"] for row in found] == PREDICTIONS


def test_without_inference_id_the_events_counts(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", [event("1,2,x", CSV[0])])
    assert read(tmp_path)[0]["inference_id"] == "event-of-None"


def test_fields_that_the_model_does_not_have(tmp_path: Path) -> None:
    line = event(
        JSON.replace('"c"', '"d": true, "c"'), ANSWER, "1", content_type="application/json"
    )
    write(tmp_path / "1.jsonl", [event("1,2,x", CSV[0], "0"), line])
    found = read(tmp_path)
    assert [row["d"] for row in found] == [None, "true"]


def test_the_window_has_its_begin_and_not_its_end(tmp_path: Path) -> None:
    times = ["2026-01-15T10:59:59Z", "2026-01-15T11:00:00Z", "2026-01-15T11:30:00.5Z"]
    write(tmp_path / "a/b/1.jsonl", [event("1,2,x", CSV[0], time, time=time) for time in times])
    write(tmp_path / "a/c/2.jsonl", [event("1,2,x", CSV[0], "noon")])
    start, end = datetime(2026, 1, 15, 11, tzinfo=UTC), datetime(2026, 1, 15, 12, tzinfo=UTC)
    assert [row["inference_id"] for row in read(tmp_path)] == [*times, "noon"]
    assert [row["inference_id"] for row in read(tmp_path, start=start, end=end)] == times[1:]


def test_what_cannot_be_read_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    no_output = event("1,2,x", CSV[0], "no output")
    del no_output["captureData"]["endpointOutput"]
    bad_time = event("1,2,x", CSV[0], "bad time", time="yesterday")
    two = f"{CSV[0]}\n{CSV[1]}"
    bad = [
        event("1,2", CSV[0], "too few"),
        event("1,2,x\n1,2,x,y", two, "too many in one row"),
        event("1,2,x", two, "more answers"),
        event("1,2,x\n1,2,x", CSV[0], "fewer answers"),
        event("1,2,x", "high", "no such answer"),
        event("1,2,x", '{"error": "…"}', "refused"),
        event("[", ANSWER, "no JSON", content_type="application/json"),
        event('{"instances": [1]}', ANSWER, "no object", content_type="application/json"),
        event('{"rows": []}', ANSWER, "no instances", content_type="application/json"),
    ]
    write(tmp_path / "1.jsonl", [event("1,2,x", CSV[0], "good"), no_output, bad_time, *bad])
    with (tmp_path / "1.jsonl").open("a") as file:
        file.write('[1]\n{"captureData": 1}\n\n{"captureData": {"endpointInput"')
    with caplog.at_level(logging.WARNING):
        assert [row["inference_id"] for row in read(tmp_path)] == ["good"]
    assert [int(record.args[0]) for record in caplog.records] == [3, 2, len(bad)]  # type: ignore[index, arg-type]  # the number comes first


def test_order_is_that_of_time(tmp_path: Path) -> None:
    times = [f"2026-01-15T{hour:02}:00:00Z" for hour in (12, 3, 7)]
    write(tmp_path / "1.jsonl", [event("1,2,x", CSV[0], time, time=time) for time in times])
    found = capture.read(tmp_path, USE_CASE)
    assert found["time"].is_sorted()
