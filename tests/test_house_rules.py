"""Rules of this repository that a machine can check."""

import re
import tomllib
from pathlib import Path

import pytest

from tests import template

FILES = template.tracked()
TEXTS = {file: (template.ROOT / file).read_text() for file in FILES}
CODE = {".py", ".jinja", ".toml", ".yml", ".yaml", ".sh", ".md", ""}
MOST_LINES = 400

#: Words not to use, as patterns.
WORDS = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\btrue (label|value)s?\b": "label, or ground truth",
    r"\bturns? (a deployment|the model) back\b": "roll back",
    r"\bbrings? nothing\b": "no improvement",
    r"(?<!here )\bis no (category|feature|id|label|list|number|port|schema|time)\b": "is not a",
    r"environment_of_all": "target_env",
}

# Written so that this file does not hold what it forbids.
MACHINE = r"(?<![\w.])/(wor[k]|far[m]|roo[t]|hom[e])/[a-z.]+"
REGISTRY = r"pythonhoste[d]\.org|pypi\.or[g]/simple|registry\.npmj[s]|deb\.debia[n]\.org"
PLACEHOLDER = r"\b(TOD[O]|FIXM[E]|XX[X])\b|NotImplementedErro[r]|pytest\.mark\.xfai[l]"
MERGE_MARKER = r"^(<{7}|>{7}) "


@pytest.mark.parametrize("pattern", [MACHINE, REGISTRY, PLACEHOLDER, MERGE_MARKER])
def test_nothing_tracked_holds(pattern: str) -> None:
    found = [
        f"{file}:{number}: {line.strip()}"
        for file, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


def test_no_lock_file_is_tracked() -> None:
    locks = {"uv.lock", "package-lock.json", "poetry.lock", "pdm.lock", "yarn.lock"}
    assert not [file for file in FILES if file.name in locks]


def test_file_names_work_everywhere() -> None:
    assert not [file for file in FILES if re.search(r'["<>|?*:\\]', file.as_posix())]
    assert not [file for file in FILES if "{" in file.as_posix() and file.parts[0] == "template"]


def test_no_file_is_too_long() -> None:
    long = {
        str(file): lines
        for file, text in TEXTS.items()
        if file.suffix in CODE and (lines := len(text.splitlines())) > MOST_LINES
    }
    assert not long


def test_words_are_the_fields_own() -> None:
    """Words that a native engineer would not write, with those to write instead."""
    own = Path("tests/test_house_rules.py")
    found = [
        f"{file}:{number}: {word[0]}: write {better}"
        for file, text in TEXTS.items()
        if file != own
        for odd, better in WORDS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (word := re.search(odd, line, re.IGNORECASE))
    ]
    assert not found, "\n".join(found)


def test_only_templates_hold_jinja() -> None:
    found = [
        file
        for file, text in TEXTS.items()
        if file.parts[0] == "template"
        and file.suffix != ".jinja"
        # JSONata's expressions stand between the same brackets as Jinja's statements.
        and re.search(r"\{%-? *(if|el|end|for|set)|\{\{ \w", text)
    ]
    assert not found


def test_no_file_is_large() -> None:
    assert not [file for file in FILES if (template.ROOT / file).stat().st_size > 2**20]


def test_every_command_of_the_makefile_is_listed() -> None:
    makefile = (template.ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]  # it has one
    listed = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert phony == listed


def test_ci_runs_make_test() -> None:
    assert "make test" in (template.ROOT / ".ci/run").read_text()
    assert Path(template.ROOT / ".ci/run").stat().st_mode & 0o111


def test_every_release_is_in_the_changelog() -> None:
    changelog = (template.ROOT / "CHANGELOG.md").read_text()
    first, *releases = re.findall(r"^## (\S+)$", changelog, re.MULTILINE)
    tags = template.run(["git", "tag", "--merged"], template.ROOT).split()
    version = tomllib.loads((template.ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert first == "Unreleased"
    assert releases[:1] in ([], [f"v{version}"])
    assert set(tags) in (set(releases), set(releases[1:])), "the newest may be about to be tagged"
