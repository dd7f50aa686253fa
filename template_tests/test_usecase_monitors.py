"""The job that runs the monitors, and the table that says what there is to know of each."""

from pathlib import Path
from typing import Any

import pytest
from support.fake_sagemaker import errors, service
from support.image import plan, report

from usecase import config, monitors
from usecase.monitors import MONITORS, Monitor, job
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

def judge(subject, use_case):
    return Report({}, {}, [], 3, {"late": 1}, ["Few."], "3 rows")
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
    assert found.keys() == {"statistics", "constraints", "constraint_violations", "coverage"}
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
        "good: Completed: 3 rows. Few."
    )


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
