"""The questions: their defaults work, and a bad answer is refused with the way to mend it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import matrix, template

COPIER = Path(sys.executable).with_name("copier")

REFUSED: list[tuple[str, Any, str]] = [
    ("project_name", " ", "Give the use case a name"),
    ("project_name", "x" * 61, "Shorten it to 60 characters; it has 61"),
    ("project_name", 'the "best"', "Leave out double quotes"),
    ("project_slug", "flight_delays", "lower-case letters, digits and single hyphens"),
    ("project_slug", "Flight-Delays", "for example: flight-delays"),
    ("project_slug", "flight--delays", "single hyphens"),
    ("project_slug", "2013-flights", "with a letter first"),
    ("project_slug", "flights-", "single hyphens"),
    ("project_slug", "flights\n", "single hyphens"),
    ("project_slug", "", "single hyphens"),
    ("project_slug", "f" * 33, "Shorten it to 32 characters, for example: flight-delays"),
    ("description", "", "Say in one sentence"),
    ("description", "x" * 201, "Shorten it to 200 characters; it has 201"),
    ("description", "one\ntwo", "line breaks"),
    ("description", "a\\b", "backslashes"),
    ("aws_region", "Tokyo", "Give the region's code, for example: ap-northeast-1"),
    ("aws_region", "ap-northeast-1a", "Give the region's code"),
    ("notification_email", "ml-team", "Give one address such as ml-team@example.com"),
    ("notification_email", "a@example.com, b@example.com", "Give one address"),
    ("problem_type", "clustering", "is not in \\['binary_classification', 'multiclass"),
    ("inference_mode", "carrier_pigeon", "is not in \\['realtime', 'batch'"),
    ("orchestrator", "cron", "is not in \\['sagemaker_pipelines'"),
    ("monitors", [], "Choose at least one monitor"),
    ("monitors", ["data_quality", "weather"], "'weather' is not in"),
    ("triggers", ["full_moon"], "'full_moon' is not in"),
]


@pytest.mark.parametrize(("question", "answer", "message"), REFUSED)
def test_bad_answer_is_refused(
    source: Path, tmp_path: Path, question: str, answer: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        template.render(source, tmp_path / "project", {question: answer})
    assert question in str(error.value)
    assert not (tmp_path / "project").exists()


def test_command_line_refuses_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [COPIER, "copy", "--defaults", "-d", "project_slug=a_b", source, tmp_path / "project"],
        capture_output=True,
        text=True,
        check=False,
        env=template.environment(),
    )
    assert result.returncode
    assert result.stderr.rstrip().endswith("with a letter first, for example: flight-delays")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("project_name", "slug"),
    [
        ("Flight delays", "flight-delays"),
        ("  2013: R&D's *churn*  ", "r-d-s-churn"),
        (
            "Demand forecasting for the northern distribution hub",
            "demand-forecasting-for-the-north",
        ),
        ("Predicting the monthly sales of a store", "predicting-the-monthly-sales-of"),
        ("架け橋", "ml-use-case"),
    ],
)
def test_slug_follows_from_the_name(
    source: Path, tmp_path: Path, project_name: str, slug: str
) -> None:
    project = template.render(source, tmp_path / "project", {"project_name": project_name})
    assert answers_of(project)["project_slug"] == slug


def test_every_question_has_help_and_a_default_that_is_valid(source: Path, tmp_path: Path) -> None:
    questions = matrix.questions()
    assert all(question["help"] and "default" in question for question in questions.values())
    answers = answers_of(template.render(source, tmp_path / "project", {}))
    asked = {
        name for name, q in questions.items() if matrix.is_asked(q.get("when", "True"), answers)
    }
    assert {key for key in answers if not key.startswith("_")} == asked


def test_command_line_needs_no_trust_and_records_its_origin(
    repository: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    answers = ["-d", "triggers=[drift]", "-d", "notification_email=ml-team@example.com"]
    template.run([COPIER, "copy", "--defaults", *answers, repository, project], tmp_path)
    found = answers_of(project)
    head = template.run(["git", "rev-parse", "HEAD"], repository)
    assert found["_src_path"] == str(repository)
    assert head.startswith(found["_commit"])
    assert found["triggers"] == ["drift"]
    assert found["notification_email"] == "ml-team@example.com"


@pytest.mark.wide
def test_relative_path_of_the_template_is_found_again(repository: Path, tmp_path: Path) -> None:
    project = tmp_path / "projects" / "late"
    template.run([COPIER, "copy", "--defaults", ".", project], repository)
    assert answers_of(project)["_src_path"] == str(repository)
    template.commit(project, "Start from Kakehashi")
    template.run([COPIER, "update", "--defaults", "-d", "triggers=[drift]"], project)
    assert answers_of(project)["_src_path"] == str(repository)
    assert answers_of(project)["triggers"] == ["drift"]


def test_template_runs_no_code() -> None:
    document = yaml.safe_load((template.ROOT / "copier.yml").read_text())
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & set(document)


def answers_of(project: Path) -> dict[str, Any]:
    """The answers that a project has recorded."""
    found: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return found
