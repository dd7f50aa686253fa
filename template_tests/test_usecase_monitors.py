"""The job that runs the monitors, and the table that says what there is to know of each."""

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.fake_sagemaker import errors, service
from support.image import plan, read_json, report, write_lines

from usecase import config, monitors
from usecase.monitors import MONITORS, Monitor, job, results
from workflows import jobs
from workflows.names import Names
from workflows.placeholders import fill

MODULES = {
    "broken": """
from usecase.errors import UseCaseError

def judge(subject, use_case):
    raise UseCaseError("the baseline has\\nno rows")
""",
    "odd": """
def judge(subject, use_case):
    return 1 / 0
""",
    "good": """
from usecase.monitors.job import Report
from usecase.monitors.results import Measurement

def judge(subject, use_case):
    found = {"metric_name": "DPL", "constraint_check_type": "bias_drift", "description": "Worse."}
    known = [
        Measurement("auc", "LessThanThreshold", 0.7, 0.6, 0.65, 0.75),
        Measurement("f1", "LessThanThreshold", 0.4, 0.5, violated=True, message="Low."),
    ]
    broken = {"metric_name": "f1", "constraint_check_type": "LessThanThreshold", "description": ""}
    return Report({}, {}, [found, broken], 3, {"late": 1}, ["Few."], "3 rows", known)
""",
}


def test_a_monitor_that_fails_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(monitors, "__path__", [*monitors.__path__, str(tmp_path)])
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    plan(tmp_path, *MODULES)
    job.run(config.load())
    assert report(tmp_path, "broken") == {"failure": {"reason": "the baseline has no rows"}}
    reason = "unexpected ZeroDivisionError: division by zero"
    assert report(tmp_path, "odd") == {"failure": {"reason": reason}}
    assert "in judge" in capsys.readouterr().err, "what nobody expected leaves its traceback"
    found = report(tmp_path, "good")
    files = {"statistics", "constraints", "constraint_violations", "coverage", "results"}
    assert found.keys() == files
    assert found["coverage"] == {
        "version": "1",
        "start": "2026-01-15T12:00:00+00:00",
        "end": "2026-01-15T12:30:00+00:00",
        "judged": 3,
        "dropped": {},
        "late": 1,
        "problems": ["Few."],
    }
    assert (tmp_path / "output" / "message").read_text() == (
        f"broken: Failed: the baseline has no rows odd: Failed: {reason} "
        "good: CompletedWithViolations: 2 violations: 3 rows. Few."
    )


START, END = datetime(2026, 1, 15, 12), datetime(2026, 1, 15, 12, 30)  # noqa: DTZ001  as Athena has it


def test_results_are_rows_of_one_table_each_window_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a monitor is; what has failed, or had nothing to judge, says so."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(monitors, "__path__", [*monitors.__path__, str(tmp_path)])
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    plan(tmp_path, *MODULES)
    file = tmp_path / "processing" / "input" / "plan" / "plan.json"
    asked = read_json(file)
    asked["empty"] = {"idle": asked["monitors"]["good"] | {"reason": "There are no labels."}}
    write_lines(file, [asked])
    job.run(config.load())
    folder = tmp_path / "processing" / "output" / "report" / "results"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}
    window = "1-20260115T120000Z-20260115T123000Z"
    monitor_names = [*MODULES, "idle"]
    assert files == {f"day=2026-01-15/{name}-{window}.parquet" for name in monitor_names}
    job.run(config.load())  # again replaces them
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")} == files
    table = pl.read_parquet(folder / "**" / "*.parquet", hive_partitioning=False)
    assert table.columns == [*results.COLUMNS]
    same = table.select("model_version", "window_start", "window_end", "execution").unique()
    assert same.rows() == [(1, START, END, "execution-1")]
    told = ("name", "kind", "value", "threshold", "low", "high", "violated", "message")
    rows = {
        name: table.filter(monitor=name).select(told).rows() for name in ("broken", "good", "idle")
    }
    nothing = (None, None, None, None, False)
    assert rows["broken"] == [(None, "failed", *nothing, "the baseline has no rows")]
    assert rows["idle"] == [(None, "nothing_to_judge", *nothing, "There are no labels.")]
    assert rows["good"] == [
        ("auc", "LessThanThreshold", 0.7, 0.6, 0.65, 0.75, False, ""),
        ("f1", "LessThanThreshold", 0.4, 0.5, None, None, True, "Low."),
        # Its monitor has not told what the value is.
        ("DPL", "bias_drift", None, None, None, None, True, "Worse."),
        (None, "judged", 3.0, None, None, None, False, "3 rows"),
        (None, "problem", *nothing, "Few."),
    ]


PACKAGE: Any = service("sagemaker").operation_model("CreateModelPackage").input_shape
MEMBERS = {name: PACKAGE.members[name].members for name in ("ModelMetrics", "DriftCheckBaselines")}


@pytest.mark.parametrize("registered", MEMBERS["DriftCheckBaselines"])
def test_the_table_holds_what_the_registry_does(
    registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baselines of several parts, before and after the training, fit too."""
    metrics, baselines = (
        {part: f"{part}.json" for part in MEMBERS[name][registered].members} for name in MEMBERS
    )
    trial = Monitor("trial", registered, ("Trial", "baseline"), metrics, baselines)
    settings = jobs.Settings(config.load(), Names(), "image", "arn:role", "bucket", "0" * 40)
    for table in (MONITORS, (trial,)):
        monkeypatch.setattr(jobs, "MONITORS", table)
        body = fill(jobs.register(settings), lambda name: f"s3://bucket/{name}", "".join)
        assert errors("sagemaker", "CreateModelPackage", body) == []
        assert body["DriftCheckBaselines"].keys() == {monitor.registered for monitor in table}
        for monitor in table:
            folder = f"s3://bucket/output.{'.'.join(monitor.written)}"
            for member, files in (
                ("ModelMetrics", monitor.metrics),
                ("DriftCheckBaselines", monitor.baselines),
            ):
                found = body[member][monitor.registered]
                uris = {part: source["S3Uri"] for part, source in found.items()}
                assert uris == {part: f"{folder}/{file}" for part, file in files.items()}
