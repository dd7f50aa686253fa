"""prepare, train and evaluate, as the processes that the jobs run."""

import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl
import pytest
from support.examples import LABELS, OUTPUT
from support.image import fail, place, read_json, run, succeed

from usecase import config, features, model, prepare, schema, tables, train
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.evaluate import evaluate_model
from usecase.problem import METRICS
from workflows import names

TARGET = config.load().target.column


@pytest.fixture(scope="module")
def records(mart: Path, use_case: UseCase) -> pl.DataFrame:
    """What features.build makes of the data mart."""
    return features.build({name: tables.read(mart / name) for name in use_case.data.tables})


def test_training_takes_the_newest_months(records: pl.DataFrame, use_case: UseCase) -> None:
    months = use_case.data.history_months
    time = pl.col(use_case.data.time)
    old = records.with_columns(
        time.dt.offset_by(f"-{months}mo"), pl.col(use_case.data.id) + pl.lit("-old")
    )
    clean = prepare.clean(pl.concat([old, records]), use_case)
    parts = pl.concat(prepare.split(clean, use_case).values())
    assert not parts[use_case.data.id].str.ends_with("-old").any()


def test_preparing_again_gives_the_same(mart: Path, prepared: Path, tmp_path: Path) -> None:
    place(mart, tmp_path / "processing" / "input")
    place(prepared, tmp_path / "processing" / "output")
    succeed("prepare", tmp_path)
    for name in ("train", "validation", "test"):
        folder = tmp_path / "processing" / "output" / name
        assert [path.name for path in folder.iterdir()] == ["data.parquet"]
        assert tables.read(folder).equals(tables.read(prepared / name))


def test_an_empty_data_mart(use_case: UseCase, tmp_path: Path) -> None:
    table = use_case.data.tables[0]
    assert f"{table}: no Parquet files in" in fail("prepare", tmp_path)
    assert not (tmp_path / "processing" / "output").exists()


def test_files_that_are_no_tables(mart: Path, tmp_path: Path) -> None:
    place(mart, tmp_path)
    broken = tmp_path / "flights" / "part-1.parquet"
    broken.write_bytes(b"not Parquet")
    with pytest.raises(UseCaseError, match=r"flights: part-1.parquet is not a Parquet file"):
        tables.read(tmp_path / "flights")
    pl.DataFrame({"year": ["2013"]}).write_parquet(broken)
    with pytest.raises(UseCaseError, match=r"part-1.parquet are not those of part-0.*year is Str"):
        tables.read(tmp_path / "flights")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"integer": ("n",), "number": ("n", "x"), "text": ("t",), "time": ("at", "day")}, None),
        ({"integer": ("gone",)}, "t: integer: there is no column gone; there are n, x, t"),
        ({"integer": ("x",)}, "t: integer: x is Float64, first 0.5, 1.5, 2.5$"),
        ({"number": ("t",)}, "t: number: t is String, first 'b', 'n/a'$"),
        ({"boolean": ("n",), "text": ("at",)}, r"text: at is Datetime.*; t: boolean: n is Int64"),
        ({"text": ("none",), "unique": ("n",)}, "t: unique: n: 1 values are in .*, first 2$"),
        ({"unique": ("t", "none")}, "t: unique: t, none is empty in 4 of 4 rows"),
        ({"unique": ("n", "x")}, None),
        ({"time": ("at",), "dated_by": "at", "max_age_days": 2}, None),
        (
            {"time": ("at",), "dated_by": "at", "max_age_days": 1.2},
            "max_age_days: the newest at, 2026-01-02T12:00:00Z, is 1.5 days old, more than 1.2",
        ),
        ({"time": ("none",), "dated_by": "none", "max_age_days": 1}, "none is empty in all rows"),
    ],
)
def test_a_table_holds_what_usecase_toml_says(wanted: dict[str, Any], message: str | None) -> None:
    columns = {"n": [1, 2, 2, 3], "x": [0.5, 1.5, 2.5, 3.5], "t": ["1", "b", "n/a", None]}
    noon = datetime(2026, 1, 2, 12)  # noqa: DTZ001 - without a zone it is UTC
    table = pl.DataFrame(columns).with_columns(none=None, at=noon, day=noon.date())
    contract = {"t": config.Table(**wanted), "not_loaded": config.Table(text=("x",))}
    now = datetime(2026, 1, 4, tzinfo=UTC)
    if message is None:
        tables.check({"t": table}, contract, now)
        return
    with pytest.raises(UseCaseError, match=message):
        tables.check({"t": table}, contract, now)


