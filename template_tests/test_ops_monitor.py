"""The last windows on the terminal, and the report of a run: a page for any browser."""

import json
import webbrowser
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from rich.console import Console
from support.fake_sagemaker import BUCKET, FakeSageMaker
from support.page import Page
from typer.testing import CliRunner

from ops import OpsError, aws, monitor
from ops import __main__ as command_line
from ops.monitor_history import sparkline
from usecase.monitors import MONITORS, results
from usecase.monitors.results import Measurement
from usecase.predictions import Window

pytest_plugins = ["support.lambda_account"]

MONITOR = MONITORS[0].name
HOSTILE = "</td><script>alert(1)</script>&amp;"
FIRST = datetime(2026, 1, 31, tzinfo=UTC)
AUC = (0.75, 0.625, 0.5)
"""What was measured in each of three windows."""


def put(key: str, content: bytes) -> None:
    aws.s3().put_object(Bucket=BUCKET, Key=key, Body=content)


def feature(name: str, values: list[float]) -> dict[str, Any]:
    """The statistics of a number."""
    sketch = {"data": [values]}
    return {"name": name, "numerical_statistics": {"distribution": {"kll": {"sketch": sketch}}}}


def category(name: str, **counts: int) -> dict[str, Any]:
    """The statistics of a category."""
    buckets = [{"value": value, "count": count} for value, count in counts.items()]
    common = {"num_present": sum(counts.values()), "num_missing": 0}
    distribution = {"categorical": {"buckets": buckets}}
    return {"name": name, "string_statistics": {"common": common, "distribution": distribution}}


