"""What leads to the tools beside this project, and its data; it goes when local/ goes."""

from pathlib import Path

import pytest

from local import sample_data, tools
from ops import OpsError


@pytest.mark.parametrize(
    ("template", "version", "expected"),
    [
        ("gh:org/kit", "1.2.0", "git+https://github.com/org/kit@1.2.0#subdirectory=local_aws"),
        ("gl:org/kit", "v1", "git+https://gitlab.com/org/kit@v1#subdirectory=local_aws"),
        (
            "git+https://host/kit.git",
            "1.2.0-3-gabcdef1",
            "git+https://host/kit.git@abcdef1#subdirectory=local_aws",
        ),
    ],
)
def test_a_tool_comes_from_where_the_template_came_from(
    template: str, version: str, expected: str
) -> None:
    assert tools.source("local_aws", template, version) == expected


def test_a_tool_comes_from_the_templates_folder(tmp_path: Path) -> None:
    assert tools.source("adopt", str(tmp_path), "") == str(tmp_path / "adopt")


def test_a_tool_is_asked_for_in_the_projects_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpsError, match="run this in the project's root folder"):
        tools.origin("adopt")


def test_data_that_is_not_there_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OpsError, match=r"data/ has no data for orders; bring it with `uv run poe"):
        sample_data.parts(("orders",))
    assert sample_data.parts(sample_data.TABLES).traffic == sample_data.TRAFFIC
    assert not list(tmp_path.iterdir())
