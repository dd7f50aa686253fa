"""The commands that people run, against moto's AWS."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from ops import __main__ as command_line
from ops import aws, local_aws, models, monitor, tables
from ops.errors import OpsError
from usecase import config
from workflows import names

USE_CASE = config.load(Path(__file__).parents[1] / "usecase.toml")
QUALITY: dict[str, Any] = {
    "version": 0.0,
    "dataset": {"item_count": 3},
    names.QUALITY_METRICS: {
        "score": {"value": 0.71, "standard_deviation": 0.01},
        "undefined": {"value": "NaN", "standard_deviation": "NaN"},
        "table": {"0": {"0": 1, "1": 1}},
    },
}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account with the data bucket in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    clients = (aws.s3, aws.sagemaker, aws.runtime, aws.account)
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


def test_a_sample_is_evenly_spread() -> None:
    rows = pl.DataFrame({"n": range(100)})
    assert tables.spread(rows, 4)["n"].to_list() == [0, 25, 50, 75]
    assert tables.spread(rows, 0).height == tables.spread(rows, 1000).height == 100


def test_a_missing_column_is_named() -> None:
    with pytest.raises(OpsError, match="missing columns: b; there are a"):
        tables.require(pl.DataFrame({"a": [1]}), ["a", "b"])


@pytest.mark.parametrize(("name", "content"), [("x.parquet", b"no"), ("x.csv", b"")])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(OpsError, match=name):
        tables.read_table(file)


def test_only_metrics_that_are_numbers_are_shown() -> None:
    assert models.scalars(QUALITY) == {"score": 0.71}


def test_the_comparison_shows_the_difference() -> None:
    table = models.comparison({"version 1": {"score": 0.7}, "version 2": {"score": 0.75}})
    cells = [list(column.cells) for column in table.columns]
    assert cells == [["score"], ["0.700"], ["0.750"], ["+0.050"]]


@pytest.mark.usefixtures("account")
def test_a_version_that_is_not_there_is_refused_with_those_that_are() -> None:
    aws.sagemaker().create_model_package_group(
        ModelPackageGroupName=names.MODEL_PACKAGE_GROUP,
        ModelPackageGroupDescription="versions",
    )
    with pytest.raises(OpsError, match="there is no version 7 in the registry; there are: none"):
        models.find(7)
    with pytest.raises(OpsError, match="no version awaits approval"):
        models.newest_pending()


@pytest.mark.usefixtures("account")
def test_the_report_of_a_monitor_is_read() -> None:
    name = names.MONITORS[0]
    key = f"monitoring/{name}/e1/constraint_violations.json"
    found = {
        "feature_name": "hour",
        "constraint_check_type": "baseline_drift_check",
        "description": "far",
    }
    body = json.dumps({"violations": [found]})
    aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=body.encode())
    expected = monitor.Violation("hour", "baseline_drift_check", "far")
    assert monitor.violations(name, "e1") == [expected]
    assert monitor.violations(name, "never run") is None


def test_waiting_ends_with_what_was_waited_for() -> None:
    with pytest.raises(OpsError, match="the answer: nothing after 0 s"):
        aws.wait_for("the answer", lambda: None, timeout=0, interval=0)


@pytest.mark.parametrize(
    ("template", "version", "expected"),
    [
        ("gh:org/kit", "1.2.0", "git+https://github.com/org/kit@1.2.0#subdirectory=local_aws"),
        ("gl:org/kit", "v1", "git+https://gitlab.com/org/kit@v1#subdirectory=local_aws"),
        (
            "git+https://host/kit.git",
            "1.2.0-3-gabcdef1",
            "git+https://host/kit.git@abcdef1#subdirectory=local_aws",
        ),
    ],
)
def test_the_local_aws_comes_from_where_the_template_came_from(
    template: str, version: str, expected: str
) -> None:
    assert local_aws.source(template, version) == expected


def test_the_local_aws_comes_from_the_templates_folder(tmp_path: Path) -> None:
    assert local_aws.source(str(tmp_path), "") == str(tmp_path / "local_aws")


def test_a_mistake_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "request.txt"
    file.write_text("1,2")
    monkeypatch.setattr("sys.argv", ["ops", "invoke", str(file)])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert str(ended.value) == f"error: {file}: its name must end in .csv or .json"
    assert capsys.readouterr().err == ""


def test_every_command_has_help() -> None:
    result = CliRunner().invoke(command_line.app, ["--help"])
    assert result.exit_code == 0
    for command in ("models", "endpoint", "invoke", "traffic", "monitor"):
        assert command in result.output


def test_captured_times_are_whole_seconds_in_utc() -> None:
    now = aws.utc_now()
    assert now.microsecond == 0
    assert datetime.now(UTC) - now < timedelta(seconds=5)
