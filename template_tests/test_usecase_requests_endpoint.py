"""Requests in the place of features, as the endpoint reads them and keeps them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.by_zero import divide, flights
from support.image import write_lines
from support.inference_endpoint import event

from usecase import serve_endpoint
from usecase.config import Request, UseCase
from usecase.errors import BadRequest
from usecase.predictions import Window, collect
from usecase.serve_endpoint import CSV, JSON_LINES
from usecase.version import Version


def test_csv_that_could_be_either_is_a_request(use_case: UseCase) -> None:
    """It has as many fields as there are features; JSON tells the two apart."""
    computed = dict.fromkeys(use_case.features.names)
    asked = Request({f"asked {name}": "text" for name in computed})
    either = replace(use_case, request=asked)
    line = ",".join("1" for _ in computed).encode()
    fields, columns = serve_endpoint.parse(line, CSV, either)
    assert fields.raw
    assert columns == {name: ["1"] for name in asked.fields}
    for row, raw in ((computed, False), (dict.fromkeys(asked.fields, "1"), True)):
        body = json.dumps(row).encode()
        assert serve_endpoint.parse(body, JSON_LINES, either)[0].raw == raw


@pytest.fixture
def divided(trained: Path, use_case: UseCase, monkeypatch: pytest.MonkeyPatch) -> Version:
    """A version whose features divide by a number of the request."""
    divide(monkeypatch)
    return Version.load(trained / "model", use_case)


def test_infinite_features_are_refused(divided: Version) -> None:
    """So is one too large for 32 bits; the first row that has such is named."""
    far = flights(1400, 300)
    assert serve_endpoint.answer(far, JSON_LINES, JSON_LINES, divided).count(b"\n") == 2
    for odd in (0, 1e-39):
        message = r"row 2: feature distance is infinite or too large for 32 bits \(1 of 2 rows\)"
        with pytest.raises(BadRequest, match=message):
            serve_endpoint.answer(flights(1400, odd), JSON_LINES, JSON_LINES, divided)


def test_infinite_features_of_what_was_captured_are_missing(
    divided: Version, use_case: UseCase, tmp_path: Path
) -> None:
    """Should a refused request be captured, the others are still monitored."""
    answer = serve_endpoint.answer(flights(300), JSON_LINES, JSON_LINES, divided).decode()
    sent = {str(miles): flights(miles).decode() for miles in (0, 4)}
    events = [
        event(body, answer, name, content_type=JSON_LINES, encoding="JSON")
        for name, body in sent.items()
    ]
    write_lines(tmp_path / "capture/version=1/name/AllTraffic/2026/01/15/12/1.jsonl", events)
    collect.collect(tmp_path / "capture", tmp_path, use_case, "1", divided.known)
    found = collect.read([tmp_path], use_case, Window("1"))
    distances = dict(zip(found.rows["inference_id"], found.features["distance"], strict=True))
    assert distances["0"] is None
    assert float(distances["4"]) == 1 / 4


def test_features_that_a_request_has_too_are_no_request_without_the_rest(use_case: UseCase) -> None:
    computed = dict.fromkeys(use_case.features.names)
    asked = Request({"customer": "text"}, dict.fromkeys(computed, "text"))
    more = replace(use_case, request=asked)
    body = json.dumps(computed).encode()
    assert not serve_endpoint.parse(body, JSON_LINES, more)[0].raw
    body = json.dumps({**computed, "customer": "1"}).encode()
    assert serve_endpoint.parse(body, JSON_LINES, more)[0].raw
