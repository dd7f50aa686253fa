"""A release moves what is new in the changelog to its version; nothing half done is left."""

import shutil
from pathlib import Path

import pytest

from tests import template
from tools import release

CHANGELOG = """# Changelog

## Unreleased

- Serverless inference.

## 0.1.0 - 2026-01-31

- The first template.
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository to release, which is the current folder."""
    for name, value in template.environment().items():
        monkeypatch.setenv(name, value)  # who commits
    monkeypatch.chdir(tmp_path)
    for name in release.PROJECTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(template.ROOT / name, tmp_path / name)
    (tmp_path / release.CHANGELOG).write_text(CHANGELOG)
    template.run(["git", "init", "--quiet"], tmp_path)
    template.run(["git", "add", "--all"], tmp_path)
    template.run(["git", "commit", "--quiet", "--message", "Start"], tmp_path)
    return tmp_path


def test_release_is_tagged_with_its_notes(repository: Path) -> None:
    release.release("0.2.0")
    assert template.run(["git", "tag", "--points-at", "HEAD"], repository) == "v0.2.0\n"
    assert template.run(["git", "status", "--porcelain"], repository) == ""
    changelog = (repository / release.CHANGELOG).read_text()
    assert release.section(changelog, "0.2.0") == "- Serverless inference.\n"
    assert release.section(changelog, "0.1.0") == "- The first template.\n"
    for name in release.PROJECTS:
        assert (repository / name).read_text().count('version = "0.2.0"') == 1
    with pytest.raises(release.ReleaseError, match="nothing under `## Unreleased`"):
        release.release("0.3.0")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("v0.2.0", "three numbers such as 0.2.0, not 'v0.2.0'"),
        ("0.1.0", r"0.1.0 is not above 0.1.0, the last release"),
        ("0.0.9", r"0.0.9 is not above 0.1.0, the last release"),
    ],
)
def test_version_that_cannot_follow_is_refused(
    repository: Path, version: str, message: str
) -> None:
    with pytest.raises(release.ReleaseError, match=message):
        release.release(version)
    assert template.run(["git", "status", "--porcelain"], repository) == ""


def test_changes_that_are_not_committed_are_not_released(repository: Path) -> None:
    (repository / "new.py").touch()
    with pytest.raises(release.ReleaseError, match="commit your changes"):
        release.release("0.2.0")
    assert template.run(["git", "tag"], repository) == ""


def test_nothing_is_left_when_git_cannot_commit(repository: Path) -> None:
    hook = repository / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(release.ReleaseError, match="nothing is released"):
        release.release("0.2.0")
    assert template.run(["git", "status", "--porcelain"], repository) == ""
    template.run(["git", "tag", "v0.2.0"], repository)
    with pytest.raises(release.ReleaseError, match=r"v0\.2\.0 is there already"):
        release.release("0.2.0")