def test_prepare_refuses_another_mart(mart: Path, tmp_path: Path) -> None:
    place(mart, tmp_path / "processing" / "input")
    for path in (tmp_path / "processing" / "input" / "weather").iterdir():
        pl.read_parquet(path).with_columns(origin=1).write_parquet(path)
    assert "weather: text: origin is Int32, first 1, 1, 1; weather: unique" in fail(
        "prepare", tmp_path
    )


def test_a_column_that_the_mart_has_not(mart: Path, tmp_path: Path) -> None:
    place(mart, tmp_path / "processing" / "input")
    for path in (tmp_path / "processing" / "input" / "weather").iterdir():
        pl.read_parquet(path).drop("visib").write_parquet(path)
    assert "weather: number: there is no column visib; there are" in fail("prepare", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit("x").alias("distance"), "features.numeric: distance is String; convert it"),
        (pl.col("distance") / 0, "row 1: feature distance is infinite or too large for 32 bits"),
        (pl.col("distance") * 1e38, "row 1: feature distance is infinite or too large for 32 bits"),
        (pl.lit("1").alias("flight_id"), "flight_id: .* rows have an id that another row has"),
        (pl.lit(None, pl.String).alias("flight_id"), "flight_id: is empty in"),
        (pl.lit("now").alias("scheduled_departure"), "data.time: scheduled_departure is String"),
        (pl.lit(None, pl.Int8).alias(TARGET), f"features.build: target {TARGET} is empty"),
        (pl.lit(LABELS[0]).alias(TARGET), f"train: target {TARGET} is .* rows"),
    ],
)
def test_records_that_cannot_be_used(
    records: pl.DataFrame, use_case: UseCase, change: pl.Expr, message: str
) -> None:
    with pytest.raises(UseCaseError, match=message):
        prepare.split(prepare.clean(records.with_columns(change), use_case), use_case)


def test_a_feature_that_is_not_built(records: pl.DataFrame, use_case: UseCase) -> None:
    with pytest.raises(
        UseCaseError, match=r"features.numeric: features.build returns no column 'hour'; it returns"
    ):
        prepare.clean(records.drop("hour"), use_case)


def test_too_few_rows(records: pl.DataFrame, use_case: UseCase) -> None:
    with pytest.raises(UseCaseError, match="no rows are left for it of 2; load more data"):
        prepare.split(prepare.clean(records[:2], use_case), use_case)


def test_types_are_brought_into_line(records: pl.DataFrame, use_case: UseCase) -> None:
    changed = records.with_columns(
        pl.col("distance").cast(pl.Decimal(10, 2)),
        pl.col("carrier").cast(pl.Categorical),
        pl.lit(float("nan")).alias("visibility"),
    )
    clean = prepare.clean(changed, use_case)
    assert clean.schema["distance"] == pl.Float64
    assert clean.schema["carrier"] == pl.String
    assert clean["visibility"].null_count() == clean.height


def test_records_without_a_true_value_do_not_train(
    records: pl.DataFrame, use_case: UseCase, capsys: pytest.CaptureFixture[str]
) -> None:
    arrived = records.filter(pl.col(TARGET).is_not_null())
    assert 0 < arrived.height < records.height
    clean = prepare.clean(records, use_case)
    assert clean.equals(prepare.clean(arrived, use_case))
    left_out = records.height - arrived.height
    assert capsys.readouterr().out == (
        f"left out {left_out} of {records.height} records: {TARGET} is not known\n"
    )


def test_a_training_that_fails_leaves_its_reason_and_the_model_before(
    trained: Path, tmp_path: Path
) -> None:
    place(trained / "model", tmp_path / "model")
    reason = fail("train", tmp_path)
    assert "train: no Parquet files in" in reason
    assert (tmp_path / "output" / "failure").read_text() == reason.removeprefix("error: train: ")
    before, after = trained / "model", tmp_path / "model"
    assert {path.name for path in after.iterdir()} == {path.name for path in before.iterdir()}


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("1e-3", 0.001), ("True", True), ("gblinear", "gblinear"), ("", "")],
)
def test_hyperparameters_get_their_types_back(text: str, value: object) -> None:
    assert train.parse(text) == value
    assert type(train.parse(text)) is type(value)


