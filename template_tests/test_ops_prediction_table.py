"""The table of predictions from the command line: filtered, counted, written to files."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from moto import mock_aws
from rich.console import Console
from typer.testing import CliRunner

from ops import OpsError, aws, prediction_table
from ops import __main__ as command_line
from usecase import config
from usecase.predictions import parquet
from usecase.predictions.parquet import ID, ROW, TIME, VERSION
from workflows import keys, names

USE_CASE = config.load()
KINDS = parquet.columns(USE_CASE)[parquet.PREDICTIONS]
NUMBER, TEXT = USE_CASE.features.numeric[0], USE_CASE.features.strings[0]
DAY = date(2026, 1, 31)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A data bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(prediction_table, "console", Console(width=300, highlight=False))
    clients = (aws.s3, aws.account)
    for client in clients:
        client.cache_clear()
    with mock_aws():
        aws.s3().create_bucket(
            Bucket=aws.bucket(),
            CreateBucketConfiguration={"LocationConstraint": names.REGION},  # type: ignore[typeddict-item] # any region
        )
        yield
    for client in clients:
        client.cache_clear()


def keep(day: date, table: pl.DataFrame, file: str = "file") -> None:
    content = io.BytesIO()
    table.write_parquet(content)
    key = f"{keys.PREDICTIONS}{day:{parquet.DAY_FOLDER}}/{file}.parquet"
    aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=content.getvalue())


def predicted(day: date, *ids: str, version: int = 1) -> pl.DataFrame:
    """Predictions an hour apart, with numbers from 0 and texts from a; the last one has neither."""
    known = range(len(ids) - 1)
    columns = {
        ID: [*ids],
        ROW: [0] * len(ids),
        TIME: [datetime(day.year, day.month, day.day, hour) for hour in range(len(ids))],  # noqa: DTZ001 - as Parquet has it
        VERSION: [version] * len(ids),
        NUMBER: [*map(float, known), None],
        TEXT: [*map(chr, range(ord("a"), ord("a") + len(known))), None],
    }
    none = parquet.nothing(KINDS)
    return pl.concat([none, pl.DataFrame(columns, strict=False)], how="diagonal_relaxed")


def said(*arguments: str) -> str:
    result = CliRunner().invoke(command_line.app, ["predictions", *arguments])
    if result.exception:
        raise result.exception
    return result.output


def ids(file: Path) -> list[str]:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".jsonl": pl.read_ndjson,
    }
    return [*map(str, readers[file.suffix](file)[ID])]


@pytest.mark.usefixtures("bucket")
def test_the_newest_day_is_shown() -> None:
    assert "There are no predictions in the table." in said()
    keep(date(2026, 1, 30), predicted(date(2026, 1, 30), "older", "old"))
    keep(DAY, predicted(DAY, "first", "second"))
    told = said()
    assert "2 predictions, 2026-01-31." in told
    assert "2026-01-31T01:00:00Z" in told
    assert told.index("first") < told.index("second")
    assert "older" not in told
    assert "2 predictions, 2026-01-30." in said("--end", "2026-01-30")
    assert "There are no predictions in the table up to 2026-01-29." in said("--end", "2026-01-29")
    for more in ([], ["--end", "2026-02-28"]):
        with pytest.raises(OpsError, match="--start 2026-02-01: no prediction is as new"):
            said("--start", "2026-02-01", *more)
    with pytest.raises(OpsError, match="--start 2026-01-31: is after --end 2026-01-30"):
        said("--start", "2026-01-31", "--end", "2026-01-30")


@pytest.mark.usefixtures("bucket")
def test_predictions_that_are_not_collected_yet_are_told_of() -> None:
    """Where requests are captured: batches write the table themselves."""
    waiting = "What was captured since the monitors ran last is not in the table yet"
    assert (waiting in said()) == bool(keys.COLLECTED)
    keep(DAY, predicted(DAY, "a"))
    assert (waiting in said()) == bool(keys.COLLECTED)


@pytest.mark.usefixtures("bucket")
def test_they_are_counted_by_day_and_version() -> None:
    keep(date(2026, 1, 30), predicted(date(2026, 1, 30), "a", "b", "c"))
    keep(DAY, predicted(DAY, "d", "e"))
    keep(DAY, predicted(DAY, "f", version=2), "other")
    told = said("--start", "2026-01-30", "--count")
    assert "6 predictions, 2026-01-30 to 2026-01-31." in told
    rows = [line.split()[1::2] for line in told.splitlines() if "│ 2026" in line]
    assert rows == [["2026-01-30", "1", "3"], ["2026-01-31", "1", "2"], ["2026-01-31", "2", "1"]]


@pytest.mark.parametrize("suffix", prediction_table.WRITERS)
@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], ["a", "b", "c", "d"]),
        ([f"{NUMBER}=1"], ["b"]),
        ([f"{NUMBER}!=1"], ["a", "c"]),
        ([f"{NUMBER}>=1"], ["b", "c"]),
        ([f"{NUMBER}>0", f"{NUMBER}<2"], ["b"]),
        ([f"{TEXT}=c"], ["c"]),
        ([f"{TEXT}="], ["d"]),
        ([f"{TEXT}!="], ["a", "b", "c"]),
        ([f"{TIME}<2026-01-31T03:00:00+02:00"], ["a"]),
        ([f"{ID}=x=y"], []),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_what_matches_is_written(
    tmp_path: Path, suffix: str, conditions: list[str], expected: list[str]
) -> None:
    keep(DAY, predicted(DAY, "a", "b", "c", "d"))
    file = tmp_path / f"found{suffix}"
    options = [option for text in conditions for option in ("--where", text)]
    assert f"{len(expected)} predictions, 2026-01-31: {file}" in said(
        *options, "--output", str(file)
    )
    if expected or suffix == ".parquet":  # an empty text has no columns
        assert ids(file) == expected
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.usefixtures("bucket")
def test_a_file_has_all_columns_those_of_other_versions_too(tmp_path: Path) -> None:
    other = predicted(DAY, "b", version=2).drop(NUMBER)
    keep(DAY, predicted(DAY, "a"))
    keep(DAY, other.with_columns(pl.lit(1.5).alias("gone")), "other")
    said("--output", str(tmp_path / "found.jsonl"))
    lines = map(json.loads, (tmp_path / "found.jsonl").read_text().splitlines())
    first, second = sorted(lines, key=lambda line: line[VERSION])
    assert first.keys() == second.keys() == {*KINDS, "gone"}
    assert (first["gone"], second["gone"], second[NUMBER]) == (None, 1.5, None)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("nothing", "must be FIELD=VALUE"),
        ("carat=1", f"no column is called carat; there are {ID}"),
        (f"{NUMBER}=far", f"'far' is not a number, as {NUMBER} has"),
        (f"{VERSION}=1.5", "'1.5' is not a whole number"),
        (f"{TIME}>yesterday", "'yesterday' is not a time"),
        (f"{NUMBER}>", f"has nothing to compare {NUMBER} with"),
    ],
)
def test_wrong_conditions_are_refused(condition: str, message: str) -> None:
    with pytest.raises(OpsError, match=message):
        said("--where", condition)


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("precious")
    with pytest.raises(OpsError, match="is there already"):
        said("--output", str(file))
    assert file.read_text() == "precious"
    with pytest.raises(OpsError, match=r"must end in \.parquet or \.csv or \.jsonl"):
        said("--output", str(tmp_path / "found.xlsx"))


@pytest.mark.usefixtures("bucket")
def test_days_are_those_of_utc() -> None:
    keep(DAY, predicted(DAY, "a"))
    assert prediction_table.newest() == DAY
    ((key, written),) = prediction_table.files(DAY, DAY)
    assert key == "predictions/day=2026-01-31/file.parquet"
    assert (datetime.now(UTC) - written).total_seconds() < 600
