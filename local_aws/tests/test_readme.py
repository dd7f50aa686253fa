"""What the README says of operations is what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_aws.cli import catalogue
from local_aws.sagemaker.core.operations import DIFFERENCES, OPERATIONS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["README.md", "docs/mwaa.md"])
def test_its_tables_are_those_of_the_code(tmp_path: Path, page: str) -> None:
    now = (ROOT / page).read_text()
    written = tmp_path / Path(page).name
    written.write_text(now)
    catalogue.write(written)
    assert written.read_text() == now, "write it anew: make operations"


def test_every_operation_says_what_it_does() -> None:
    entries = [entry for found in catalogue.entries().values() for entry in found]
    assert {entry.name for entry in entries} > OPERATIONS.keys() | {"InvokeEndpoint"}
    assert [entry.name for entry in entries if not entry.does] == []
    assert DIFFERENCES.keys() <= OPERATIONS.keys()
    for text in [text for entry in entries for text in (entry.does, entry.differs)]:
        assert "|" not in text
        assert "\n" not in text
        assert not text.endswith(".")


def test_a_readme_without_marks_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="has no lines"):
        catalogue.write(readme)
    assert readme.read_text() == "nothing"
