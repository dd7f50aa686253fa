"""The data-quality monitor, as the process that the job runs."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from captures import event, write
from conftest import fail, place, read_json, succeed
from examples import CSV

from usecase import tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.monitors import constraints, data_quality


@pytest.fixture
def rows(prepared: Path, use_case: UseCase) -> pl.DataFrame:
    """Features of records that were trained on, evenly taken over the time."""
    train = tables.read(prepared / "train").select(use_case.features.names)
    return train.gather_every(train.height // 1500)[:1500]


@pytest.fixture
def base(baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /opt/ml, with the baseline in it."""
    place(baseline, tmp_path / "processing" / "input" / "baseline")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def send(rows: pl.DataFrame, base: Path, time: str = "2026-01-15T12:00:00Z") -> None:
    """Capture rows as requests."""
    lines = rows.write_csv(include_header=False).splitlines()
    events = [event(f"{line}\n", f"{CSV[0]}\n", str(i), time=time) for i, line in enumerate(lines)]
    write(base / "processing/input/predictions/2026/01/15/12/1.jsonl", events)


def report(base: Path) -> dict[str, Any]:
    """The three files of the report, by name."""
    folder = base / "processing" / "output" / "report"
    assert len(list(folder.iterdir())) == 3
    return {path.stem: read_json(path) for path in folder.iterdir()}


def checks(base: Path) -> set[tuple[str, str]]:
    """Feature and check of each violation."""
    violations = report(base)["constraint_violations"]["violations"]
    assert all(
        v.keys() == {"feature_name", "constraint_check_type", "description"} for v in violations
    )
    return {(v["feature_name"], v["constraint_check_type"]) for v in violations}


def test_data_like_that_of_the_training(rows: pl.DataFrame, base: Path, baseline: Path) -> None:
    send(rows, base)
    for _ in range(2):  # again gives the same
        succeed("data-quality", base)
        assert checks(base) == set()
        found = report(base)
        assert found["constraints"] == read_json(baseline / "constraints.json")
        assert found["statistics"]["dataset"]["item_count"] == rows.height
        types = {entry["name"]: entry["inferred_type"] for entry in found["statistics"]["features"]}
        assert types["hour"] == "Integral"
        assert types["carrier"] == "String"
        message = (base / "output" / "message").read_text()
        assert message == f"Completed: {rows.height} predictions"


def test_data_that_has_changed(rows: pl.DataFrame, base: Path) -> None:
    i = pl.int_range(pl.len())
    changed = rows.with_columns(
        distance=pl.col("distance") * 3,
        hour=pl.when(i % 10 == 0).then(pl.lit("noon")).otherwise(pl.col("hour").cast(pl.String)),
        weekday=pl.when(i % 10 != 0).then(pl.col("weekday")),
        carrier=pl.when(i % 20 == 0).then(pl.lit("new one")).otherwise(pl.col("carrier")),
        origin=pl.lit("JFK"),
    )
    send(changed, base)
    log = succeed("data-quality", base)
    assert checks(base) == {
        ("hour", "data_type_check"),
        ("hour", "completeness_check"),
        ("weekday", "completeness_check"),
        ("distance", "baseline_drift_check"),
        ("carrier", "categorical_values_check"),
        ("origin", "baseline_drift_check"),
    }
    assert "Expected data type: Integral, Expected match: 100.0%. Observed: Only 90.0%" in log
    assert "Observed: 95.0%; unknown are new one." in log
    message = (base / "output" / "message").read_text()
    assert message == f"CompletedWithViolations: 6 violations: {rows.height} predictions"


def test_columns_that_came_and_went(rows: pl.DataFrame, base: Path, use_case: UseCase) -> None:
    send(rows, base)
    folder = base / "processing" / "input" / "baseline"
    for name in ("statistics", "constraints"):
        document = read_json(folder / f"{name}.json")
        for entry in document["features"]:
            if entry["name"] == "dest":
                entry["name"] = "destination"
        (folder / f"{name}.json").write_text(json.dumps(document))
    data_quality.run(use_case)
    assert checks(base) == {
        ("destination", "missing_column_check"),
        ("dest", "extra_column_check"),
    }


