"""`copier update` brings projects of every earlier version up to date and keeps what owners did."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from _pytest.mark import ParameterSet

from tests import matrix, template, versions
from tests.versions import Versions

pytestmark = pytest.mark.wide

FIRST, *LATER = versions.landed()
RELEASED = [FIRST, *versions.tags()]

# As owners edit: the model, a feature, the use case, a threshold, the README, a dependency, a step.
# Text and what replaces it; nothing is replaced at the end of a file, and by nothing a whole file.
EDITS: list[tuple[str, str, str | None]] = [
    ("src/usecase/model.py", "", "\n\ndef tuned() -> bool:\n    return True\n"),
    ("src/usecase/features.py", 'visibility="visib"', 'visibility="visib", wind="wind_speed"'),
    ("usecase.toml", "max_depth = 5\n", "max_depth = 7\n"),
    ("usecase.toml", "history_months = 6", "history_months = 5"),
    ("usecase.toml", "threshold = 0.60", "threshold = 0.65"),
    ("README.md", "# Flight delays\n", "# Flight delays of Haneda\n"),
    ("README.md", "", "\n## Who to ask\n\nThe team.\n"),
    # Not beside a package: those lines have changed in the template too, which poe check names.
    ("pyproject.toml", "dev = [\n", 'dev = [\n  "holidays",\n'),
    ("workflows/jobs.py", "", "\n\ndef report() -> str:\n    return 'report'\n"),
    ("workflows/report.py", "", '"""A step of our own."""\n'),
    ("docs/architecture.md", "", None),
]


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return Versions(tmp_path_factory.mktemp("versions"))


def edit(project: Path) -> None:
    """Do the edits."""
    for name, old, new in EDITS:
        file = project / name
        if new is None:
            file.unlink()
            continue
        text = file.read_text() if file.exists() else ""
        assert old in text, f"{name} has no {old!r}"
        file.write_text(text.replace(old, new, 1) if old else text + new)


def merged(project: Path) -> subprocess.CompletedProcess[str]:
    """Run what `poe check` runs first."""
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    tasks = pyproject["tool"]["poe"]["tasks"]
    assert tasks["check"]["sequence"][0] == {"ref": "merged"}
    return subprocess.run(
        [sys.executable, *tasks["merged"]["cmd"].split()[1:]],
        cwd=project,
        env=template.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "version", [*RELEASED, *(pytest.param(one, marks=pytest.mark.exhaustive) for one in LATER)]
)
def test_untouched_project_becomes_a_fresh_one(
    history: Versions, tmp_path: Path, version: str
) -> None:
    project = history.committed(tmp_path / "project", version, {})
    before = versions.answers_of(project)
    versions.update(project)
    assert versions.answers_of(project).items() >= before.items()
    assert template.contents(project) == template.contents(history.newest(project))
    assert merged(project).returncode == 0


@pytest.mark.parametrize("version", RELEASED)
def test_edits_stay_when_version_and_answers_change(
    history: Versions, tmp_path: Path, version: str
) -> None:
    project = history.committed(tmp_path / "project", version, {})
    edit(project)
    template.commit(project, "Our work")
    versions.update(project, {"monitors": ["model_quality"], "triggers": ["new_data"]})
    expected = history.committed(tmp_path / "expected", "HEAD", versions.answers_of(project))
    edit(expected)
    assert template.contents(project) == template.contents(expected)
    found = merged(project)
    assert found.returncode == 0, found.stdout


def changes() -> Iterator[ParameterSet]:
    """Answers other than the defaults: a few, and in test-all every two together."""
    for answers in matrix.OPPOSITES[1:]:
        yield pytest.param(answers, id=matrix.name(answers))
    for answers in [*matrix.levels()["fast"][1:], *matrix.levels()["pairs"]]:
        yield pytest.param(answers, id=matrix.name(answers), marks=pytest.mark.exhaustive)


@pytest.mark.parametrize("answers", [*changes()])
def test_changed_answer_makes_the_project_of_that_answer(
    history: Versions, tmp_path: Path, answers: matrix.Answers
) -> None:
    project = history.committed(tmp_path / "project", FIRST, {})
    versions.update(project, answers)
    recorded = versions.answers_of(project)
    assert all(recorded[name] == answers[name] for name in answers.keys() & recorded.keys())
    assert template.contents(project) == template.contents(history.newest(project))


@pytest.mark.exhaustive
@pytest.mark.parametrize("answers", matrix.OPPOSITES[1:], ids=matrix.name)
def test_changed_answer_can_be_changed_back(
    history: Versions, tmp_path: Path, answers: matrix.Answers
) -> None:
    start = history.project("HEAD", {})
    project = history.committed(tmp_path / "project", "HEAD", answers)
    versions.update(project, versions.answers_of(start))
    assert template.contents(project) == template.contents(start)


def test_payload_that_the_mode_cannot_take_is_refused(history: Versions, tmp_path: Path) -> None:
    project = history.committed(tmp_path / "project", "HEAD", {})
    before = template.contents(project)
    with pytest.raises(ValueError, match="takes requests of up to 6 MB, not 50: choose async"):
        versions.update(project, {"max_payload_mb": "50"})
    assert template.contents(project) == before
    versions.update(project, {"max_payload_mb": "50", "inference_mode": "batch"})
    assert versions.answers_of(project)["inference_mode"] == "batch"
    template.commit(project, "Predict in batches")
    before = template.contents(project)
    with pytest.raises(ValueError, match="not 50: choose async"):
        versions.update(project, {"inference_mode": "realtime"})
    assert template.contents(project) == before


@pytest.mark.parametrize(("conflict", "ignored"), [("inline", ""), ("rej", ""), ("rej", "*.rej\n")])
def test_conflict_where_both_changed_a_line_is_found(
    history: Versions, tmp_path: Path, conflict: Literal["inline", "rej"], ignored: str
) -> None:
    """In a project whose git ignores such files, too."""
    project = history.committed(tmp_path / "project", FIRST, {})
    with (project / ".gitignore").open("a") as file:
        file.write(ignored)
    use_case = project / "usecase.toml"
    use_case.write_text(use_case.read_text().replace('endpoint = "ml.m5', 'endpoint = "ml.c5'))
    template.commit(project, "A larger endpoint")
    versions.update(project, conflict=conflict)
    changed, fresh = template.contents(project), template.contents(history.newest(project))
    different = {name for name in changed if changed[name] != fresh.get(name)}
    left = {"usecase.toml.rej" if conflict == "rej" else "usecase.toml"}
    assert different == (left | {".gitignore"} if ignored else left)
    found = merged(project)
    assert found.returncode
    assert "usecase.toml" in found.stdout
    template.commit(project, "Not looked at")
    assert merged(project).returncode, "found as well when it has been committed"


def test_conflict_with_another_answer_is_where_both_changed_a_line(
    history: Versions, tmp_path: Path
) -> None:
    project = history.committed(tmp_path / "project", "HEAD", {})
    edit(project)
    sample = project / "tests" / "test_sample.py"
    sample.unlink()  # as `poe adopt` does
    template.commit(project, "Our work")
    before = (project / "usecase.toml").read_text()
    versions.update(project, {"problem_type": "regression"})
    assert not sample.exists()
    found = merged(project)
    assert {line.partition(":")[0] for line in found.stdout.splitlines()[1:]} == {"usecase.toml"}
    text = (project / "usecase.toml").read_text()
    yours, _, theirs = text.partition("<<<<<<< before updating\n")[2].partition("=======\n")
    assert "threshold = 0.65" in yours
    assert "threshold = 57.0" in theirs
    assert "max_depth = 7" in text.partition("<<<<<<<")[0]
    template.run(["git", "checkout", "--ours", "usecase.toml"], project)
    assert (project / "usecase.toml").read_text() == before
    assert merged(project).returncode == 0


def test_edits_in_a_file_that_the_template_removes_are_named(
    history: Versions, tmp_path: Path
) -> None:
    project = history.committed(tmp_path / "project", "HEAD", {})
    name = "src/usecase/monitors/model_quality.py"
    with (project / name).open("a") as file:
        file.write("\nOURS = True\n")
    template.commit(project, "Our work")
    versions.update(project, {"monitors": ["data_quality"]})
    found = merged(project)
    assert found.returncode
    assert found.stdout.count("\n") == 2
    command = found.stdout.rpartition(": ")[2]
    assert name in command
    assert "+OURS = True" in template.run(["sh", "-c", command], project)
    template.commit(project, "Looked at")
    assert merged(project).returncode == 0


def test_command_line_updates_without_trust(repository: Path, tmp_path: Path) -> None:
    project, given = tmp_path / "project", ["--defaults", "--quiet"]
    copier = Path(sys.executable).with_name("copier")
    template.run([copier, "copy", *given, repository, project], tmp_path)
    template.commit(project, "Start from Kakehashi")
    template.run(
        [copier, "update", *given, "-d", "triggers=[schedule]", "-r", ":current:", "."], project
    )
    assert versions.answers_of(project)["triggers"] == ["schedule"]
    assert "drift" not in (project / "infra" / "retraining.py").read_text()


def test_ci_comes_when_it_is_asked_for_and_replaces_none(history: Versions, tmp_path: Path) -> None:
    project = history.committed(tmp_path / "project", FIRST, {})
    workflow = project / ".github" / "workflows" / "ci.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("name: Ours\n")
    template.commit(project, "A CI of our own")
    versions.update(project)
    assert versions.answers_of(project)["ci"] == "none"
    assert workflow.read_text() == "name: Ours\n"
    assert [*workflow.parent.parent.rglob("*")] == [workflow.parent, workflow]
    template.commit(project, "Update from Kakehashi")
    versions.update(project, {"ci": "github"})
    yours, _, theirs = workflow.read_text().partition("=======\n")
    assert "name: Ours\n" in yours
    assert "uv run poe check" in theirs
    assert workflow.relative_to(project).as_posix() in merged(project).stdout
    assert (project / "infra" / "ci.py").exists()