def test_a_loaded_model_predicts_the_same(
    prepared: Path, trained: Path, tmp_path: Path, use_case: UseCase
) -> None:
    rows = tables.read(prepared / "test").select(use_case.features.names).to_dict()
    loaded = model.Model.load(trained / "model")
    again = tmp_path / "model"
    train.save(loaded, schema.Schema.of(use_case, tables.read(prepared / "train")), again)
    predictions = loaded.predict(rows)
    assert predictions.shape == (len(rows["hour"]), *OUTPUT.shape[1:])
    assert len(set(predictions.ravel().tolist())) > 100
    assert (model.Model.load(again).predict(rows) == predictions).all()
    lists: model.Rows = {name: values.to_list() for name, values in rows.items()}
    assert (loaded.predict(lists) == predictions).all()
    one: model.Rows = {name: values[:1] for name, values in rows.items()}
    assert (loaded.predict(one)[0] == predictions[0]).all()
    missing = loaded.predict({**one, "carrier": [None]})
    for unknown in (["no such carrier"], pl.Series(["no such carrier"])):
        assert (loaded.predict({**one, "carrier": unknown}) == missing).all()


def test_an_evaluation_has_model_monitors_form(evaluation: Path, use_case: UseCase) -> None:
    statistics = read_json(evaluation / "statistics.json")
    assert statistics["version"] == 0.0
    metrics = statistics[names.QUALITY_METRICS]
    for name in METRICS:
        assert math.isfinite(metrics[name]["value"])
        assert 0 < metrics[name]["standard_deviation"] < abs(metrics[name]["value"])
    limits = read_json(evaluation / "constraints.json")[
        names.QUALITY_METRICS.replace("_metrics", "_constraints")
    ]
    quality = use_case.monitors.model_quality
    assert list(limits) == list(quality.metrics)
    for name, limit in limits.items():
        sign = -1 if limit["comparison_operator"] == "LessThanThreshold" else 1
        expected = metrics[name]["value"] * (1 + sign * quality.tolerance)
        assert limit["threshold"] == pytest.approx(expected)


def test_the_model_passes_the_gate(evaluation: Path, use_case: UseCase) -> None:
    """On a twelfth of the sample data too."""
    metrics = read_json(evaluation / "statistics.json")[names.QUALITY_METRICS]
    value, least = metrics[use_case.approval.metric]["value"], use_case.approval.threshold
    assert value > least if use_case.approval.higher_is_better else value < least


def test_evaluation_is_a_function_too(
    trained: Path, prepared: Path, evaluation: Path, use_case: UseCase
) -> None:
    statistics = evaluate_model(trained / "model", tables.read(prepared / "test"), use_case)
    assert statistics == read_json(evaluation / "statistics.json")


def test_what_cannot_be_evaluated(
    trained: Path, prepared: Path, tmp_path: Path, use_case: UseCase
) -> None:
    rows = tables.read(prepared / "test")
    with pytest.raises(UseCaseError, match="test: there is no column 'dest'"):
        evaluate_model(trained / "model", rows.drop("dest"), use_case)
    one_value = rows.with_columns(pl.lit(LABELS[0]).alias(TARGET))
    with pytest.raises(UseCaseError, match=f"test: target {TARGET} is .* rows"):
        evaluate_model(trained / "model", one_value, use_case)
    shutil.copytree(trained / "model", tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        if file.name != schema.NAME:
            file.unlink()
    with pytest.raises(UseCaseError, match="no model could be loaded"):
        evaluate_model(tmp_path / "model", rows, use_case)
    inputs = tmp_path / "processing" / "input"
    (inputs / "model").mkdir(parents=True)
    (inputs / "model" / "model.tar.gz").write_bytes(b"no archive")
    assert "is not a model archive" in fail("evaluate", tmp_path)


def test_a_model_that_answers_no_number_is_not_evaluated(
    trained: Path, prepared: Path, use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = model.Model.load(trained / "model").predict(
        tables.read(prepared / "test").select(use_case.features.names).to_dict()
    )
    output = output.copy()
    output[2:4] = float("nan")

    def predict(_: model.Model, rows: model.Rows) -> npt.NDArray[Any]:
        # Millions of rows would take a minute, and gigabytes, as lists.
        assert {type(values) for values in rows.values()} == {pl.Series}
        return output

    monkeypatch.setattr(model.Model, "predict", predict)
    message = rf"test: row 3: the model answered nan, .* \(2 of {len(output)} rows\)"
    with pytest.raises(UseCaseError, match=message):
        evaluate_model(trained / "model", tables.read(prepared / "test"), use_case)


def test_unknown_commands(tmp_path: Path) -> None:
    result = run("deploy", tmp_path)
    assert result.returncode == 2
    assert "prepare|train|evaluate|compare|" in result.stderr