def test_constraints_can_be_edited(rows: pl.DataFrame, base: Path, use_case: UseCase) -> None:
    send(rows.with_columns(pl.col("distance") * 3), base)
    path = base / "processing" / "input" / "baseline" / "constraints.json"
    document = read_json(path)
    distance = next(entry for entry in document["features"] if entry["name"] == "distance")
    distribution = document["monitoring_config"]["distribution_constraints"]
    distance["monitoringConfigOverrides"] = {
        "distribution_constraints": distribution | {"perform_comparison": "Disabled"}
    }
    path.write_text(json.dumps(document))
    data_quality.run(use_case)
    assert checks(base) == set()


def test_the_window(
    rows: pl.DataFrame, base: Path, use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(rows, base)
    monkeypatch.setenv("WINDOW_START", "2026-01-15T12:00:01Z")
    monkeypatch.setenv("WINDOW_END", "2026-01-15T13:00:00Z")
    data_quality.run(use_case)
    found = report(base)
    assert found["statistics"]["dataset"]["item_count"] == 0
    assert found["constraint_violations"] == {"violations": []}
    assert (base / "output" / "message").read_text() == "Completed: 0 predictions"
    monkeypatch.setenv("WINDOW_START", "2026-01-15T12:00:00")
    monkeypatch.setenv("WINDOW_END", "")
    data_quality.run(use_case)
    assert report(base)["statistics"]["dataset"]["item_count"] == rows.height


def test_what_cannot_be_compared(
    rows: pl.DataFrame, base: Path, use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(message: str) -> None:
        with pytest.raises(UseCaseError, match=message):
            data_quality.run(use_case)

    assert "WINDOW_START: 'noon' is no ISO 8601 time" in fail(
        "data-quality", base, WINDOW_START="noon"
    )
    monkeypatch.setenv("WINDOW_START", "2026-01-02")
    monkeypatch.setenv("WINDOW_END", "2026-01-01")
    refused("WINDOW_END: .* is not after WINDOW_START")
    monkeypatch.setenv("WINDOW_END", "")
    path = base / "processing" / "input" / "baseline" / "statistics.json"
    path.write_text('{"version": 0.0}')
    send(rows, base)
    refused("statistics.json or constraints.json has no 'features'")
    path.write_text("{")
    refused("statistics.json: is not JSON")
    path.unlink()
    refused(r"statistics.json: cannot be read \(No such file")
    assert not (base / "processing" / "output").exists()


def test_types_of_captured_text() -> None:
    captured = pl.DataFrame(
        {
            "whole": ["5", "5.0", "-3", None],
            "part": ["5", "5.5", "1e300", None],
            "odd": ["5", "nan", "inf", "five"],
            "text": ["5", "x", None, None],
            "new": ["5", "x", None, None],
        }
    )
    types = {"whole": "Integral", "part": "Integral", "odd": "Fractional", "text": "String"}
    table, match = data_quality.convert(captured, types)
    assert table.dtypes == [pl.Int64, pl.Float64, pl.Float64, pl.String, pl.String]
    assert table["odd"].to_list() == [5, None, None, None]
    assert match == {
        "whole": 1.0,
        "part": pytest.approx(1 / 3),
        "odd": 0.25,
        "text": 1.0,
        "new": 1.0,
    }


def test_small_windows_are_judged_mildly(rows: pl.DataFrame, baseline: Path) -> None:
    """Thirty requests differ from the training data by chance, which Robust allows for."""
    distances = rows["distance"][:30].to_list()
    statistics = read_json(baseline / "statistics.json")
    before = next(entry for entry in statistics["features"] if entry["name"] == "distance")
    (sample,) = before["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"]
    distance = constraints.numeric_distance(sample, distances)
    assert distance > 0.1
    assert constraints.robust(distance, statistics["dataset"]["item_count"], 30) < 0.1
