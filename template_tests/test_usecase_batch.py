"""The jobs of batch inference: their requests, and select and collect as real processes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.fake_sagemaker import errors
from support.image import Server, fail, place, read_json, succeed

from usecase import batch, config, features, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.predictions import Window, parquet
from usecase.problem import PREDICTION, VALUE
from workflows import batch as jobs
from workflows.jobs import PROCESSING, Settings
from workflows.names import Names

BUCKET = "bucket"
USE_CASE = config.load()
VERSION = {"MODEL_VERSION": "7"}
JUNE = {"DAYS_START": "2013-06-29", "DAYS_END": "2013-06-30"}
JUNE_30 = (pl.col("month") == 6) & (pl.col("day") == 30)


@pytest.fixture(scope="module")
def records(mart: Path, use_case: UseCase) -> pl.DataFrame:
    """What features.build makes of the data mart."""
    return features.build({name: tables.read(mart / name) for name in use_case.data.tables})


def transform(source: Path, destination: Path, server: Server) -> None:
    """What batch transform does: InputFilter $[2:], JoinSource Input, SplitType Line."""
    destination.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        lines = file.read_text().splitlines()
        status, _, answer = server.invoke("\n".join(line.split(",", 2)[2] for line in lines))
        assert status == 200
        joined = [f"{a},{b}\n" for a, b in zip(lines, answer.splitlines(), strict=True)]
        (destination / f"{file.name}.out").write_text("".join(joined))


@pytest.fixture
def score(tmp_path: Path, mart: Path, server: Server) -> Callable[..., Path]:
    """Lets the records of some days be scored; returns the folder with the results."""

    def run(**environment: str) -> Path:
        base = tmp_path / "select"
        place(mart, base / "processing" / "input")
        for path in (tmp_path / "broken").glob("*"):
            place(path, base / "processing" / "input" / path.name)
        succeed("select", base, **VERSION, **environment)
        selected = base / "processing" / "output"
        if read_json(selected / "selection" / "selection.json")["records"] == 0:
            return selected
        base = tmp_path / "collect"
        place(selected / "selection", base / "processing" / "input" / "selection")
        transform(selected / "records", base / "processing" / "input" / "transformed", server)
        succeed("collect", base, **VERSION)
        return base / "processing" / "output"

    return run


def results(folder: Path, name: str) -> dict[str, pl.DataFrame]:
    """The files of a table by their day."""
    files = sorted((folder / name).rglob("*.parquet"))
    assert {file.name for file in files} == {f"{name}.parquet"}
    return {file.parent.name.removeprefix("day="): pl.read_parquet(file) for file in files}


def test_each_day_has_its_predictions(
    score: Callable[..., Path], records: pl.DataFrame, use_case: UseCase, server: Server
) -> None:
    found = score(**JUNE)
    days = results(found, "predictions")
    assert list(days) == ["2013-06-29", "2013-06-30"]
    day = pl.col(use_case.data.time).dt.date()
    asked = records.filter(day == date(2013, 6, 30)).sort(use_case.data.time, use_case.data.id)
    table = days["2013-06-30"]
    assert table.columns == list(parquet.columns(use_case)["predictions"])
    own = {use_case.data.id: "inference_id", use_case.data.time: "time"}
    sent = asked.rename(own).with_columns(pl.col(use_case.features.numeric).cast(pl.Float64))
    same = [*own.values(), *use_case.features.names]
    assert table.select(same).equals(sent.select(same))
    # Flights that have not arrived are scored as well.
    assert asked[use_case.target.column].null_count() > 0
    # The very same answers as the server's.
    lines = asked.select(use_case.features.names).write_csv(include_header=False)
    answers = [line.split(",")[0] for line in server.invoke(lines)[2].splitlines()]
    assert table[PREDICTION].to_list() == [VALUE(answer) for answer in answers]
    assert table.select("row", "model_version").unique().rows() == [(0, 7)]
    assert {frame.height for frame in results(found, "rejected").values()} == {0}
    assert read_json(found / "report" / "report.json") == {
        "days": list(days),
        "predictions": sum(frame.height for frame in days.values()),
        "rejected": 0,
    }


def test_rejected_records_are_reported_one_by_one(
    score: Callable[..., Path], mart: Path, tmp_path: Path, use_case: UseCase
) -> None:
    june = tables.read(mart / "flights").filter(JUNE_30)
    nameless = june[5:6].with_columns(pl.lit(None, pl.String).alias("flight_id"))
    split = june[6:7].with_columns(
        pl.lit("one\ntwo").alias("dest"), pl.lit("with a line break").alias("flight_id")
    )
    endless = june[7:8].with_columns(
        pl.lit("endless").alias("flight_id"),
        pl.lit(float("inf")).alias("distance"),
    )
    broken = tmp_path / "broken" / "flights"
    broken.mkdir(parents=True)
    parts = [june[:1], june[1:2], nameless, split, endless]
    pl.concat(parts, how="vertical_relaxed").write_parquet(broken / "broken.parquet")
    found = score(**JUNE)
    (first, second) = results(found, "rejected").values()
    assert first.height == 0
    twice = f"{use_case.data.id}: 2 records have it"
    assert sorted(second.select("inference_id", "reason").rows(), key=str) == sorted(
        [
            *[(june["flight_id"][i], twice) for i in (0, 0, 1, 1)],
            (None, f"{use_case.data.id}: is empty"),
            ("with a line break", "dest: has a line break"),
            (
                "endless",
                'field distance: "inf" is not a number; leave it empty when it is not known',
            ),
        ],
        key=str,
    )
    scored = results(found, "predictions")["2013-06-30"]
    assert scored.height == june.height - 2
    report = read_json(found / "report" / "report.json")
    assert report["rejected"] == second.height == 7


def test_days_on_which_nothing_can_be_scored_are_replaced_too(
    score: Callable[..., Path], mart: Path, tmp_path: Path
) -> None:
    june = tables.read(mart / "flights").filter(JUNE_30)
    place(mart, tmp_path / "mart")
    (tmp_path / "broken" / "flights").mkdir(parents=True)
    june.write_parquet(tmp_path / "broken" / "flights" / "again.parquet")
    found = score(DAYS_START="2013-06-30", DAYS_END="2013-06-30")
    assert results(found, "predictions")["2013-06-30"].height == 0
    assert results(found, "rejected")["2013-06-30"].height == 2 * june.height
    report = read_json(found / "report" / "report.json")
    assert report == {"days": ["2013-06-30"], "predictions": 0, "rejected": 2 * june.height}


def test_nothing_new(score: Callable[..., Path]) -> None:
    found = score(DAYS_START="2013-07-01")
    assert read_json(found / "report" / "report.json")["days"] == []
    assert not (found / "records").exists()
    assert not (found / "predictions").exists()


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (None, None, ["2013-06-30"]),
        (date(2013, 6, 29), None, ["2013-06-29", "2013-06-30"]),
        (date(2013, 6, 29), date(2013, 6, 29), ["2013-06-29"]),
        (date(1999, 1, 1), date(2013, 1, 1), ["2013-01-01"]),
        (date(2013, 6, 30), date(2099, 1, 1), ["2013-06-30"]),
        (date(2013, 7, 1), None, []),
    ],
)
def test_days(
    records: pl.DataFrame,
    use_case: UseCase,
    start: date | None,
    end: date | None,
    days: list[str],
) -> None:
    found = batch.selection(records, use_case, start, end)
    assert [str(day) for day in found.days] == days
    times = found.records[use_case.data.time].str.head(10).unique().sort().to_list()
    assert times == days
    assert found.rejected.height == 0


def test_times_of_other_kinds(records: pl.DataFrame, use_case: UseCase) -> None:
    time = use_case.data.time
    last = datetime(2013, 6, 30, 23, 59, tzinfo=UTC).replace(tzinfo=None)
    few = records.sort(time)[-3:].with_columns(pl.lit(last).alias(time))
    tokyo = few.with_columns(
        pl.col(time).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    )
    for table in (few, tokyo):
        found = batch.selection(table, use_case, None, None)
        assert found.days == [date(2013, 6, 30)]
        assert found.records[time].unique().to_list() == ["2013-06-30T23:59:00.000000"]
    dates = batch.selection(few.with_columns(pl.col(time).dt.date()), use_case, None, None)
    assert dates.records[time].unique().to_list() == ["2013-06-30T00:00:00.000000"]


def test_a_record_without_a_time_is_reported_with_the_newest_day(
    records: pl.DataFrame, use_case: UseCase
) -> None:
    time = use_case.data.time
    lost = records.with_columns(pl.when(pl.int_range(pl.len()) > 0).then(time).alias(time))
    found = batch.selection(lost, use_case, None, None)
    assert found.rejected["reason"].to_list() == [f"{time}: is empty"]
    assert found.rejected[time].to_list() == [None]
    none = records.with_columns(pl.lit(None, pl.Datetime).alias(time))
    with pytest.raises(UseCaseError, match=f"{time}: is empty in all"):
        batch.selection(none, use_case, None, None)


def test_missing_numbers_are_sent_as_empty_fields(records: pl.DataFrame, use_case: UseCase) -> None:
    odd = records.with_columns(
        pl.lit(float("nan")).alias("distance"), (pl.col("hour") > 12).alias("hour")
    )
    found = batch.selection(odd, use_case, None, None).records
    assert found["distance"].null_count() == found.height
    assert set(found["hour"].unique()) == {0, 1}


def test_lines_are_spread_over_all_instances(
    mart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_case: UseCase
) -> None:
    place(mart, tmp_path / "processing" / "input")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(batch, "ROWS_PER_FILE", 20)
    batch.select(use_case)
    files = sorted((tmp_path / "processing" / "output" / "records").iterdir())
    lines = [file.read_text().splitlines() for file in files]
    assert len(files) > 1
    assert max(map(len, lines)) <= 20
    records = read_json(tmp_path / "processing" / "output" / "selection" / "selection.json")
    assert sum(map(len, lines)) == records["records"]


def test_what_cannot_be_selected(
    mart: Path, tmp_path: Path, records: pl.DataFrame, use_case: UseCase
) -> None:
    with pytest.raises(UseCaseError, match=r"features\.build returns no column 'hour'"):
        batch.selection(records.drop("hour"), use_case, None, None)
    place(mart, tmp_path / "processing" / "input")
    assert "START: 'noon' is not a day" in fail("select", tmp_path, DAYS_START="noon", **VERSION)


def test_answers_that_are_missing_or_of_another_form(
    mart: Path, tmp_path: Path, server: Server
) -> None:
    place(mart, tmp_path / "processing" / "input")
    succeed("select", tmp_path, **VERSION)
    selected = tmp_path / "processing" / "output"
    inputs = tmp_path / "processing" / "input"
    place(selected / "selection", inputs / "selection")
    transform(selected / "records", inputs / "transformed", server)
    (file,) = (inputs / "transformed").iterdir()
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[1:]) + "\n")
    expected = f"{len(lines)} records were sent, {len(lines) - 1} came back"
    assert expected in fail("collect", tmp_path, **VERSION)
    file.write_text("1,2\n")
    assert "part-00000.csv.out: its columns are not flight_id" in fail(
        "collect", tmp_path, **VERSION
    )


def test_predictions_are_read_by_the_time_of_the_record(
    score: Callable[..., Path], use_case: UseCase
) -> None:
    folder = score(**JUNE)
    read = parquet.read([folder], use_case)
    found = read.rows
    first: dict[str, Any] = found.row(0, named=True)
    assert (f"{first['time']:%Y-%m-%d}", str(first["time"].tzinfo)) == ("2013-06-29", "UTC")
    assert found["time"].is_sorted()
    assert found.columns == ["inference_id", "time", "row", "prediction"]
    assert read.features.schema == dict.fromkeys(use_case.features.names, pl.String())
    middle = first["time"].replace(day=30, hour=0, minute=0)
    parts = [
        parquet.read([folder], use_case, window).rows
        for window in (Window(end=middle), Window(start=middle))
    ]
    assert pl.concat(parts).equals(found)
    assert set(parts[1]["time"].dt.date()) == {date(2013, 6, 30)}
    empty = parquet.read([folder / "none"], use_case)
    assert (empty.read, empty.rows.schema) == (0, found.schema)
    assert empty.features.schema == read.features.schema


def test_days_of_another_version_may_have_other_features(
    score: Callable[..., Path], use_case: UseCase, tmp_path: Path
) -> None:
    folder = tmp_path / "predictions"
    place(score(**JUNE) / "predictions", folder)
    first, last = sorted(folder.rglob("*.parquet"))
    before = pl.read_parquet(first)
    other = before.drop("distance").with_columns(pl.lit(1.0).alias("weight"), model_version=2)
    other.write_parquet(first)
    time = pl.read_parquet(last)["time"].max()
    assert isinstance(time, datetime)
    end = time.replace(tzinfo=UTC)
    version = VERSION["MODEL_VERSION"]
    found = parquet.read([tmp_path], use_case, Window(version, end=end))
    assert set(found.rows["time"].dt.date()) == {date(2013, 6, 30)}
    where = found.others.group_by("where").len().sort("where")
    assert dict(where.iter_rows())["other_version"] == other.height
    assert "later" in where["where"]
    with pytest.raises(UseCaseError, match=f"{first.parent.name}/predictions.parquet has no"):
        parquet.read([tmp_path], use_case, Window("2"))


def test_predictions_that_cannot_be_judged(
    score: Callable[..., Path], use_case: UseCase, tmp_path: Path
) -> None:
    folder = tmp_path / "predictions"
    place(score(**JUNE) / "predictions", folder)
    first, last = sorted(folder.rglob("*.parquet"))
    answer = next(iter(use_case.target.answer))
    rows = pl.read_parquet(first)
    spoilt = pl.when(pl.int_range(pl.len()) > 3).then(pl.col(answer))
    rows.with_columns(spoilt.alias(answer)).write_parquet(first)
    found = parquet.read([tmp_path], use_case)
    assert found.dropped == {"unanswered": 4}
    assert found.read == found.rows.height
    assert found.others["where"].to_list() == ["dropped"] * 4
    last.write_text("no Parquet")
    with pytest.raises(UseCaseError, match=r"predictions: day=.* is not a Parquet file"):
        parquet.read([tmp_path], use_case)


def test_days_from_before_there_was_one_table_for_all_modes(
    score: Callable[..., Path], use_case: UseCase, tmp_path: Path
) -> None:
    place(score(**JUNE) / "predictions", tmp_path / "predictions")
    whole = parquet.read([tmp_path], use_case)
    first = min((tmp_path / "predictions").rglob("*.parquet"))
    own = {"inference_id": use_case.data.id, "time": use_case.data.time}
    pl.read_parquet(first).drop("row", "unexpected").rename(own).write_parquet(first)
    found = parquet.read([tmp_path], use_case, Window(VERSION["MODEL_VERSION"]))
    assert (found.rows.equals(whole.rows), found.features.equals(whole.features)) == (True, True)
    assert parquet.made([tmp_path], use_case).equals(whole.rows.select("inference_id", "time"))


def settings(*tables: str) -> Settings:
    """Where the jobs run; `tables` are those of today's usecase.toml."""
    data = replace(USE_CASE.data, tables=tables or USE_CASE.data.tables)
    use_case = replace(USE_CASE, data=data, mart={})
    role = "arn:aws:iam::123456789012:role/jobs"
    return Settings(use_case, Names(), "image-deployed", role, BUCKET, "commit")


