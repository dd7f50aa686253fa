"""Cookiecutter's door: Copier writes the project, so both doors give the same and can be updated.

Cookiecutter renders this file with the answers and runs it in the project's new, empty folder. When
it fails, Cookiecutter removes the folder.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# Jinja's tojson leaves no apostrophe and no angle bracket in it.
COOKIECUTTER = json.loads(r"""{{ cookiecutter | tojson }}""")
GIVEN = json.loads(r"""{{ _cookiecutter | tojson }}""")

URL = re.compile(r"(git\+)?(git|ssh|file|https?)://|[\w.-]+@[\w.-]+:")
# What Copier takes for a git repository, see get_repo in its _vcs.py; all else is a path to it.
GIT = re.compile(r"git@|git://|git\+|https://git(hub|lab)\.com/|.*\.git$")
PROGRESS = re.compile(r"^.* (create|identical|overwrite|skip)\S* .*\n", re.MULTILINE)


def main() -> None:
    """Let Copier write the project, or end with one sentence that says why it did not."""
    command = [copier(), "copy", "--defaults"]
    if COOKIECUTTER["_checkout"]:
        command.append(f"--vcs-ref={COOKIECUTTER['_checkout']}")
    command += [f"--data={name}={answer}" for name, answer in answers().items()]
    template = source(COOKIECUTTER["_template"])
    Path(".gitkeep").unlink(missing_ok=True)
    done = subprocess.run(
        [*command, template, str(Path.cwd())], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(reason(done.stderr))
    require_every_answer()
    print(PROGRESS.split(done.stderr)[-1].strip(), file=sys.stderr)


def copier() -> str:
    """The Copier beside Cookiecutter, else the one on PATH."""
    wanted = COOKIECUTTER["_min_copier_version"]
    beside, found = str(Path(sys.executable).parent), []
    for folders in (beside, None):
        if command := shutil.which("copier", path=folders):
            version = metadata.version("copier") if folders else version_of(command)
            if numbers(version) >= numbers(wanted):
                return command
            found.append(f"{command} is {version}")
    sys.exit(
        f"Copier {wanted} or newer writes the project, but {'; '.join(found) or 'there is none'}: "
        f"install it (for example pip install 'copier>={wanted}'), then `cookiecutter --replay "
        f"{COOKIECUTTER['_template']}` takes the same answers again."
    )


def version_of(command: str) -> str:
    """The version that a Copier elsewhere has; asking it takes half a second."""
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return shown.stdout.strip().rpartition(" ")[2] or "broken"


def numbers(version: str) -> list[int]:
    """A version as something that can be compared."""
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def answers() -> dict[str, str]:
    """What was answered, as `copier copy --data` takes it."""
    asked = {name: value for name, value in COOKIECUTTER.items() if not name.startswith("_")}
    for name in COOKIECUTTER["_multiselect"]:
        # Cookiecutter takes a list that a program gives for choices, and the first for the answer.
        given = GIVEN.get(name)
        asked[name] = given if isinstance(given, list) else f"[{asked[name].strip('[] ')}]"
    for name in COOKIECUTTER["_recommended"]:
        asked[name] = asked[name].partition(":")[0]  # behind it the choice says why
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in asked.items()
    }


def source(template: str) -> str:
    """The template as Copier is to remember it, so that `copier update` finds it from anywhere."""
    if template.startswith(("gh:", "gl:")):
        return template
    if URL.match(template):
        return template if GIT.match(template) else f"git+{template}"
    if template.lower().endswith(".zip"):
        sys.exit("A project made from a zip file cannot be updated: give the repository's URL.")
    path = Path(template).expanduser()
    for base in bases():
        if (base / path / "copier.yml").is_file():
            return str((base / path).resolve())
    # An abbreviation from the user's settings, or the name of an earlier clone.
    clone = Path(COOKIECUTTER["_repo_dir"]).expanduser()
    origin = subprocess.run(
        ["git", "-C", clone, "remote", "get-url", "origin"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if not origin:
        sys.exit(f"Where is {template}? Give the template's URL or its absolute path.")
    return source(origin)


def bases() -> list[Path]:
    """Where a relative path may start: Cookiecutter does not say where it was called."""
    output = Path(COOKIECUTTER["_output_dir"])
    return [Path(os.environ.get("PWD", output)), output, *output.parents]


def reason(stderr: str) -> str:
    """The sentence with which Copier has refused, without its traceback."""
    if "Traceback" not in stderr:
        return stderr.strip()
    return re.split(r"^[\w.]+(?:Error|Exception): ", stderr, flags=re.MULTILINE)[-1].strip()


def require_every_answer() -> None:
    """End when Copier took a version that does not know a question which Cookiecutter asked."""
    recorded = Path(".copier-answers.yml").read_text(encoding="utf-8")
    expected = answers().keys() - set(COOKIECUTTER["_conditional"])
    if missing := [
        name for name in expected if not re.search(rf"^{name}:", recorded, re.MULTILINE)
    ]:
        sys.exit(
            f"The newest release of the template does not ask for {', '.join(missing)} yet: name "
            "the version that is to be taken, for example `cookiecutter --checkout main`."
        )


if __name__ == "__main__":
    main()
