"""Filters, joins and mini-batches of batch transform, against the documentation and each other."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_aws.sagemaker.jobs.csv_rows import CsvError, Table, take
from local_aws.sagemaker.jobs.json_path import JsonPath, JsonPathError
from local_aws.sagemaker.jobs.transform_records import RecordError, Records

RECORD = {"id": 7, "features": [1, 2, 3], "in": {"a": 1, "b": {"c": 2}}, "SageMakerOutput": [0.5]}


# The operators are those of the table "Supported JSONPath operators" in the developer guide, and
# its text on ranges: "$[1:4] specifies the second through fifth columns".
@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("$", RECORD, RECORD),
        ("$.id", RECORD, 7),
        ("$.in.b.c", RECORD, 2),
        ("$['id','SageMakerOutput']", RECORD, {"id": 7, "SageMakerOutput": [0.5]}),
        ("$['id']", RECORD, 7),
        ("$.in.['a','b']", RECORD, {"a": 1, "b": {"c": 2}}),
        ("$.features[1]", RECORD, 2),
        ("$.features[-1]", RECORD, 3),
        ("$.in.*", RECORD, [1, {"c": 2}]),
        ("$[1]", [0, 1, 2, 3, 4, 5], 1),
        ("$[1,3,5]", [0, 1, 2, 3, 4, 5], [1, 3, 5]),
        ("$[0, -1]", [0, 1, 2, 3, 4, 5], [0, 5]),
        ("$[1:4]", [0, 1, 2, 3, 4, 5], [1, 2, 3, 4]),
        ("$[:4]", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4]),
        ("$[5:]", [0, 1, 2, 3, 4, 5], [5]),
        ("$[-2:]", [0, 1, 2, 3, 4, 5], [4, 5]),
        ("$[*]", [0, 1], [0, 1]),
        ("$[*].id", [{"id": 1}, {"id": 2}], [1, 2]),
        ("$[0:1].id", [{"id": 1}, {"id": 2}], [1, 2]),
        ("$[0].id", [{"id": 1}], 1),
    ],
)
def test_a_path_takes_what_the_guide_says(path: str, value: Any, found: Any) -> None:
    assert JsonPath.parse(path).of(value) == found


@pytest.mark.parametrize(
    "path", ["", "id", "$id", "$.", "$[", "$[]", "$[a]", "$[1:2:3]", "$..id", "$[?(@.a)]", "$ .id"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(JsonPathError, match="Invalid JsonPath"):
        JsonPath.parse(path)


def test_ranges_with_more_are_refused_in_aws_words() -> None:
    # As a user saw it: aws/sagemaker-python-sdk, issue 1112.
    with pytest.raises(JsonPathError) as caught:
        JsonPath.parse("$[0:2,246:]")
    assert str(caught.value) == (
        "Invalid JsonPath: $[0:2,246:]: only single range filters of format (eg: [1:5]) are "
        "supported. Format [0:2,246:] is not supported"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.no", RECORD),
        ("$.id.more", RECORD),
        ("$['id','no']", RECORD),
        ("$.features[3]", RECORD),
        ("$.features[-4]", RECORD),
        ("$[0]", RECORD),
        ("$[2:1]", [0, 1, 2]),
        ("$.id.*", RECORD),
    ],
)
def test_a_path_that_does_not_fit_is_told(path: str, value: Any) -> None:
    with pytest.raises(JsonPathError, match="Invalid JsonPath: "):
        JsonPath.parse(path).of(value)


INDEXES = st.lists(st.integers(-4, 3), min_size=1, max_size=4).map(str)
PATHS = st.one_of(INDEXES, st.sampled_from(["[1:]", "[:2]", "[0:0]", "[-2:]", "[*]", ""]))


def tables(cells: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[list[str]]]]:
    """One or two tables of three and one columns and up to five rows."""
    row = st.tuples(
        st.lists(cells, min_size=3, max_size=3), st.lists(cells, min_size=1, max_size=1)
    )
    rows = st.lists(row, min_size=1, max_size=5)
    return rows.map(lambda found: [[left for left, _ in found], [right for _, right in found]])


def written(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


@given(tables(st.text("ab1.- ", min_size=1)), PATHS)
def test_plain_rows_are_cut_as_parsed_ones(pair: list[list[list[str]]], path: str) -> None:
    _check_take(pair, JsonPath.parse(f"${path}"))


@given(tables(st.text('a,"é ', min_size=1)), PATHS)
def test_quoted_rows_are_parsed(pair: list[list[list[str]]], path: str) -> None:
    _check_take(pair, JsonPath.parse(f"${path}"))


def _check_take(pair: list[list[list[str]]], path: JsonPath) -> None:
    joined = [left + right for left, right in zip(*pair, strict=True)]
    expected = [[row[column] for column in path.columns(4)] for row in joined]
    made = take(path, *(Table(written(rows)) for rows in pair))
    assert list(csv.reader(row.decode() for row in made)) == expected


def test_rows_need_not_have_the_same_number_of_columns() -> None:
    ragged = Table(b"a,1\nb,1,2\r\nc,1,2,3\n")
    assert take(JsonPath.parse("$[0,-1]"), ragged) == [b"a,1", b"b,2", b"c,3"]
    with pytest.raises(JsonPathError, match="out of the record's 2 elements"):
        take(JsonPath.parse("$[2]"), ragged)


def test_other_encodings_pass_unharmed() -> None:
    latin = Table('"é",1'.encode("latin-1"))
    assert take(JsonPath.parse("$[0]"), latin) == ["é".encode("latin-1")]


@pytest.mark.parametrize("text", [b'"a\nb",1\n', b'"a,1\n', b'"a"b,1\n'])
def test_what_is_no_csv_is_told(text: bytes) -> None:
    with pytest.raises(CsvError, match="Failed to parse the data as CSV"):
        take(JsonPath.parse("$[0]"), Table(text))


def records(**members: Any) -> Records:
    kind = members.pop("kind", "text/csv")
    return Records.read(
        {
            "TransformInput": {"ContentType": kind, "SplitType": "Line"},
            "TransformOutput": {"Accept": kind, "AssembleWith": "Line"},
            "DataProcessing": members,
        },
        members.pop("time", None),
    )


@given(st.lists(st.text("ab,", max_size=6), max_size=30), st.integers(6, 40), st.booleans())
def test_batches_hold_all_lines_in_order_and_no_more_than_allowed(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], limit: int, single: bool
) -> None:
    path = Path(tmp_path_factory.getbasetemp(), "lines.csv")
    path.write_text("".join(line + "\n" for line in lines))
    batches = [batch.text for batch in records().batches(path, limit, single)]
    assert b"\n".join(batches).decode().split("\n") == (lines or [""])
    assert all(len(batch) <= limit for batch in batches)
    if single:
        assert len(batches) == len(lines)
    else:  # each but the last is as full as whole lines allow
        for batch, following in pairwise(batches):
            assert len(batch) + 1 + len(following.split(b"\n")[0]) > limit


def test_a_line_larger_than_allowed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("abc\nabcdefg\n")
    for single in (True, False):
        with pytest.raises(RecordError, match="Too much data for max payload size"):
            list(records().batches(path, 6, single))


def test_an_output_without_line_end_gets_one_and_no_second() -> None:
    for response in (b"1\n2", b"1\n2\n"):
        assert records().result(Table(b"a\nb"), response) == b"1\n2\n"


def test_json_that_is_no_object_becomes_one_when_joined() -> None:
    made = records(kind="application/jsonlines", JoinSource="Input")
    result = made.result(Table(b'[1, 2]\n{"a": 1}'), b'{"label":1}\n0.5\n')
    assert list(map(json.loads, result.splitlines())) == [
        {"SageMakerInput": [1, 2], "SageMakerOutput": {"label": 1}},
        {"a": 1, "SageMakerOutput": 0.5},
    ]


def test_json_gets_inference_ids_as_the_guide_shows() -> None:
    made = records(kind="application/jsonlines", time="2022-08-30T00:49:15Z")
    first, second = map(json.loads, made.result(Table(b"1\n2"), b'{"output": 0}\n1\n').splitlines())
    assert list(first) == ["output", "SageMakerInferenceId", "SageMakerInferenceTime"]
    assert first["SageMakerInferenceTime"] == "2022-08-30T00:49:15Z"
    assert first["SageMakerInferenceId"] != second["SageMakerInferenceId"]
    assert second["SageMakerOutput"] == 1


@pytest.mark.parametrize("response", [b"{\n1\n", b"1\n"])
def test_json_that_does_not_fit_is_told(response: bytes) -> None:
    made = records(kind="application/jsonlines", JoinSource="Input")
    with pytest.raises(RecordError, match=r"as JSON|mismatched line count"):
        made.result(Table(b"1\n2"), response)
