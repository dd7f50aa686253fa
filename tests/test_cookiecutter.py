"""Cookiecutter's door gives what Copier's gives, byte for byte, and refuses what it refuses."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.mark import ParameterSet
from pytest_cookies.plugin import Cookies

from tests import matrix, template
from tests.conftest import Render
from tests.test_questions import REFUSED
from tools import cookiecutter as door

COPIER = Path(sys.executable).with_name("copier")

ASKED = json.loads((template.ROOT / "cookiecutter.json").read_text())
ANSWERED = {name for name in ASKED if not name.startswith("_")}


def typed(answers: Mapping[str, Any]) -> dict[str, str]:
    """Answers as people type them for Cookiecutter; what it does not ask is left out.

    What a program gives it would render as Jinja, what people type it takes as it is.
    """
    return {
        name: f"[{', '.join(value)}]"
        if isinstance(value, list)
        else f"{{% raw %}}{value}{{% endraw %}}"
        if name in matrix.TEXTS[1]
        else value
        for name, value in answers.items()
        if name in ANSWERED
    }


def run(
    folder: Path,
    *arguments: str | Path,
    python: Path = Path(sys.executable),
    path: str = os.environ["PATH"],
    typed: str = "",
) -> subprocess.CompletedProcess[str]:
    """Call Cookiecutter in a folder, which is its home too."""
    own = {
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "PATH": path,
        "PWD": str(folder),
        "PYTHONPATH": str(Path(pytest.__file__).parents[1]),
    }
    return subprocess.run(
        [python, "-m", "cookiecutter", *arguments],
        cwd=folder,
        env=template.environment(own),
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def left(folder: Path) -> list[str]:
    """What is in a folder but for what Cookiecutter remembers in its home."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def test_questions_are_copiers() -> None:
    written = (template.ROOT / "cookiecutter.json").read_text()
    assert written == door.cookiecutter_json(), "copier.yml has changed: run `make questions`"
    asked = matrix.questions().keys() - {door.GROUPS}
    assert asked == ANSWERED == set(ASKED["__prompts__"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": "{{ project_name | regex_replace('a', 'b') }}"}, "No filter named"),
        ({"choices": {"One": "one"}, "default": "two"}, "must be one of its choices"),
    ],
)
def test_default_that_cookiecutter_cannot_render_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        door.variable("one", {"one": change, "project_name": {"default": ""}})


def test_help_that_cookiecutter_would_show_as_jinja_is_refused() -> None:
    with pytest.raises(ValueError, match="shows Jinja"):
        door.prompt({"help": "How is {{ project_name }} used?"})


def test_prompt_tells_when_a_conditional_question_counts() -> None:
    question = {"help": "When?", "when": "{{ inference_mode == 'batch' }}", "default": ""}
    assert door.prompt(question) == "When? (counts only if inference_mode == 'batch')"


def test_prompt_tells_that_a_question_of_a_group_may_be_left() -> None:
    question = {"help": "What?", "ask": "{{ 'training' in decide }}", "default": ""}
    assert door.prompt(question) == "What? (training; Enter keeps the default)"


@pytest.mark.wide
@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(
            answers, id=matrix.name(answers), marks=[] if few else [pytest.mark.exhaustive]
        )
        for few, answers in [
            *(
                (True, one | matrix.text(one, number))
                for number, one in enumerate(matrix.OPPOSITES)
            ),
            *((False, one) for one in matrix.levels()["pairs"]),
        ]
    ],
)
def test_project_is_copiers(
    cookies: Cookies, rendered: Render, source: Path, answers: matrix.Answers
) -> None:
    baked = cookies.bake(extra_context=typed(answers), template=str(source))
    assert baked.exception is None
    assert baked.project_path.name == answers.get("project_slug", "flight-delays")
    assert template.contents(baked.project_path) == template.contents(rendered(answers))


