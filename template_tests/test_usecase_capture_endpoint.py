"""What was captured becomes rows of the table: every form in which SageMaker writes it, once."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.examples import CSV, PREDICTIONS, TARGET
from support.examples import JSON as ANSWERS
from support.image import write_lines as write
from support.inference_endpoint import event

from usecase.config import Approval, Data, Features, UseCase
from usecase.errors import UseCaseError
from usecase.predictions import Reading, Window, collect, parquet
from usecase.problem import METRICS

USE_CASE = UseCase(
    data=Data(tables=("t",), id="id", time="at"),
    target=TARGET,
    features=Features(numeric=("a", "b"), categorical=("c",)),
    approval=Approval(next(iter(METRICS)), 0.5),
)
JSON = '{"instances": [{"a": 1.50, "b": null, "c": "x"}]}'
ANSWER = json.dumps({"predictions": ANSWERS[:1]})


PLACE = "capture/version=2/name/AllTraffic"
LUNCH = f"{PLACE}/2026/01/15/12"
HOURS = ["2026/01/15/10", "2026/01/15/11", "2026/01/15/12", "2026/01/15/13"]
NOON = Window("2", datetime(2026, 1, 15, 11, tzinfo=UTC), datetime(2026, 1, 15, 12, tzinfo=UTC))
GOOD = ("1,2,x\n", f"{CSV[0]}\n")


def judged(folder: Path, window: Window = Window("2")) -> Reading:  # noqa: B008 - frozen
    """What version 2 reads of the table, once it has collected what was captured."""
    collect.collect(folder / "capture", folder, USE_CASE, "2", {})
    return collect.read([folder], USE_CASE, window)


def read(folder: Path, window: Window = Window("2")) -> list[dict[str, Any]]:  # noqa: B008 - frozen
    found = judged(folder, window)
    return pl.concat([found.rows, found.features], how="horizontal").to_dicts()


def others(found: Reading) -> dict[str, str]:
    return dict(found.others.sort("inference_id").iter_rows())


def test_columns_and_types(tmp_path: Path) -> None:
    write(tmp_path / LUNCH / "1.jsonl", [event("1,2.5,x\n", f"{CSV[0]}\n", "one")])
    found = judged(tmp_path)
    assert found.rows.to_dicts() == [
        {
            "inference_id": "one",
            "time": datetime(2026, 1, 15, 12, tzinfo=UTC),
            "row": 0,
            "prediction": PREDICTIONS[0],
        }
    ]
    assert found.features.to_dicts() == [{"a": "1.0", "b": "2.5", "c": "x"}]
    empty = judged(tmp_path / "none")
    assert (empty.rows.height, empty.rows.schema) == (0, found.rows.schema)
    assert (empty.features.height, empty.features.schema) == (0, found.features.schema)
    (file,) = (tmp_path / "predictions").rglob("*.parquet")
    (row,) = pl.read_parquet(file).to_dicts()
    assert row.pop("scored_at") == row["time"] == datetime(2026, 1, 15, 12)  # noqa: DTZ001 - UTC
    assert row.pop("model_version") == 2
    assert set(row) == {"inference_id", "row", "time", "a", "b", "c", "unexpected", *TARGET.answer}


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [("application/json", "JSON"), ("application/json; charset=utf-8", "BASE64")],
)
def test_json(tmp_path: Path, content_type: str, encoding: str) -> None:
    line = event(JSON, ANSWER, "one", content_type=content_type, encoding=encoding)
    write(tmp_path / LUNCH / "1.jsonl", [line])
    (row,) = read(tmp_path)
    assert (row["a"], row["b"], row["c"], row["prediction"]) == ("1.5", None, "x", PREDICTIONS[0])


@pytest.mark.parametrize("encoding", ["JSON", "BASE64"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_json_lines(tmp_path: Path, encoding: str, end: str) -> None:
    sent = ['{"a": 1.50, "b": null, "c": "x\\ny"}', '{"a": 2, "b": 3, "c": "z"}']
    answered = "".join(json.dumps(answer) + "\n" for answer in ANSWERS[:2])
    lines = (end or "\n").join(sent) + end
    one = event(lines, answered, "1", content_type="application/jsonlines", encoding=encoding)
    alone = event(sent[1], json.dumps(ANSWERS[0]), "2", content_type="application/jsonlines")
    write(tmp_path / LUNCH / "1.jsonl", [one, alone])
    found = read(tmp_path)
    assert [(row["a"], row["b"], row["c"]) for row in found] == [
        ("1.5", None, "x\ny"),
        *[("2.0", "3.0", "z")] * 2,
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
    write(
        tmp_path / LUNCH / "1.jsonl",
        [event(f"\ufeff{sent}", answered, "1", content_type=content_type)],
    )
    assert [read(tmp_path)[0][name] for name in USE_CASE.features.names] == ["1.0", "2.0", "x"]


def test_a_whole_number_among_categories_is_the_same_text_in_every_form(tmp_path: Path) -> None:
    of_json = JSON.replace('"x"', "123")
    lines = of_json.removeprefix('{"instances": [').removesuffix("]}")
    sent = {"text/csv": "1,,123", "application/json": of_json, "application/jsonlines": lines}
    for number, (content_type, request) in enumerate(sent.items()):
        one = event(request, "", str(number), content_type=content_type)
        output = one["captureData"]["endpointOutput"]
        output.update(data=CSV[0], observedContentType="text/csv", encoding="CSV")
        write(tmp_path / LUNCH / f"{number}.jsonl", [one])
    assert [row["c"] for row in read(tmp_path)] == ["123"] * 3


def test_request_and_answer_may_differ(tmp_path: Path) -> None:
    line = event("1,2,x", "", "one", encoding="BASE64")
    output = line["captureData"]["endpointOutput"]
    output.update(data=ANSWER, observedContentType="application/json", encoding="JSON")
    write(tmp_path / LUNCH / "1.jsonl", [line])
    assert read(tmp_path)[0]["prediction"] == PREDICTIONS[0]


def test_csv_with_all_its_tricks(tmp_path: Path) -> None:
    sent = '1,,"x, ""y""\r\nz"\r\n,2,\r\n'
    first, second = "\r\n".join([*CSV[:2], ""]), "\n".join(CSV[2:])
    write(tmp_path / LUNCH / "1.jsonl", [event(sent, first), event("3,4,w\r\n5,6,v", second)])
    found = read(tmp_path)
    assert [(row["a"], row["b"], row["c"]) for row in found] == [
        ("1.0", None, 'x, "y"\r\nz'),
        (None, "2.0", None),
        ("3.0", "4.0", "w"),
        ("5.0", "6.0", "v"),
    ]
    assert [row["row"] for row in found] == [0, 1, 0, 1]
    assert [row["prediction"] for row in found] == PREDICTIONS


def test_without_inference_id_the_events_counts(tmp_path: Path) -> None:
    write(tmp_path / LUNCH / "1.jsonl", [event("1,2,x", CSV[0])])
    assert read(tmp_path)[0]["inference_id"] == "event-of-None"


def test_fields_that_the_model_does_not_have(tmp_path: Path) -> None:
    """Fields of other names, and texts in the place of numbers: the monitors judge them too."""
    sent = JSON.replace('"c"', '"d": true, "prediction": 7, "c"').replace("null", '"many"')
    line = event(sent, ANSWER, "1", content_type="application/json")
    write(tmp_path / LUNCH / "1.jsonl", [event("1,1e999,x", CSV[0], "0"), line])
    features = judged(tmp_path).features
    assert features["b"].to_list() == ["1e999", "many"]
    assert features["d"].to_list() == [None, "true"]
    assert features["prediction"].to_list() == [None, "7"]


def test_the_window_has_its_begin_and_not_its_end(tmp_path: Path) -> None:
    times = ["2026-01-15T10:59:59Z", "2026-01-15T11:00:00Z", "2026-01-15T11:30:00.5Z"]
    lines = [event("1,2,x", CSV[0], time, time=time) for time in times]
    write(tmp_path / PLACE / HOURS[1] / "1.jsonl", lines)
    write(tmp_path / LUNCH / "2.jsonl", [event("1,2,x", CSV[0], "noon")])
    assert [row["inference_id"] for row in read(tmp_path)] == [*times, "noon"]
    assert [row["inference_id"] for row in read(tmp_path, NOON)] == times[1:]


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
    write(tmp_path / LUNCH / "1.jsonl", [event("1,2,x", CSV[0], "good"), *lines])
    with (tmp_path / LUNCH / "1.jsonl").open("a") as file:
        file.write('[1]\n{"captureData": 1}\n\n{"captureData": {"endpointInput"')
    found = judged(tmp_path)
    assert found.rows["inference_id"].to_list() == ["good"]
    assert found.read == 1
    expected = {reason: len(events) for reason, events in bad.items()}
    assert found.dropped == expected | {"unreadable": len(bad["unreadable"]) + 3}
    assert found.examples == {"other_fields": "2 in a row instead of 3"}
    assert set(others(found).values()) == {"dropped"}
    assert len(others(found)) == len(lines)


def test_order_is_that_of_time(tmp_path: Path) -> None:
    """And of the same second, which is all that is told, that in which they were captured."""
    for number, minutes in enumerate([(30, 10, 20), (10, 40)]):
        times = [f"2026-01-15T12:{minute}:00Z" for minute in minutes]
        lines = [event("1,2,x", CSV[0], f"{time} {number}", time=time) for time in times]
        write(tmp_path / LUNCH / f"{number}.jsonl", lines)
    found = judged(tmp_path).rows["inference_id"].to_list()
    assert found == sorted(found)
    assert len(found) == 5


def test_a_window_is_one_versions(tmp_path: Path) -> None:
    """As the fleets of a blue/green deployment capture beside each other."""
    for version in ("1", "2"):
        for number, hour in enumerate(HOURS):
            line = event(*GOOD, f"{version}-{number}", time=f"2026-01-15T{hour[-2:]}:30:00Z")
            folder = tmp_path / f"capture/version={version}/name/AllTraffic"
            write(folder / hour / "a.jsonl", [line])
    found = judged(tmp_path, NOON)
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
    write(tmp_path / f"capture/name/AllTraffic/{HOURS[1]}/a.jsonl", [line])
    found = judged(tmp_path, NOON)
    assert (found.rows.height, found.dropped) == (0, {"unversioned": 1})
    assert found.examples["unversioned"] == f"name/AllTraffic/{HOURS[1]}/a.jsonl"
    assert others(found) == {"old": "dropped"}


def test_a_clock_that_is_wrong_is_seen(tmp_path: Path) -> None:
    """Captured at the end of an hour may be filed under the next one; nothing else may."""
    folder = tmp_path / PLACE / HOURS[1]
    times = {
        "late filed": "2026-01-15T10:59:00Z",
        "right": "2026-01-15T11:30:00Z",
        "a month ahead": "2026-02-15T11:30:00Z",
        "hours behind": "2026-01-15T09:30:00Z",
    }
    write(folder / "a.jsonl", [event(*GOOD, name, time=time) for name, time in times.items()])
    found = judged(tmp_path, NOON)
    assert found.rows["inference_id"].to_list() == ["right"]
    assert found.dropped == {"mistimed": 2}
    assert "in version=2/name/AllTraffic/2026/01/15/11/a.jsonl" in found.examples["mistimed"]
    assert others(found)["late filed"] == "earlier"
    # Where its time says it would be, it is not judged either.
    february = Window(
        "2", datetime(2026, 2, 15, 11, tzinfo=UTC), datetime(2026, 2, 15, 12, tzinfo=UTC)
    )
    assert judged(tmp_path, february).rows.height == 0


def test_what_cannot_be_read_counts_in_the_hour_of_its_folder(tmp_path: Path) -> None:
    for hour in HOURS:
        for version in ("1", "2"):
            path = tmp_path / f"capture/version={version}/name/AllTraffic" / hour / "a.jsonl"
            path.parent.mkdir(parents=True)
            path.write_text("{\n")
    assert judged(tmp_path, NOON).dropped == {"unreadable": 1}


def contents(folder: Path) -> dict[str, bytes]:
    """The files of both tables."""
    found = (path for name in parquet.columns(USE_CASE) for path in (folder / name).rglob("*"))
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()
    }


def test_each_row_is_there_once_however_often_it_is_collected(tmp_path: Path) -> None:
    """Late captures, the same ones again, and a crash after which a part of the files is there."""
    midnight, day = "2026/01/15/00", ("2026-01-14", "2026-01-15")
    times = ("2026-01-14T23:59:58Z", "2026-01-15T00:10:00Z")
    good = [event(*GOOD, name, time=time) for name, time in zip("ab", times, strict=True)]
    bad = [event("1,2", CSV[0], name, time=time) for name, time in zip("cd", times, strict=True)]
    write(tmp_path / PLACE / midnight / "1.jsonl", good + bad)
    write(tmp_path / LUNCH / "empty.jsonl", [])
    first = judged(tmp_path)
    assert first.rows["inference_id"].to_list() == ["a", "b"]
    assert first.dropped == {"other_fields": 2}
    kept = contents(tmp_path)
    name = "version=2.name.AllTraffic.2026.01.15.00.1.parquet"
    # One more for each table: an empty file is not collected again and again.
    assert set(kept) == {
        *(f"{table}/day={each}/{name}" for table in ("predictions", "rejected") for each in day),
        *(path for path in kept if path.endswith("12.empty.parquet")),
    }
    assert len(kept) == 6
    for day_of_row, each in zip(pl.Series(times).str.slice(0, 10), "ab", strict=True):
        file = tmp_path / f"predictions/day={day_of_row}/{name}"
        assert pl.read_parquet(file)["inference_id"].to_list() == [each]

    write(tmp_path / LUNCH / "late.jsonl", [event(*GOOD, "late")])
    both = judged(tmp_path)
    assert (both.read, both.dropped) == (3, first.dropped)
    assert kept.items() <= contents(tmp_path).items()
    whole = contents(tmp_path)
    for lost in kept:
        (tmp_path / lost).unlink()
        again = judged(tmp_path)
        assert (again.read, again.dropped) == (3, first.dropped)
        assert contents(tmp_path) == whole


def test_a_file_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    """What was collected in part before a crash is among what there was, and collected again."""
    write(tmp_path / LUNCH / "1.jsonl", [event(*GOOD, "a")])
    found = judged(tmp_path)
    shutil.copytree(tmp_path / "predictions", tmp_path / "before/predictions")
    assert (
        collect.read([tmp_path / "before", tmp_path], USE_CASE, Window("2")).read == found.read == 1
    )


def test_a_capture_outside_of_the_folders_of_hours_is_named(tmp_path: Path) -> None:
    write(tmp_path / PLACE / "a.jsonl", [event(*GOOD, "a")])
    with pytest.raises(
        UseCaseError, match=r"version=2/name/AllTraffic/a\.jsonl is in no folder of"
    ):
        judged(tmp_path)


def test_features_named_like_columns_of_the_table_keep_their_values(tmp_path: Path) -> None:
    use_case = replace(
        USE_CASE, features=Features(numeric=("day", "Row"), categorical=("scored_at",))
    )
    sent = '{"instances": [{"Row": 5, "day": 31, "scored_at": "noon"}]}'
    line = event(sent, ANSWER, "1", content_type="application/json")
    write(tmp_path / LUNCH / "1.jsonl", [line])
    collect.collect(tmp_path / "capture", tmp_path, use_case, "2", {})
    found = collect.read([tmp_path], use_case, Window("2"))
    assert found.features.to_dicts() == [{"day": "31.0", "Row": "5.0", "scored_at": "noon"}]
    assert found.rows["row"].to_list() == [0]
    twice = replace(USE_CASE, features=Features(numeric=("day", "feature_day")))
    with pytest.raises(UseCaseError, match="feature_day: predictions have two columns"):
        parquet.columns(twice)
