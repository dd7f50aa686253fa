"""Release a version: `make release VERSION=0.2.0`, and the notes of one from the changelog."""

import argparse
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

CHANGELOG = "CHANGELOG.md"
PROJECTS = ("pyproject.toml", "local_aws/pyproject.toml", "adopt/pyproject.toml")
VERSION = re.compile(r"\d+\.\d+\.\d+")
OWN = re.compile(r'^version = "(.+)"$', re.MULTILINE)


class ReleaseError(Exception):
    """Something that a person has to fix before a release."""


def section(changelog: str, title: str) -> str:
    """What the changelog has under a heading, such as `Unreleased` or `0.2.0`.

    Raises:
        ReleaseError: If it has no such heading, or nothing under it.
    """
    found = re.search(
        rf"^## {re.escape(title)}(?: - [^\n]*)?\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise ReleaseError(f"{CHANGELOG} has no heading `## {title}`")
    if not (text := found[1].strip()):
        raise ReleaseError(f"{CHANGELOG} has nothing under `## {title}`")
    return f"{text}\n"


def written(root: Path, version: str, day: str) -> dict[Path, str]:
    """The files that name a version, as they have to be: by their paths.

    Args:
        root: The repository.
        version: Three numbers, above those of the last release.
        day: Of the release, as 2026-12-01.

    Raises:
        ReleaseError: If the version is not above the last one, or nothing is to be released.
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"VERSION: give three numbers such as 0.2.0, not {version!r}")
    changelog = (root / CHANGELOG).read_text()
    section(changelog, "Unreleased")
    heading = "## Unreleased\n"
    files = {root / CHANGELOG: changelog.replace(heading, f"{heading}\n## {version} - {day}\n", 1)}
    for name in PROJECTS:
        text = (root / name).read_text()
        last = OWN.findall(text)[0]
        if numbers(version) <= numbers(last) and f"\n## {last} - " in changelog:
            raise ReleaseError(f"VERSION: {version} is not above {last}, the last release")
        files[root / name] = OWN.sub(f'version = "{version}"', text, count=1)
    return files


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare it by."""
    return tuple(int(number) for number in version.split("."))


def git(*arguments: str) -> str:
    """What Git prints."""
    command = ["git", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def release(version: str) -> None:
    """Write, commit and tag a version; nobody else sees it before it is pushed.

    Raises:
        ReleaseError: If there are changes that are not committed, `written` refuses, the tag is
            there, or Git cannot commit.
    """
    if git("status", "--porcelain"):
        raise ReleaseError("commit your changes first: the tag has to name all that is tested")
    files = written(Path(), version, f"{datetime.now(UTC):%Y-%m-%d}")
    if git("tag", "--list", f"v{version}"):
        raise ReleaseError(f"VERSION: the tag v{version} is there already")
    names = [str(file) for file in files]
    try:
        for file, text in files.items():
            file.write_text(text)
        git("commit", "--quiet", "--message", f"Release {version}", "--", *names)
    except subprocess.CalledProcessError:  # Git has said why
        git("checkout", "--quiet", "HEAD", "--", *names)
        raise ReleaseError("nothing is released") from None
    git("tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    print(f"Version {version} is tagged. Publish it: git push origin HEAD v{version}")


def main() -> None:
    """Run the command line; what a person can fix ends in one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("make", help="write, commit and tag").add_argument("version")
    commands.add_parser("notes", help="print what is new").add_argument("tag", help="v0.2.0")
    given = parser.parse_args()
    try:
        if given.command == "make":
            release(given.version)
        else:
            print(section(Path(CHANGELOG).read_text(), given.tag.removeprefix("v")), end="")
    except ReleaseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
