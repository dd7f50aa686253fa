"""The template's earlier versions, and projects made from them that come up to date."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import copier
import yaml

from tests import template

QUESTIONS = "copier.yml"
SOURCES = (QUESTIONS, "frameworks", "modes", "questions", "template")


def landed() -> list[str]:
    """The commits of the main line that changed what is generated, oldest first.

    Earlier ones have no questions yet, so nothing can be made from them.
    """
    log = ["git", "log", "--first-parent", "--reverse", "--format=%h"]
    first = template.run([*log, "--diff-filter=A", "--", QUESTIONS], template.ROOT).split()
    if not first:
        raise AssertionError("updates start from earlier commits: fetch the whole history")
    later = template.run([*log, f"{first[0]}..", "--", *SOURCES], template.ROOT)
    return [first[0], *later.split()]


def tags() -> list[str]:
    """The tagged versions, oldest first."""
    return template.run(["git", "tag", "--sort=v:refname", "--merged"], template.ROOT).split()


def repository(folder: Path) -> Path:
    """A clone of this repository whose newest commit is the working tree."""
    template.run(["git", "clone", "--quiet", template.ROOT, folder], template.ROOT)
    template.run(["git", "rm", "-r", "--quiet", "."], folder)
    template.snapshot(folder)
    template.run(["git", "add", "--all"], folder)
    message = ["--allow-empty", "--message", "The working tree"]
    template.run(["git", "commit", "--quiet", *message], folder)
    return folder


class Versions:
    """Makes projects from versions of the template; each is rendered once.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self.repository = repository(folder / "kakehashi")
        self.folder = folder
        self.made: dict[str, Path] = {}

    def project(self, version: str, answers: Mapping[str, Any]) -> Path:
        """The project that a version makes of answers: to be read only."""
        key = f"{version} {sorted(answers.items())}"
        if key not in self.made:
            made = self.folder / f"{len(self.made)}"
            copier.run_copy(
                str(self.repository),
                made,
                dict(answers),
                defaults=True,
                quiet=True,
                vcs_ref=version,
            )
            self.made[key] = made
        return self.made[key]

    def committed(self, folder: Path, version: str, answers: Mapping[str, Any]) -> Path:
        """A copy of such a project that is a repository, as owners have it."""
        shutil.copytree(self.project(version, answers), folder)
        template.commit(folder, "Start from Kakehashi")
        return folder

    def newest(self, project: Path) -> Path:
        """What the newest version makes of the answers that a project has recorded."""
        return self.project("HEAD", answers_of(project))


def update(
    project: Path,
    answers: Mapping[str, Any] | None = None,
    conflict: Literal["inline", "rej"] = "inline",
) -> None:
    """Do what `copier update --defaults --vcs-ref=HEAD` does, without `--trust`."""
    copier.run_update(
        str(project),
        dict(answers or {}),
        conflict=conflict,
        defaults=True,
        overwrite=True,
        quiet=True,
        vcs_ref="HEAD",
    )


def answers_of(project: Path) -> dict[str, Any]:
    """The answers that a project has recorded."""
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return {name: answer for name, answer in recorded.items() if not name.startswith("_")}
