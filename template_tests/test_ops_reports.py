"""The report and the model card of a version from the command line."""

import json
import webbrowser
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from support.fake_sagemaker import ARN, BUCKET
from typer.testing import CliRunner

from ops import OpsError, aws, models, reports
from ops import __main__ as command_line
from ops.models import Version
from usecase import config
from usecase.page import interval, number

pytest_plugins = ["support.lambda_account"]

METRIC = config.load().approval.metric


def version(place: int, session: boto3.Session, evaluation: Path) -> Version:
    """A version, with what an evaluation has written; version 3 is older than reports are."""
    folder = f"training/execution{place}/evaluation"
    for name in ("report.html", "evaluation.json"):
        content = (evaluation / name).read_bytes()
        session.client("s3").put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=content)
    uri = f"s3://{BUCKET}/{folder}"
    return Version(
        arn=f"{ARN}:model-package/churn/{place}",
        number=place,
        approval="PendingManualApproval",
        created=datetime(2026, 1, 31, tzinfo=UTC),
        trigger="manual",
        metrics={},
        artifact="",
        test_data="",
        evaluation=uri,
        schema="",
        image="",
        commit="",
        properties={} if place == 3 else {"Report": f"{uri}/report.html"},
    )


@pytest.fixture(autouse=True)
def registry(
    session: boto3.Session, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry whose newest version is 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(aws, "s3", lambda: session.client("s3"))
    monkeypatch.setattr(models, "find", lambda place: version(place, session, evaluation))
    monkeypatch.setattr(models, "versions", lambda: [models.find(2), models.find(1)])


def ops(*arguments: str) -> str:
    """Run a command that has to succeed; what it says in one line."""
    result = CliRunner().invoke(command_line.app, ("models", *arguments))
    if result.exception:
        raise result.exception
    return " ".join(result.output.split())


def test_report_is_fetched_and_opened(
    evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert ops("report") == "The report of version 2 is in reports/version-2.html."
    assert not opened
    page = (evaluation / "report.html").read_text()
    named = (tmp_path / "reports" / "version-2.html").read_text()
    assert named == page.replace("<h1>", "<h1>Version 2. ")
    ops("report", "1", "--output", "one.html", "--open")
    assert opened == [(tmp_path / "one.html").as_uri()]


def test_version_without_a_report(
    session: boto3.Session, evaluation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("report", "card"):
        with pytest.raises(OpsError, match="version 3 has no report, it was evaluated before"):
            ops(command, "3")
    gone = version(1, session, evaluation)
    session.client("s3").delete_object(
        Bucket=BUCKET, Key="training/execution1/evaluation/report.html"
    )
    monkeypatch.setattr(models, "find", lambda _: gone)
    with pytest.raises(OpsError, match=r"version 1: its report s3://.*/report\.html is gone"):
        ops("report", "1")
    monkeypatch.setattr(models, "versions", list)
    with pytest.raises(OpsError, match="no version is registered yet: `uv run ops train`"):
        ops("report")


def test_model_card_is_drafted_and_not_overwritten_unasked(
    evaluation: Path, tmp_path: Path
) -> None:
    ops("card")
    card = tmp_path / "docs" / "model-card.md"
    text = card.read_text()
    assert text.startswith("# Model card: churn\n")
    found = json.loads((evaluation / "evaluation.json").read_text())
    entry = found["metrics"][METRIC]
    cells = [reports.plain(METRIC), number(entry["value"]), interval(entry)]
    assert f"| {' | '.join(cells)} |" in text
    assert text.count(reports.OWNERS) == 3
    for name in found["facets"]:
        assert f"### By {reports.plain(name)}" in text
    card.write_text("edited")
    with pytest.raises(OpsError, match=r"docs/model-card\.md: is there, and may be edited; pass"):
        ops("card")
    assert card.read_text() == "edited"
    ops("card", "--overwrite")
    assert card.read_text() == text


def test_data_is_no_markup_of_a_card() -> None:
    assert reports.plain("<b>|\n*x*") == r"\<b\>\| \*x\*"
