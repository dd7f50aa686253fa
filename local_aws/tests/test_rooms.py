"""The rooms of the package: no circle, the drawing as it is, and the patches of ministack."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local_aws.documentation import patches, rooms
from local_aws.documentation.__main__ import WRITTEN, write

DOCS = Path(__file__).parents[1] / "docs"

# Names of ministack that are changed while the local AWS is put together, those of one table
# together, and names that are new.
CHANGED = """
import importlib, json, sys
from pathlib import Path

from local_aws.host import internals
from local_aws.host.ministack import Ministack
from local_aws.images.images import Images
from local_aws.sagemaker.assembly import SageMaker
from local_aws.settings import Settings


def names():
    found = {}
    for module in [name for name in sys.modules if name.startswith("ministack.")]:
        for name, value in vars(sys.modules[module]).items():
            place = f"{module}.{name}".removeprefix("ministack.")
            if isinstance(value, type) and value.__module__ == module:
                found |= {f"{place}.{key}": item for key, item in vars(value).items()}
            found[place] = (id(value), dict(value)) if isinstance(value, dict) else value
    return found


def same(one, other):
    return one == other if isinstance(one, tuple) else one is other


settings = Settings(Path(sys.argv[1]), port=1, region="eu-west-1")
for module in internals.INTERNALS:
    importlib.import_module(module)
before = names()
ministack = Ministack(settings)
service = SageMaker(settings, lambda *_: None, Images(settings.data_dir))
ministack.connect(service)
after = names()
service.close()
tables = {}
for name in before:
    if not same(before[name], after.get(name)):
        value = before[name]
        tables.setdefault(value[0] if isinstance(value, tuple) else name, []).append(name)
print(json.dumps([list(tables.values()), [name for name in after if name not in before]]))
"""


@pytest.mark.parametrize("house", rooms.HOUSES)
def test_no_rooms_import_each_other_in_a_circle(house: str) -> None:
    imported = rooms.drawn(house)
    for height, floor in enumerate(rooms.floors(imported)):
        below = [name for lower in rooms.floors(imported)[:height] for name in lower]
        for name in floor:
            assert imported[name] <= set(below)


def test_a_circle_is_named() -> None:
    with pytest.raises(rooms.CircleError, match=r"(jobs <- hosting|hosting <- jobs)"):
        rooms.floors({"core": set(), "jobs": {"core", "hosting"}, "hosting": {"jobs"}})


def test_sagemaker_knows_nothing_of_what_hosts_it() -> None:
    below = rooms.drawn(rooms.PACKAGE)
    assert below["sagemaker"] == {"analyzer", "images", "settings"}
    assert below["images"] == {"settings"}
    assert below["analyzer"] == below["settings"] == set()
    assert below["cloudformation"] == {"sagemaker"}
    inside = rooms.drawn(f"{rooms.PACKAGE}.sagemaker")
    assert inside["core"] == set()


@pytest.mark.parametrize(
    "room", [name for name in rooms.drawn(rooms.PACKAGE) if name not in ("host", "documentation")]
)
def test_ministack_is_used_in_its_host_only(room: str) -> None:
    for name, path in rooms.modules().items():
        if rooms.room(rooms.PACKAGE, name) == room:
            assert not re.search(r"\bmodule\(\"|import_module\(.*ministack", path.read_text()), name


def test_an_import_of_any_form_counts() -> None:
    found = {(one.importer, one.imported) for one in rooms.imports()}
    package = rooms.PACKAGE
    # from … import name, from … import module, for types only, by name, and in a function.
    assert (f"{package}.cli.process", f"{package}.settings") in found
    assert (f"{package}.cli.process", f"{package}.images.containers") in found
    assert (f"{package}.sagemaker.core.kinds", f"{package}.sagemaker.core.events") in found
    assert (f"{package}.sagemaker.core.images", f"{package}.analyzer") in found
    assert (f"{package}.images.docker", f"{package}.images.ecr") in found


def test_every_module_with_operations_is_put_together() -> None:
    """An operation is there once its module is imported, and nothing else imports them all."""
    code = "import json, sys, local_aws.sagemaker.assembly; print(json.dumps(list(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    imported = set(json.loads(shown.stdout))
    with_operations = {
        name
        for name, path in rooms.modules().items()
        if name.startswith(f"{rooms.PACKAGE}.sagemaker.")
        and re.search(r"^(@operation\(|(resources\.)?declare\()", path.read_text(), re.MULTILINE)
    }
    assert len(with_operations) > 10
    assert with_operations <= imported


def test_the_documentation_is_current(tmp_path: Path) -> None:
    for name in WRITTEN:
        shutil.copy(DOCS / name, tmp_path)
    write(tmp_path)
    for name in WRITTEN:
        text = (DOCS / name).read_text()
        assert (tmp_path / name).read_text() == text, "write it anew: make operations"
        assert "mermaid" in text or "| lines |" in text


def test_documentation_without_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rooms.md").write_text("nothing")
    with pytest.raises(ValueError, match=r"rooms\.md has no lines"):
        write(tmp_path)
    assert (tmp_path / "rooms.md").read_text() == "nothing"


def test_all_that_is_changed_of_ministack_is_listed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHANGED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    changed, new = json.loads(done.stdout.splitlines()[-1])
    listed = {name for patch in patches.patches() for name in patch.changed}
    assert [names for names in changed if not listed & set(names)] == []
    assert listed <= {name for names in changed for name in names} | set(new)


def test_every_patch_says_what_it_follows() -> None:
    found = patches.patches()
    assert [patch.where for patch in found if not (patch.does and (patch.aws or patch.here))] == []
    assert [patch.lines for patch in found] == sorted(patch.lines for patch in found)