def once(rows: list[tuple[str, Any, str]]) -> Iterator[ParameterSet]:
    """The bad answers to what Cookiecutter asks; all but the first of each only in test-all."""
    seen: set[str] = set()
    for row in rows:
        if row[0] in ANSWERED:
            yield pytest.param(*row, marks=[pytest.mark.exhaustive] if row[0] in seen else [])
            seen.add(row[0])


@pytest.mark.wide
@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [*once([*REFUSED, ("project_slug", "../up/and/away", "single hyphens")])],
)
def test_bad_answer_is_refused(
    source: Path, tmp_path: Path, question: str, answer: Any, message: str
) -> None:
    given = typed({question: answer})[question]
    refused = run(tmp_path, "--no-input", source, f"{question}={given}")
    assert refused.returncode
    if isinstance(ASKED[question], list) and given not in ASKED[question]:
        message = f"{answer} provided for choice variable {question}"
    assert message.replace("\\", "") in refused.stderr
    assert left(tmp_path) == []


@pytest.mark.wide
@pytest.mark.parametrize(
    "answers",
    [
        {"traffic": "scheduled"},
        {"traffic": "intermittent", "max_payload_mb": "20"},
        {"traffic": "scheduled", "inference_mode": "realtime"},
    ],
)
def test_recommended_mode_is_copiers(
    cookies: Cookies, rendered: Render, source: Path, answers: matrix.Answers
) -> None:
    baked = cookies.bake(extra_context=typed(answers), template=str(source))
    assert baked.exception is None
    assert template.contents(baked.project_path) == template.contents(rendered(answers))


@pytest.mark.wide
def test_mode_that_cannot_work_is_refused(source: Path, tmp_path: Path) -> None:
    answers = ["inference_mode=realtime", "max_payload_mb=20"]
    refused = run(tmp_path, "--no-input", source, *answers)
    assert refused.returncode
    assert "takes requests of up to 6 MB, not 20: choose async" in refused.stderr
    assert left(tmp_path) == []


@pytest.mark.wide
def test_list_of_a_program_is_taken(cookies: Cookies, source: Path) -> None:
    answers = {"monitors": ["model_quality", "data_quality"], "triggers": ["drift", "schedule"]}
    baked = cookies.bake(extra_context=answers, template=str(source))
    recorded = yaml.safe_load((baked.project_path / ".copier-answers.yml").read_text())
    assert recorded["monitors"] == ["data_quality", "model_quality"]
    assert recorded["triggers"] == ["schedule", "drift"]


@pytest.mark.wide
def test_prompts_show_the_help_and_take_what_is_typed(source: Path, tmp_path: Path) -> None:
    answers = {
        "project_name": "Who's {{ leaving }}?",
        "problem_type": "3",
        "triggers": "drift",
        "traffic": "4",
        "max_payload_mb": "20",
    }
    lines = [answers.get(name, "") for name in ASKED if name in ANSWERED]
    shown = run(tmp_path, source, typed="\n".join([*lines, ""]))
    assert shown.returncode == 0, shown.stderr
    for name, question in matrix.questions().items():
        if name in ANSWERED:
            help_ = question["help"].replace(door.HINT, "")
            texts = [help_, *question.get("choices", {})]
            assert not [text for text in texts if plain(text) not in plain(shown.stdout)]
    recorded = yaml.safe_load((tmp_path / "who-s-leaving" / ".copier-answers.yml").read_text())
    assert recorded["project_name"] == "Who's {{ leaving }}?"
    assert recorded["problem_type"] == "regression"
    assert recorded["triggers"] == ["drift"]
    assert plain("1 - batch: recommended is batch transform") in plain(shown.stdout)
    assert recorded["inference_mode"] == "batch"
    assert "uv run poe local" in shown.stderr


def plain(text: str) -> str:
    """Text without the line breaks of a terminal."""
    return "".join(text.split())


