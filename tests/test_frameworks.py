"""Each framework lives with each kind of problem, and is asked with what a caller knows."""

import csv
import io
import json
import math
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests import conftest, life, matrix

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

#: A flight as whoever asks knows it: nothing of the visibility, and nothing of its route.
FLIGHT = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "scheduled_departure": "2013-07-10T22:00:00Z",
    "distance": 1400,
    "precipitation": 0.1,
}
CHOICES = matrix.choices()


@pytest.fixture(
    scope="module",
    params=[*product(CHOICES["framework"], CHOICES["problem_type"])],
    ids="-".join,
)
def lived(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[life.Life]:
    framework, problem_type = request.param
    answers = {"framework": framework, "problem_type": problem_type}
    project = conftest.make_project(repository, tmp_path_factory.mktemp("life") / "own", answers)
    try:
        yield life.live(project)
    finally:
        life.end(project)


def answered(lived: life.Life, content_type: str, body: str) -> list[list[str]]:
    """The fields of the answers to a request, as text."""
    answer = lived.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=lived.slug, ContentType=content_type, Body=body.encode()
    )
    text = answer["Body"].read().decode()
    if content_type == "text/csv":
        return list(csv.reader(io.StringIO(text)))
    lines = text.splitlines()
    rows = map(json.loads, lines) if content_type == "application/jsonlines" else None
    return [[*map(str, row.values())] for row in rows or json.loads(text)["predictions"]]


def test_a_second_version_serves(lived: life.Life) -> None:
    result = lived.result
    assert [version["version"] for version in result["model_versions"]] == [1, 2]
    assert result["serving_version"] == 2
    # September is no drift to every model; without drift, a person starts the training.
    drift = any(monitor["violations"] for monitor in result["monitors"].values())
    assert result["retraining"]["started_by"] == ("drift" if drift else "manual")
    assert result["predictions"] >= 3000
    assert result["failed_predictions"] == 0


def test_its_traffic_was_requests(lived: life.Life) -> None:
    """The features that the server made of them are those of the data mart, but for look-ups."""
    told = lived.ops("skew", "1")
    assert "3000 predictions compared" in told
    assert "route_delay" in told
    assert not {"hour", "weekday", "distance", "visibility", "carrier"} & set(told.split())


def test_each_form_of_a_request_has_the_same_answer(lived: life.Life) -> None:
    use_case = tomllib.loads((lived.project / "usecase.toml").read_text())
    fields = [*use_case["request"]["required"], *use_case["request"]["optional"]]
    early = FLIGHT | {"scheduled_departure": "2013-07-10T09:00:00Z"}
    flights = [FLIGHT, early]
    lines = io.StringIO()
    csv.DictWriter(lines, fields).writerows(flights)
    from_csv = answered(lived, "text/csv", lines.getvalue())
    first, second = from_csv
    assert first != second
    forms = {
        "application/json": json.dumps({"instances": flights}),
        "application/jsonlines": "\n".join(map(json.dumps, flights)),
    }
    for content_type, body in forms.items():
        assert answered(lived, content_type, body) == from_csv
    numbers = (value for value in first if value not in use_case["target"].get("classes", ()))
    assert all(math.isfinite(float(value)) for value in numbers)
