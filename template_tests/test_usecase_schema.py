"""The schema of a model, and the comparison of versions whose features differ."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.image import fail, place, read_json, succeed

from usecase import schema, tables
from usecase.config import Features, UseCase
from usecase.errors import UseCaseError
from usecase.schema import Schema
from workflows import names


def test_the_model_and_its_evaluation_hold_the_same(
    prepared: Path, trained: Path, evaluation: Path, use_case: UseCase
) -> None:
    found = schema.read(trained / "model")
    assert found == schema.read(evaluation)
    assert found == Schema.of(use_case, tables.read(prepared / "train"))
    document = read_json(trained / "model" / "schema.json")
    features = {entry["name"]: entry for entry in document["features"]}
    assert list(features) == use_case.features.names
    assert features["distance"] == {"name": "distance", "type": "Integral"}
    assert features["route_delay"]["type"] == "Fractional"
    assert features["origin"]["categories"] == ["EWR", "JFK", "LGA"]
    assert document["target"] == use_case.target.column
    assert [entry["name"] for entry in document["answer"]] == list(use_case.target.answer)


def changed(use_case: UseCase, numeric: list[str], categorical: list[str]) -> UseCase:
    return replace(use_case, features=Features(tuple(numeric), tuple(categorical)))


def test_the_feature_that_differs_is_named(trained: Path, use_case: UseCase) -> None:
    model = trained / "model"
    schema.check(model, use_case)
    numeric, categorical = list(use_case.features.numeric), list(use_case.features.categorical)
    first, second = numeric[:2]
    for features, message in (
        ((numeric[1:], categorical), f"was trained with feature {first}, which usecase.toml"),
        (([*numeric, "speed"], categorical), "was trained without feature speed"),
        ((numeric[1:], [first, *categorical]), f"feature {first} was numeric when"),
        (
            ([second, first, *numeric[2:]], categorical),
            f"feature 1 of the model is {first}, that of usecase.toml is {second}",
        ),
    ):
        with pytest.raises(UseCaseError, match=f"model: .*{message}"):
            schema.check(model, changed(use_case, *features))


def test_another_target_is_named(trained: Path, use_case: UseCase) -> None:
    other = replace(use_case, target=replace(use_case.target, column="cancelled"))
    with pytest.raises(UseCaseError, match=r"model: its target is .*, that of usecase.toml is"):
        schema.check(trained / "model", other)


def test_what_is_no_schema_is_refused_and_its_absence_told(
    tmp_path: Path, use_case: UseCase, capsys: pytest.CaptureFixture[str]
) -> None:
    schema.check(tmp_path, use_case)
    assert "has no schema.json" in capsys.readouterr().out
    for document in ({}, {"features": [{"title": "hour"}], "answer": []}):
        (tmp_path / "schema.json").write_text(json.dumps(document))
        with pytest.raises(UseCaseError, match=r"schema.json: is not a schema of a model"):
            schema.check(tmp_path, use_case)


@pytest.fixture
def job(
    tmp_path: Path, archive: Path, prepared: Path, evaluation: Path
) -> tuple[Path, dict[str, Any]]:
    """The folder of a job that compares a version with itself, and the schema of the other one."""
    inputs = tmp_path / "processing" / "input"
    place(archive.parent, inputs / "model")
    place(prepared / "test", inputs / "test")
    place(evaluation, inputs / "other")
    return tmp_path, read_json(evaluation / "schema.json")


def compared(base: Path) -> Any:
    succeed("compare", base)
    output = base / "processing" / "output" / "evaluation"
    return read_json(output / "statistics.json")[names.QUALITY_METRICS]


def test_features_are_built_of_the_data_mart_where_they_differ(
    job: tuple[Path, dict[str, Any]], evaluation: Path, mart: Path, use_case: UseCase
) -> None:
    """The test data has none of the version's features, and another name for the id."""
    base, other = job
    inputs = base / "processing" / "input"
    place(mart, inputs)
    rows = tables.read(inputs / "test").select(
        pl.col(use_case.data.id).alias("record"), use_case.target.column
    )
    tables.write(rows, inputs / "test")
    (inputs / "other" / "schema.json").write_text(json.dumps(other | {"id": "record"}))
    expected = read_json(evaluation / "statistics.json")[names.QUALITY_METRICS]
    assert compared(base) == expected


def test_what_cannot_be_compared_is_told(
    job: tuple[Path, dict[str, Any]], mart: Path, use_case: UseCase
) -> None:
    base, other = job
    inputs = base / "processing" / "input"
    (inputs / "other" / "schema.json").write_text(json.dumps(other | {"target": "cancelled"}))
    assert "the other one cancelled" in fail("compare", base)
    (inputs / "other" / "schema.json").write_text(json.dumps(other))
    place(mart, inputs)
    rows = tables.read(inputs / "test")
    lost = rows.with_columns(
        pl.when(pl.int_range(pl.len()) < 3)
        .then(pl.lit("lost-") + pl.col(use_case.data.id))
        .otherwise(use_case.data.id)
        .alias(use_case.data.id)
    )
    tables.write(lost, inputs / "test")
    reason = fail("compare", base)
    assert f"3 of the {rows.height} records of the test data are not in the data mart" in reason
    (inputs / "other" / "schema.json").unlink()
    assert "has no schema.json" in fail("compare", base)