def test_jobs_run_in_the_image_of_the_version_that_predicts() -> None:
    for job in (jobs.select(settings()), jobs.collect(settings())):
        assert job["AppSpecification"]["ImageUri"] == "@{result.BatchInputs.image}"
    transform = jobs.transform(settings())
    assert transform["ModelName"] == "@{result.BatchInputs.model}"
    # The id and the time come before the features.
    assert transform["DataProcessing"] == {"InputFilter": "$[2:]", "JoinSource": "Input"}
    # SageMaker's limit is 100 MB for all requests at a time; the container asks for 16 at most.
    assert transform["MaxPayloadInMB"] * 16 <= 100
    outputs = {
        output["OutputName"]: output["S3Output"]["S3Uri"]
        for output in jobs.collect(settings())["ProcessingOutputConfig"]["Outputs"]
    }
    assert outputs["predictions"] == f"s3://{BUCKET}/predictions"
    assert outputs["report"] == jobs.rejections(settings())["report"]
    # Also when there is nothing to transform and to collect.
    selected = jobs.select(settings())["ProcessingOutputConfig"]["Outputs"]
    assert outputs.items() <= {o["OutputName"]: o["S3Output"]["S3Uri"] for o in selected}.items()


def test_version_reads_the_tables_that_it_was_trained_with_and_not_todays() -> None:
    asked = jobs.select(settings())
    assert jobs.select(settings("flights", "a_table_of_the_next_version")) == asked
    (mart,) = asked["ProcessingInputs"]
    # Each table's folder is then where an input of the table's name would be.
    assert mart["S3Input"]["S3Uri"] == f"s3://{BUCKET}/mart/"
    assert mart["S3Input"]["LocalPath"] == f"{PROCESSING}/input"
    assert errors("sagemaker", "CreateProcessingJob", asked | {"ProcessingJobName": "select"}) == []


def test_other_files_of_the_data_mart_are_passed_over(mart: Path, tmp_path: Path) -> None:
    """A marker of the load, notes, and the tables of other versions."""
    found = []
    for name in ("tables alone", "with others"):
        place(mart, tmp_path / name / "processing" / "input")
        if name == "with others":
            inputs = tmp_path / name / "processing" / "input"
            (inputs / "LOADED").touch()
            (inputs / "README.txt").write_text("how it is loaded")
            (inputs / "another_table").mkdir()
            (inputs / "another_table" / "part.parquet").write_text("of another version")
        succeed("select", tmp_path / name, MODEL_VERSION="1")
        output = tmp_path / name / "processing" / "output"
        found.append(read_json(output / "selection" / "selection.json"))
    assert found[0] == found[1]
