"""Each orchestrator lives in each mode with each kind of problem, all monitors chosen."""

import csv
import io
import json
import math
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests import conftest, life, matrix

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

ANSWERED_AT_ONCE = ("realtime", "serverless")

#: September is no drift to every model: some are better there. So whoever supplies the distance
#: tells it in kilometres from then on.
MILES = "    return table.with_columns(\n"
KILOMETRES = """    month, miles = pl.col("month"), pl.col("distance")
    return table.with_columns(
        distance=pl.when(month < 9).then(miles).otherwise((miles * 1.609).round()).cast(pl.Int64),
"""


def combinations() -> Iterator[dict[str, Any]]:
    """The answers of each life; the frameworks take turns, so that each meets every problem."""
    asked = matrix.choices()
    all_monitors = asked["monitors"][0]
    frameworks = asked["framework"]
    modes = product(asked["orchestrator"], asked["inference_mode"])
    for turn, (orchestrator, mode) in enumerate(modes):
        for place, problem_type in enumerate(asked["problem_type"]):
            yield {
                "orchestrator": orchestrator,
                "inference_mode": mode,
                "problem_type": problem_type,
                "framework": frameworks[(turn + place) % len(frameworks)],
                "monitors": all_monitors,
            }


def name(answers: dict[str, Any]) -> str:
    """The answers of a life, for its id."""
    return "-".join(value for value in answers.values() if isinstance(value, str))


LIVES = list(combinations())


@pytest.fixture(scope="module", params=LIVES, ids=[name(one) for one in LIVES])
def lived(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[life.Life]:
    folder = tmp_path_factory.mktemp("life") / "own"
    project = conftest.make_project(repository, folder, request.param, change_the_unit)
    try:
        yield life.live(project)
    finally:
        life.end(project)


def change_the_unit(project: Path) -> None:
    """Let the sample's distances be in kilometres from September on."""
    path = project / "local" / "sample_data.py"
    before, there, after = path.read_text().partition(MILES)
    assert there
    path.write_text(before + KILOMETRES + after)


def answered(lived: life.Life, content_type: str, body: str) -> list[list[str]]:
    """The fields of the answers to a request, as text."""
    endpoints = lived.client("sagemaker").list_endpoints()["Endpoints"]
    (endpoint,) = (found["EndpointName"] for found in endpoints)
    answer = lived.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, ContentType=content_type, Body=body.encode()
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
    assert set(result["monitors"]) == set(result["answers"]["monitors"])
    found = result["monitors"]["data_quality"]["violations"]
    assert "distance" in {violation["feature"] for violation in found}
    assert result["retraining"]["started_by"] == "drift"
    assert result["retraining"]["status"] == "succeeded"
    # local/traffic_endpoint.py sends fewer requests where each is an object.
    few = result["answers"]["inference_mode"] == "async"
    assert result["predictions"] >= (1200 if few else 3000)
    assert result["failed_predictions"] == 0


def test_the_features_of_requests_are_those_of_the_data_mart(lived: life.Life) -> None:
    """But for look-ups, which age; and the rows of batches come from there."""
    told = lived.ops("skew", "1")
    assert "predictions compared" in told
    asked = lived.result["answers"]["inference_mode"] != "batch"
    assert ("route_delay" in told) == asked
    assert not {"hour", "weekday", "distance", "visibility", "carrier"} & set(told.split())


def test_each_form_of_a_request_has_the_same_answer(lived: life.Life) -> None:
    if lived.result["answers"]["inference_mode"] not in ANSWERED_AT_ONCE:
        pytest.skip("nobody waits for an answer")
    use_case = tomllib.loads((lived.project / "usecase.toml").read_text())
    fields = [*use_case["request"]["required"], *use_case["request"]["optional"]]
    early = life.FLIGHT | {"scheduled_departure": "2013-07-10T09:00:00Z"}
    flights = [life.FLIGHT, early]
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
