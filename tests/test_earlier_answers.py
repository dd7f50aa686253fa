"""What earlier projects have answered is still a question, still valid, and stays answered so."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import matrix, template, versions
from tools import questionnaire

Document = questionnaire.Document

QUESTIONS = questionnaire.load()
LONGEST: matrix.Answers = {
    "project_name": "x" * 60,
    "project_slug": "a" * 32,
    "description": "x" * 200,
}


def earlier() -> dict[str, Document]:
    """The different questionnaires that projects were made with, by the commit they came with."""
    found: dict[str, Document] = {}
    first, *later = versions.landed()
    for version in (first, *versions.tags(), *later):
        document = questionnaire.load(partial(file_of, version))
        if document not in found.values():
            found[version] = document
    return found


def file_of(version: str, name: str) -> str:
    """The text of a file of a version."""
    return template.run(["git", "show", f"{version}:{name}"], template.ROOT)


def samples(questions: Document) -> Iterator[matrix.Answers]:
    """Answers to a questionnaire: texts, each choice by itself, and all the last ones together."""
    yield from (*matrix.TEXTS, LONGEST)
    last: matrix.Answers = {}  # which questions on a condition may need
    for name, question in questions.items():
        if not name.startswith("_") and "choices" in question:
            options = matrix.options(question)
            last[name] = next(
                value for value in reversed(options) if not matrix.is_refused(name, value, last)
            )
            yield from ({name: value} for value in options if value != question["default"])
    yield last


def answered(questions: Document, project: Path, answers: matrix.Answers) -> matrix.Answers:
    """What a project records of answers to a questionnaire, with its earlier ones if it has any."""
    template.render(template.stub(project.with_name("stub"), questions), project, answers)
    return versions.answers_of(project)


def lost(old: Document, new: Document, folder: Path) -> dict[str, tuple[Any, Any]]:
    """The answers that a project would lose from one questionnaire to another, before and after."""
    found: dict[str, tuple[Any, Any]] = {}
    for number, answers in enumerate(samples(old)):
        project = folder / f"{number}" / "project"
        before = answered(old, project, answers)
        after = answered(new, project, {})
        found |= {
            name: (answer, after.get(name))
            for name, answer in before.items()
            if after.get(name) != answer
        }
    return found


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(version, marks=[] if version in usual else [pytest.mark.exhaustive])
        for usual in [{versions.landed()[0], *versions.tags()}]
        for version in earlier()
    ],
)
def test_every_earlier_answer_stays(tmp_path: Path, version: str) -> None:
    assert not lost(earlier()[version], QUESTIONS, tmp_path)


@pytest.mark.wide
def test_changes_that_lose_an_answer_are_noticed(tmp_path: Path) -> None:
    changed = yaml.safe_dump(QUESTIONS, sort_keys=False)
    for old, new in {
        r"\bnotification_email\b": "email",
        r"\bregression\b": "numbers",
        r"\bdrift\b": "alarm",
        "length > 200": "length > 100",
    }.items():
        changed = re.sub(old, new, changed)
    names = {"notification_email", "problem_type", "triggers", "description"}
    assert lost(QUESTIONS, yaml.safe_load(changed), tmp_path).keys() == names
