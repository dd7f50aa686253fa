"""Write down the versions that everything is tested with: `make pins`.

uv.lock would do the same but names the host that it was made from, and hosts differ. So what uv
finds to be newest goes into `constraint-dependencies` here and in local_aws, which uv obeys. A
generated project is not held to it: there, it goes into tested-versions.txt, of which the first
lock is made. Its lower bounds move only when something needs it, as each move is one more line for
owners to merge.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import copier

from tests import matrix

ROOT = Path(__file__).parents[1]
FILES = ("pyproject.toml", "local_aws/pyproject.toml")
TESTED = "template/tested-versions.txt.jinja"
PINS = re.compile(r"^constraint-dependencies = \[.*?^\]", re.MULTILINE | re.DOTALL)

Versions = dict[str, str]


def newest(text: str) -> list[str]:
    """The newest versions that fit together, for every Python and platform that is allowed.

    Args:
        text: A pyproject.toml.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(PINS.sub("", text))
        command = ["uv", "export", "--quiet", "--upgrade", "--all-groups", "--no-emit-project"]
        plain = ["--no-hashes", "--no-annotate", "--no-header"]
        exported = subprocess.run(
            [*command, *plain], cwd=folder, check=True, text=True, stdout=subprocess.PIPE
        ).stdout
    return [re.sub(r" +", " ", line) for line in exported.splitlines()]


def constrain(file: Path) -> int:
    """Replace the constraints of a pyproject.toml; how many there are now."""
    text = file.read_text()
    if len(PINS.findall(text)) != 1:
        raise SystemExit(f"{file}: [tool.uv] needs one `constraint-dependencies = [` … `]`")
    pins = sorted(newest(text), key=lambda pin: pin.split("==", 1))
    block = "constraint-dependencies = [\n" + "".join(f'  "{pin}",\n' for pin in pins) + "]"
    file.write_text(PINS.sub(lambda _: block, text))
    return len(pins)


def by_answer() -> dict[str, list[tuple[Any, Versions]]]:
    """The newest versions for a generated project: by question, for each answer to it alone."""
    known: dict[str, Versions] = {}
    found: dict[str, list[tuple[Any, Versions]]] = {}
    for question, options in matrix.choices().items():
        found[question] = []
        for option in options:
            with tempfile.TemporaryDirectory() as folder:
                answers = {question: option}
                copier.run_copy(
                    str(ROOT), folder, answers, defaults=True, quiet=True, vcs_ref="HEAD"
                )
                text = Path(folder, "pyproject.toml").read_text()
            if text not in known:
                known[text] = versions(newest(text))
            found[question].append((option, known[text]))
    return found


def versions(lines: list[str]) -> Versions:
    """The version of each package, of lines `name==version ; marker`.

    Raises:
        SystemExit: When a package has several, by platform: uv takes one for the first lock.
    """
    pairs = [line.partition(";")[0].strip().split("==") for line in lines]
    found = dict(pairs)
    if twice := [name for name, version in pairs if found[name] != version]:
        raise SystemExit(f"{twice[0]}: has several versions; which one was tested?")
    return found


def condition(package: str, found: dict[str, list[tuple[Any, Versions]]]) -> str:
    """The answers that bring a package, as Jinja; empty for one that is always there."""
    with_it = {
        question: [option for option, versions in options if package in versions]
        for question, options in found.items()
    }
    some = {
        question: asked(question, options)
        for question, options in with_it.items()
        if len(options) < len(found[question])
    }
    default = matrix.defaults()
    if all(default[question] in options for question, options in with_it.items()):
        return " and ".join(some.values())
    return " or ".join(text for question, text in some.items() if with_it[question])


def asked(question: str, options: list[Any]) -> str:
    """Whether a question was answered with one of some options, as Jinja.

    Of a question with several choices one alone may bring a package, whatever the others are.
    """
    known = matrix.questions()[question]
    for choice in matrix.offered(known) if known.get("multiselect") else ():
        if options == [option for option in matrix.choices()[question] if choice in option]:
            return f"'{choice}' in {question}"
    return f"{question} in {options}"


def tested(found: dict[str, list[tuple[Any, Versions]]]) -> str:
    """The text of tested-versions.txt.jinja.

    Raises:
        SystemExit: When another answer gives a package another version.
    """
    every: Versions = {}
    for _, each in (pair for options in found.values() for pair in options):
        for name, version in each.items():
            if every.setdefault(name, version) != version:
                raise SystemExit(f"{name}: is {version} or {every[name]}, as answers differ")
    text = ""
    for name in sorted(every):
        line = f"{name}=={every[name]}\n"
        wanted = condition(name, found)
        text += f"{{% if {wanted} -%}}\n{line}{{% endif -%}}\n" if wanted else line
    return text


if __name__ == "__main__":
    for file in FILES:
        print(f"{file}: {constrain(ROOT / file)} pins")
    (ROOT / TESTED).write_text(tested(by_answer()))
    print(f"{TESTED}: written")
