"""The OpenAPI document: it is one, and what it says of a request is what the server does.

It holds whatever `[request]` is, and without it.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.image import Server
from typer.testing import CliRunner

from ops.__main__ import app
from usecase import openapi
from usecase.config import UseCase
from usecase.rows import Fields

URL = "https://example.com/v1"

Row = dict[str, Any]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `ops openapi` writes."""
    file = tmp_path_factory.mktemp("openapi") / "openapi.json"
    result = CliRunner().invoke(app, ["openapi", str(file), "--url", URL])
    assert result.exit_code == 0, result.output
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def operation(document: Any) -> Any:
    return document["paths"][openapi.PATH]["post"]


@pytest.fixture(scope="module")
def example(operation: Any) -> Any:
    """The request that the document gives as an example."""
    return operation["requestBody"]["content"]["application/json"]["example"]


@pytest.fixture
def fields(use_case: UseCase) -> Fields:
    if use_case.request is None:
        return Fields.of_features(use_case.features)
    return Fields.of_request(use_case.request)


@pytest.fixture
def allows(use_case: UseCase) -> Callable[[object], bool]:
    """Whether the schema allows a request: the same for API Gateway, which knows draft 4."""
    schema = openapi.request(use_case)

    def both(body: object) -> bool:
        old, new = (v(schema).is_valid(body) for v in (Draft4Validator, Draft202012Validator))
        assert old == new
        return new

    return both


def post(server: Server, body: object) -> tuple[int, Any]:
    status, _, answer = server.invoke(json.dumps(body), "application/json")
    return status, json.loads(answer)


def test_document_is_openapi(document: Any) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["servers"] == [{"url": URL}]
    assert [*document["security"][0]] == [*document["components"]["securitySchemes"]]


def test_every_schema_is_draft_4_and_2020_12(document: Any) -> None:
    for schema in document["components"]["schemas"].values():
        Draft4Validator.check_schema(schema)
        Draft202012Validator.check_schema(schema)


def test_fields_are_the_use_cases(document: Any, fields: Fields) -> None:
    row = document["components"]["schemas"]["Request"]["properties"]["instances"]["items"]
    assert [*row["properties"]] == fields.names
    assert {*row.get("required", [])} == {*fields.names} - fields.optional


def test_server_answers_the_example_as_the_document_says(
    document: Any, example: Any, server: Server, allows: Callable[[object], bool]
) -> None:
    assert allows(example)
    status, answer = post(server, example)
    assert status == 200, answer
    Draft202012Validator(document["components"]["schemas"]["Answer"]).validate(answer)
    assert len(answer["predictions"]) == len(example["instances"])


def test_what_may_be_missing_can_be_null_or_left_out(
    example: Any, server: Server, fields: Fields, allows: Callable[[object], bool]
) -> None:
    (row,) = example["instances"]
    free = [name for name in fields.names if name not in fields.required]
    null = {**row, **dict.fromkeys(free)}
    absent = {name: value for name, value in row.items() if name not in fields.optional}
    for changed in (null, absent):
        assert allows({"instances": [changed]})
        assert post(server, {"instances": [changed]})[0] == 200


def violations(row: Row, fields: Fields) -> dict[str, object]:
    """Requests that break the schema in one place."""
    found: dict[str, object] = {
        "no object": [row],
        "no instances": {},
        "no rows": {"instances": []},
        "more than instances": {"instances": [row], "and": 1},
        "a row that is a list": {"instances": [[*row.values()]]},
        "an unknown field": {"instances": [{**row, "no such field": 1}]},
        "a second row": {"instances": [row, {}]},
    }
    wrong = {
        "number": ["1", True, 1e39, [1]],
        "text": [1.5, True, {"a": 1}],
        "datetime": [1, "yesterday", "31.01.2026", "2026-01-31T09:00:00+9"],
    }
    for name, kind in fields.types.items():
        values: list[object] = [*wrong[kind]]
        if name in fields.required:
            values += [None, *([""] if kind == "text" else [])]
        if name not in fields.optional:
            less = {key: value for key, value in row.items() if key != name}
            found[f"no {name}"] = {"instances": [less]}
        for value in values:
            found[f"{name}: {value!r}"] = {"instances": [{**row, name: value}]}
    return found


def test_what_breaks_the_schema_is_refused_by_the_server_too(
    document: Any, example: Any, server: Server, fields: Fields, allows: Callable[[object], bool]
) -> None:
    error = Draft202012Validator(document["components"]["schemas"]["Error"])
    (row,) = example["instances"]
    for what, body in violations(copy.deepcopy(row), fields).items():
        assert not allows(body), what
        status, answer = post(server, body)
        assert status == 400, what
        error.validate(answer)


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31",
        "2026-01-31T09:00",
        "2026-01-31 09:00:00",
        "2026-01-31T09:00:00.123456789Z",
        "2026-01-31T09:00:00+09:00",
    ],
)
def test_times_that_the_document_allows_are_times(
    time: str, example: Any, server: Server, fields: Fields, allows: Callable[[object], bool]
) -> None:
    (row,) = example["instances"]
    times = [name for name, kind in fields.types.items() if kind == "datetime"]
    body = {"instances": [{**row, **dict.fromkeys(times, time)}]}
    assert allows(body)
    assert post(server, body)[0] == 200


def test_without_an_address_the_stack_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.aws.output", lambda *_: URL + openapi.PATH)
    file = tmp_path / "openapi.json"
    assert CliRunner().invoke(app, ["openapi", str(file)]).exit_code == 0
    assert json.loads(file.read_text())["servers"] == [{"url": URL}]
