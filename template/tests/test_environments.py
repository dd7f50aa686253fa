"""Environments: each has names of its own, so that several can be in one account."""

import json
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from support.templates import ACCOUNT, as_list, text

from infra.app import build, commit
from usecase.errors import UseCaseError
from workflows import names
from workflows.names import Names

PROJECT = "zzz-use-case"
"""A word that nothing but names has in it."""
STAGES = [Names(PROJECT, environment) for environment in ("", "dev", "prod")]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[Names, dict[str, Any]]:
    """The templates of each environment, by the name of their stack."""
    context = json.loads(Path("cdk.json").read_text())["context"]
    made = {}
    for stage in STAGES:
        app = App(context=context, outdir=str(tmp_path_factory.mktemp("cdk.out")))
        assembly = build(app, ACCOUNT, stage).synth()
        made[stage] = {stack.stack_name: stack.template for stack in assembly.stacks}
    return made


def properties(templates: dict[str, Any]) -> list[str]:
    """The properties of all resources, as texts."""
    found = [r["Properties"] for t in templates.values() for r in t["Resources"].values()]
    return [json.dumps(one, sort_keys=True) for one in found]


def test_every_name_is_that_of_its_environment(stages: dict[Names, dict[str, Any]]) -> None:
    single, *others = STAGES
    expected = sorted(properties(stages[single]))
    assert sorted(stages[single]) == sorted(single.stacks)
    for stage in others:
        found = properties(stages[stage])
        table = str.maketrans({"-": "[-_]"})
        project = PROJECT.translate(table)
        whole = rf"{project}(?![-_]{stage.environment}\b)"
        assert [one for one in found if re.search(whole, one)] == []
        replaced = [re.sub(f"({project})[-_]{stage.environment}", r"\1", one) for one in found]
        assert sorted(replaced) == expected
        assert sorted(stages[stage]) == sorted(stage.stacks)


def test_only_environment_has_the_names_of_the_project() -> None:
    single = Names(PROJECT)
    assert single.prefix == single.model_package_group == single.repository == PROJECT
    assert single.metric_namespace == PROJECT
    assert single.stacks[0] == f"{PROJECT}-base"
    assert single.workflows[:2] == (f"{PROJECT}-training", f"{PROJECT}-monitoring")
    assert single.bucket(ACCOUNT) == f"{PROJECT}-{ACCOUNT}-{names.REGION}"
    assert single.monitor_alarms("any_monitor")[0] == f"{PROJECT}-any-monitor-violations"


def statements(value: Any) -> Iterator[dict[str, Any]]:
    """The statements of all policies in a template."""
    if isinstance(value, dict):
        if "Effect" in value:
            yield value
        for part in value.values():
            yield from statements(part)
    elif isinstance(value, list):
        for part in value:
            yield from statements(part)


def grants(templates: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What policies speak of and has the project's name in it: a pattern, and the conditions."""
    found = []
    for statement in statements(templates):
        conditions = statement.get("Condition", {})
        sources = as_list(conditions.get("ArnLike", {}).get("aws:SourceArn", []))
        for value in (*as_list(statement.get("Resource", [])), *sources):
            pattern = text(value).split(f":{ACCOUNT}:")[-1].split(":::")[-1]
            if PROJECT in pattern:
                found.append((pattern, conditions))
    return found


@pytest.mark.parametrize(("one", "other"), [*permutations(STAGES, 2)])
def test_no_environment_may_touch_what_is_another_ones(
    stages: dict[Names, dict[str, Any]], one: Names, other: Names
) -> None:
    theirs = {
        pattern.replace("?", "0").replace("*", "1-20260131120000000")
        for pattern, _ in grants(stages[other])
    }
    assert f"model/{other.prefix}-1-20260131120000000" in theirs
    ours = {"aws:ResourceTag/project": one.prefix}
    covered = [
        (pattern, name)
        for pattern, conditions in grants(stages[one])
        if conditions.get("StringEqualsIfExists") != ours
        for name in theirs
        if fnmatchcase(name, pattern)
    ]
    assert covered == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ("Dev", r"environment 'Dev' \(USECASE_ENVIRONMENT\): take 1 to 8 lower-case letters"),
        ("pre-prod", "take 1 to 8"),
        ("production", "take 1 to 8"),
        ("dev\n", "take 1 to 8"),
        ("training", f"{PROJECT}-training is the name of a stack or workflow"),
    ],
)
def test_environment_that_cannot_be_part_of_names(environment: str, message: str) -> None:
    with pytest.raises(UseCaseError, match=message):
        Names(PROJECT, environment)


def test_project_with_a_long_name_leaves_less_room_for_the_environment() -> None:
    assert len(Names("a" * 28, "dev").prefix) == names.PREFIX_LENGTH
    with pytest.raises(UseCaseError, match="take 1 to 3 lower-case letters and digits"):
        Names("a" * 28, "prod")
    with pytest.raises(UseCaseError, match=r"leaves no room for it.*; unset USECASE_ENVIRONMENT"):
        Names("a" * 32, "d")


def test_environment_variable_chooses_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names.current() == Names()
    monkeypatch.setenv("USECASE_ENVIRONMENT", "dev")
    assert names.current() == Names(environment="dev")


def test_only_a_change_in_this_folder_makes_the_commit_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository may hold more than this project."""
    project = tmp_path / "project"
    project.mkdir()
    files = [tmp_path / "another", project / "ours"]
    for file in files:
        file.touch()
    monkeypatch.chdir(project)
    assert commit() == "unknown"
    who = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"]
    for command in (["init"], ["add", "."], ["commit", "--message", "First"]):
        assert commit() == "unknown"
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True, capture_output=True)
    head = commit()
    assert len(head) == 40
    files[0].write_text("changed")
    assert commit() == head
    files[1].write_text("changed")
    assert commit() == f"{head}-dirty"
