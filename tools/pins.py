"""Pin what each pyproject.toml is tested with: `make pins`.

uv.lock would do the same but names the host that it was made from, and hosts differ. So the
versions that uv finds are written to `constraint-dependencies`, which uv obeys. What only one
answer brings to a generated project has its version where it is named, `"name==version"` on a line.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import copier

from tests import matrix

ROOT = Path(__file__).parents[1]
FILES = ("pyproject.toml", "local_aws/pyproject.toml", "template/pyproject.toml.jinja")
PINS = re.compile(r"^constraint-dependencies = \[.*?^\]", re.MULTILINE | re.DOTALL)
ONE_PIN = re.compile(r'(?m)^  "([a-z0-9-]+)==[^"]*",$')


def newest(text: str) -> list[str]:
    """The newest versions that fit together, for every Python and platform that is allowed.

    Args:
        text: A pyproject.toml.
    """
    with tempfile.TemporaryDirectory() as folder:
        unpinned = ONE_PIN.sub(r'  "\1",', PINS.sub("", text))
        Path(folder, "pyproject.toml").write_text(unpinned)
        command = ["uv", "export", "--quiet", "--upgrade", "--all-groups", "--no-emit-project"]
        plain = ["--no-hashes", "--no-annotate", "--no-header"]
        exported = subprocess.run(
            [*command, *plain], cwd=folder, check=True, text=True, stdout=subprocess.PIPE
        ).stdout
    return [re.sub(r" +", " ", line) for line in exported.splitlines()]


def rendered(file: Path) -> set[str]:
    """A pyproject.toml, or all that the template makes of it: with each answer once."""
    if file.suffix != ".jinja":
        return {file.read_text()}
    texts = set()
    for question, options in matrix.choices().items():
        for option in options:
            with tempfile.TemporaryDirectory() as folder:
                answers = {question: option}
                copier.run_copy(
                    str(ROOT), folder, answers, defaults=True, quiet=True, vcs_ref="HEAD"
                )
                texts.add(Path(folder, file.stem).read_text())
    return texts


def write(file: Path) -> int:
    """Replace the pins of a file; how many there are now."""
    unordered = {pin for text in rendered(file) for pin in newest(text)}
    found = sorted(unordered, key=lambda pin: pin.split("==", 1))
    before, after = split(file)
    at_their_place = set(ONE_PIN.findall(before + after))
    pins = [pin for pin in found if pin.partition("==")[0] not in at_their_place]
    versions = {pin.partition("==")[0]: pin for pin in found}
    before, after = (
        ONE_PIN.sub(lambda match: f'  "{versions[match[1]]}",', part) for part in (before, after)
    )
    block = "constraint-dependencies = [\n" + "".join(f'  "{pin}",\n' for pin in pins) + "]"
    file.write_text(before + block + after)
    return len(found)


def split(file: Path) -> tuple[str, str]:
    """What comes before the list of pins, and what comes after it."""
    text = file.read_text()
    lists = list(PINS.finditer(text))
    if len(lists) != 1:
        raise SystemExit(f"{file}: [tool.uv] needs one `constraint-dependencies = [` … `]`")
    start, end = lists[0].span()
    return text[:start], text[end:]


if __name__ == "__main__":
    for name in FILES:
        print(f"{name}: {write(ROOT / name)} pins")