@pytest.mark.wide
@pytest.mark.parametrize(
    ("name", "prefix", "checkout"),
    [("kakehashi.git", "", []), ("git/kakehashi", "git+", ["--checkout", "v0.1.0"])],
)
def test_origin_of_a_git_url_is_recorded(
    repository: Path, tmp_path: Path, name: str, prefix: str, checkout: list[str]
) -> None:
    origin = tmp_path / ".origin" / name
    template.run(["git", "clone", "--quiet", "--bare", repository, origin], tmp_path)
    template.run(["git", "tag", "v0.1.0"], origin)
    made = run(tmp_path, "--no-input", *checkout, f"file://{origin}", "triggers=[]")
    assert made.returncode == 0, made.stderr
    own = {"XDG_CACHE_HOME": str(tmp_path / ".cache")}
    options = ["--defaults", "--quiet", "-d", "triggers=[]", *(f"-r{ref}" for ref in checkout[1:])]
    url, copied = f"{prefix}file://{origin}", tmp_path / "copied"
    template.run([COPIER, "copy", *options, url, copied], tmp_path, own)
    assert template.contents(tmp_path / "flight-delays") == template.contents(copied)
    recorded = yaml.safe_load((copied / ".copier-answers.yml").read_text())
    assert (recorded["_src_path"], recorded["_commit"]) == (url, "v0.1.0")


@pytest.mark.wide
def test_project_can_be_updated_from_a_local_folder(repository: Path, tmp_path: Path) -> None:
    template.run(["git", "clone", "--quiet", repository, tmp_path / "kakehashi"], tmp_path)
    made = run(tmp_path, "--no-input", "kakehashi")
    assert made.returncode == 0, made.stderr
    project = tmp_path / "flight-delays"
    template.commit(project, "Start from Kakehashi")
    template.run([COPIER, "update", "--defaults", "-d", "triggers=[drift]", "."], project)
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert recorded["_src_path"] == str(tmp_path / "kakehashi")
    assert recorded["triggers"] == ["drift"]


@pytest.mark.wide
def test_question_newer_than_the_newest_release_is_named(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "kakehashi"
    template.run(["git", "clone", "--quiet", repository, clone], tmp_path)
    template.run(["git", "tag", "v0.1.0"], clone)
    asked = json.loads((clone / "cookiecutter.json").read_text())
    (clone / "cookiecutter.json").write_text(json.dumps({"latency": "high"} | asked))
    template.commit(clone, "Ask for the latency")
    refused = run(tmp_path, "--no-input", "kakehashi")
    assert refused.returncode
    assert "The newest release of the template does not ask for latency yet" in refused.stderr
    assert left(tmp_path) == ["kakehashi"]


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, Any]:
    """Python and PATH of a machine with Cookiecutter and git, but no Copier."""
    venv.create(tmp_path / ".env")
    programs = tmp_path / ".bin"
    programs.mkdir()
    (programs / "git").symlink_to(shutil.which("git") or "")
    return {"python": tmp_path / ".env" / "bin" / "python", "path": str(programs)}


@pytest.mark.wide
def test_missing_copier_is_named_and_answers_are_kept(
    bare: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    refused = run(tmp_path, "--no-input", source, "project_slug=churn", **bare)
    assert refused.returncode
    sentence = (
        "Copier 9.19.0 or newer writes the project, but there is none: install it (for example "
        f"pip install 'copier>=9.19.0'), then `cookiecutter --replay {source}` takes the same "
        "answers again."
    )
    assert sentence in refused.stderr.splitlines()
    assert left(tmp_path) == []
    Path(bare["path"], "copier").symlink_to(COPIER)
    made = run(tmp_path, "--replay", source, **bare)
    assert made.returncode == 0, made.stderr
    assert left(tmp_path) == ["churn"]


@pytest.mark.wide
def test_old_copier_is_named(bare: dict[str, Any], source: Path, tmp_path: Path) -> None:
    old = Path(bare["path"], "copier")
    old.write_text("#!/bin/sh\necho copier 9.4.1\n")
    old.chmod(0o755)
    refused = run(tmp_path, "--no-input", source, **bare)
    assert refused.returncode
    assert f"Copier 9.19.0 or newer writes the project, but {old} is 9.4.1: " in refused.stderr
    assert left(tmp_path) == []
