"""A life that is killed at any stage can be lived again."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import conftest, life

STAGES = ["start", "deploy", "data", "train", "approve", "2013-07", "2013-09", "retrain"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Path]:
    project = conftest.make_project(repository, tmp_path_factory.mktemp("killed") / "project")
    try:
        yield project
    finally:
        life.end(project)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("stage_before", STAGES)
def test_killed_after(killed: Path, stage_before: str) -> None:
    life.kill_in(killed, stage_before, seconds=1.5)
    result = life.live(killed).result
    assert [version["version"] for version in result["model_versions"]] == [1, 2]
    assert result["serving_version"] == 2
    assert result["retraining"]["started_by"] == "drift"
    assert result["failed_predictions"] == 0


def test_what_is_killed_is_as_strict_as_what_is_lived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "import os, time; print('said', os.environ.get('LOCAL_AWS_IAM')); time.sleep(60)"
    monkeypatch.setattr(life, "COMMAND", (sys.executable, "-u", "-c", says))
    life.kill_in(tmp_path, "said", seconds=0)
    assert (tmp_path / ".local/killed.log").read_text() == "said enforce\n"
