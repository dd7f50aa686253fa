"""Captured events: every form in which SageMaker writes them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.examples import CSV, PREDICTIONS, TARGET
from support.examples import JSON as ANSWERS
from support.image import write_lines as write
from support.inference_endpoint import event

from usecase.config import Approval, Data, Features, UseCase
from usecase.predictions import Reading, Window, capture
from usecase.problem import METRICS

USE_CASE = UseCase(
    data=Data(tables=("t",), id="id", time="at"),
    target=TARGET,
    features=Features(numeric=("a", "b"), categorical=("c",)),
    approval=Approval(next(iter(METRICS)), 0.5),
)
JSON = '{"instances": [{"a": 1.50, "b": null, "c": "x"}]}'
ANSWER = json.dumps({"predictions": ANSWERS[:1]})


HOURS = ["2026/01/15/10", "2026/01/15/11", "2026/01/15/12", "2026/01/15/13"]
NOON = Window("2", datetime(2026, 1, 15, 11, tzinfo=UTC), datetime(2026, 1, 15, 12, tzinfo=UTC))
GOOD = ("1,2,x\n", f"{CSV[0]}\n")


def read(folder: Path, window: Window = Window()) -> list[dict[str, Any]]:  # noqa: B008 - frozen
    return capture.read(folder, USE_CASE, window).rows.to_dicts()


def others(found: Reading) -> dict[str, str]:
    return dict(found.others.sort("inference_id").iter_rows())


def test_columns_and_types(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", [event("1,2.5,x\n", f"{CSV[0]}\n", "one")])
    found = capture.read(tmp_path, USE_CASE).rows
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
    empty = capture.read(tmp_path / "none", USE_CASE).rows
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
    assert [row["inference_id"] for row in read(tmp_path, Window("", start, end))] == times[1:]


def test_what_cannot_be_read_is_counted_by_reason(tmp_path: Path) -> None:
    no_output = event(*GOOD, "no output")
    del no_output["captureData"]["endpointOutput"]
    no_base64 = event(*GOOD, "no base64", encoding="BASE64")
    no_base64["captureData"]["endpointInput"]["data"] = "é"
    two = f"{CSV[0]}\n{CSV[1]}"
    bad = {
        "incomplete": [no_output, event(*GOOD, "bad time", time="yesterday")],
        "other_fields": [
            event("1,2", CSV[0], "too few"),
            event("1,2,x\n1,2,x,y", two, "too many in one row"),
        ],
        "unanswered": [
            event("1,2,x", two, "more answers"),
            event("1,2,x\n1,2,x", CSV[0], "fewer answers"),
            event("1,2,x", "high", "no such answer"),
            event("1,2,x", '{"error": "…"}', "refused"),
        ],
        "unreadable": [
            no_base64,
            event("[", ANSWER, "no JSON", content_type="application/json"),
            event('{"instances": [1]}', ANSWER, "no object", content_type="application/json"),
            event('{"rows": []}', ANSWER, "no instances", content_type="application/json"),
        ],
    }
    lines = [line for events in bad.values() for line in events]
    write(tmp_path / "1.jsonl", [event("1,2,x", CSV[0], "good"), *lines])
    with (tmp_path / "1.jsonl").open("a") as file:
        file.write('[1]\n{"captureData": 1}\n\n{"captureData": {"endpointInput"')
    found = capture.read(tmp_path, USE_CASE)
    assert found.rows["inference_id"].to_list() == ["good"]
    assert found.read == 1
    expected = {reason: len(events) for reason, events in bad.items()}
    assert found.dropped == expected | {"unreadable": len(bad["unreadable"]) + 3}
    assert found.examples == {"other_fields": "2 in a row instead of 3"}
    assert set(others(found).values()) == {"dropped"}
    assert len(others(found)) == len(lines)


def test_order_is_that_of_time(tmp_path: Path) -> None:
    times = [f"2026-01-15T{hour:02}:00:00Z" for hour in (12, 3, 7)]
    write(tmp_path / "1.jsonl", [event("1,2,x", CSV[0], time, time=time) for time in times])
    found = capture.read(tmp_path, USE_CASE).rows
    assert found["time"].is_sorted()


def test_a_window_is_one_versions(tmp_path: Path) -> None:
    """As the fleets of a blue/green deployment capture beside each other."""
    for version in ("1", "2"):
        for number, hour in enumerate(HOURS):
            line = event(*GOOD, f"{version}-{number}", time=f"2026-01-15T{hour[-2:]}:30:00Z")
            write(tmp_path / f"version={version}/name/AllTraffic/{hour}/a.jsonl", [line])
    found = capture.read(tmp_path, USE_CASE, NOON)
    assert found.rows["inference_id"].to_list() == ["2-1"]
    assert (found.read, found.dropped) == (1, {})
    assert others(found) == {
        **dict.fromkeys(("1-0", "1-1", "1-2", "1-3"), "other_version"),
        "2-0": "earlier",
        "2-2": "later",
        "2-3": "later",
    }


def test_a_capture_of_no_version_is_not_judged_and_is_named(tmp_path: Path) -> None:
    line = event(*GOOD, "old", time="2026-01-15T11:30:00Z")
    write(tmp_path / f"name/AllTraffic/{HOURS[1]}/a.jsonl", [line])
    found = capture.read(tmp_path, USE_CASE, NOON)
    assert (found.rows.height, found.dropped) == (0, {"unversioned": 1})
    assert found.examples["unversioned"] == f"name/AllTraffic/{HOURS[1]}/a.jsonl"
    assert others(found) == {"old": "dropped"}
    assert capture.read(tmp_path, USE_CASE).read == 1  # whoever asks for no version gets all


def test_a_clock_that_is_wrong_is_seen(tmp_path: Path) -> None:
    """Captured at the end of an hour may be filed under the next one; nothing else may."""
    folder = tmp_path / "version=2/name/AllTraffic" / HOURS[1]
    times = {
        "late filed": "2026-01-15T10:59:00Z",
        "right": "2026-01-15T11:30:00Z",
        "a month ahead": "2026-02-15T11:30:00Z",
        "hours behind": "2026-01-15T09:30:00Z",
    }
    write(folder / "a.jsonl", [event(*GOOD, name, time=time) for name, time in times.items()])
    found = capture.read(tmp_path, USE_CASE, NOON)
    assert found.rows["inference_id"].to_list() == ["right"]
    assert found.dropped == {"mistimed": 2}
    assert "in version=2/name/AllTraffic/2026/01/15/11/a.jsonl" in found.examples["mistimed"]
    assert others(found)["late filed"] == "earlier"
    # Where its time says it would be, it is not judged either.
    february = Window(
        "2", datetime(2026, 2, 15, 11, tzinfo=UTC), datetime(2026, 2, 15, 12, tzinfo=UTC)
    )
    assert capture.read(tmp_path, USE_CASE, february).rows.height == 0


def test_what_cannot_be_read_counts_in_the_hour_of_its_folder(tmp_path: Path) -> None:
    for hour in HOURS:
        for version in ("1", "2"):
            path = tmp_path / f"version={version}/name/AllTraffic" / hour / "a.jsonl"
            path.parent.mkdir(parents=True)
            path.write_text("{\n")
    assert capture.read(tmp_path, USE_CASE, NOON).dropped == {"unreadable": 1}