@pytest.fixture(autouse=True)
def windows(
    session: boto3.Session, sagemaker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three windows of version 3, of which the last one has violations."""
    monkeypatch.chdir(tmp_path)
    # As wide as the table, whatever terminal the tests are started from.
    monkeypatch.setattr(monitor, "console", Console(width=200, height=25, color_system=None))
    monkeypatch.setattr(aws, "s3", lambda: session.client("s3"))
    monkeypatch.setattr(aws, "sagemaker", lambda: session.client("sagemaker"))
    monkeypatch.setattr(aws, "bucket", lambda: BUCKET)
    monkeypatch.setattr(aws, "account", lambda: "123456789012")
    known: FakeSageMaker = sagemaker
    package = known.packages[known.add_package(3)]
    uri = f"s3://{BUCKET}/baseline/statistics.json"
    package["DriftCheckBaselines"][MONITORS[0].registered] = {"Statistics": {"S3Uri": uri}}
    before = [feature("distance", [1.0, 2.0, 3.0]), category(HOSTILE, a=50, b=50)]
    put("baseline/statistics.json", json.dumps({"features": before}).encode())
    for place, value in enumerate(AUC):
        start = FIRST + timedelta(days=place)
        window = Window("3", start, start + timedelta(days=1))
        broken = value < 0.6
        found = [
            Measurement("auc", "LessThanThreshold", value, 0.6, value - 0.1, value + 0.1, broken),
            Measurement(HOSTILE, "range_check", None, None, violated=broken, message="Too far."),
            Measurement("hour", "completeness_check", 1.0, 1.0),
            Measurement(None, results.JUDGED, 90.0 + place),
        ]
        run = f"run{place}"
        results.write(tmp_path / "table", MONITOR, window, run, found)
        now = [feature("distance", [3.0, 4.0, 5.0]), category(HOSTILE, a=90, c=10)]
        documents = {
            "coverage": {
                "version": "3",
                "start": start.isoformat(),
                "end": (start + timedelta(days=1)).isoformat(),
                "judged": 90 + place,
                "problems": ["Half of the rows are lost."],
            },
            "results": {"results": [asdict(each) for each in found]},
            "statistics": {"features": now},
            "constraint_violations": {"violations": [{}] * (2 * broken)},
        }
        for name, document in documents.items():
            put(f"monitoring/{MONITOR}/{run}/{name}.json", json.dumps(document).encode())
    for file in (tmp_path / "table").rglob("*.parquet"):
        put(f"monitoring/results/{file.relative_to(tmp_path / 'table')}", file.read_bytes())


def ops(*arguments: str) -> str:
    """Run a command that has to succeed; what it prints."""
    result = CliRunner().invoke(command_line.app, ("monitor", "--last", *arguments))
    if result.exception:
        raise result.exception
    return result.output


def test_the_last_windows_are_lines_with_their_course() -> None:
    lines = {line.split("│")[3].strip(): line for line in ops().splitlines() if "│" in line}
    auc = [cell.strip() for cell in lines["auc"].split("│")[1:-1]]
    assert auc == [MONITOR, "3", "auc", "LessThanThreshold", "0.5", "0.6", "1 of 3", "█▅▁"]
    assert "hour" not in lines, "it has always been 1"
    assert "Not shown: 1 that have always measured 0, or always 1" in ops()
    assert "which ended from 2026-02-01T00:00:00Z to 2026-02-03T00:00:00Z" in ops()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 2.0, 3.0], "▁▅█"), ([0.0, None, 7.0], "▁·█"), ([2.0, 2.0], "▁▁"), ([None], "·")],
)
def test_sparkline(values: list[float | None], expected: str) -> None:
    assert sparkline(values) == expected


def test_the_page_of_the_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert "The report is in reports/monitoring-run2.html." in ops("--open")
    file = tmp_path / "reports" / "monitoring-run2.html"
    assert opened == [file.as_uri()]
    shown = Page(file.read_text())
    told = f"{MONITOR}: 2026-02-02T00:00:00Z to 2026-02-03T00:00:00Z, 92 predictions judged, 2"
    assert told in shown.text
    # What was found, with the value, the limit and the interval; data is no markup.
    limits = ["0.5000", "0.6000", "0.4000 to 0.6000"]
    assert [MONITOR, "auc", "LessThanThreshold", *limits, ""] in shown.rows
    assert [MONITOR, HOSTILE, "range_check", "", "", "", "Too far."] in shown.rows
    assert "Half of the rows are lost." in shown.text
    assert ["auc", "LessThanThreshold", *limits, ""] in shown.rows
    # From window to window: of what has changed alone.
    assert "auc: LessThanThreshold" in shown.text
    assert "hour: completeness_check" not in shown.text
    # Beside the training data.
    assert ["a", "90.0%", "50.0%", "+40.0%"] in shown.rows
    assert ["b", "0.0%", "50.0%", "-50.0%"] in shown.rows
    assert ["c", "10.0%", "0.0%", "+10.0%"] in shown.rows
    assert "Distributions of numbers" in shown.text


def test_the_page_of_an_earlier_run_knows_nothing_of_later_ones(tmp_path: Path) -> None:
    ops("--execution", "run1")
    shown = Page((tmp_path / "reports" / "monitoring-run1.html").read_text())
    assert "0 violations" in shown.text
    assert "Nothing was found." in shown.text
    assert "0.5000" not in shown.text


def test_training_data_that_is_gone_is_told(tmp_path: Path) -> None:
    aws.s3().delete_object(Bucket=BUCKET, Key="baseline/statistics.json")
    ops("--execution", "run2")
    shown = Page((tmp_path / "reports" / "monitoring-run2.html").read_text())
    assert "The training data of this version cannot be read" in shown.text


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(OpsError, match="never: there is no report of such a run"):
        ops("--execution", "never")
    with pytest.raises(OpsError, match="--start and --end are of a run"):
        ops("--start", "2026-01-31")
    result = CliRunner().invoke(command_line.app, ("monitor", "--execution", "run1"))
    assert "add --last" in str(result.exception)


def test_before_the_first_run(session: boto3.Session) -> None:
    s3 = session.client("s3")
    for key in [*aws.keys("monitoring/")]:
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert "No window is in the table monitor_results yet." in ops()
    with pytest.raises(OpsError, match="no run is in the table monitor_results yet"):
        ops("--open")


def test_files_that_lack_a_column_are_read(tmp_path: Path) -> None:
    (key, *_) = aws.keys("monitoring/results/")
    older = pl.read_parquet(aws.read(key)).drop("message")
    older.write_parquet(tmp_path / "older.parquet")
    put(key, (tmp_path / "older.parquet").read_bytes())
    assert "█▅▁" in ops()
