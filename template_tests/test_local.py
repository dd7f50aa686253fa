"""What leads to the tools beside this project, and its data; it goes when local/ goes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import sample_data, tools
from ops import OpsError

ROOT = Path(__file__).parents[1]


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
    (tmp_path / "adopt").mkdir()
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


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("_src_path: /gone/kit\n", "/gone/kit/local_aws is not here: bring the template back to"),
        ("_src_path: https://127.0.0.1:9/kit\n_commit: v1\n", "cannot be installed from git+https"),
        (None, ".copier-answers.yml is missing: run this in the project's root folder"),
    ],
    ids=["folder", "repository", "no answers"],
)
def test_life_without_its_template_ends_in_one_sentence(
    tmp_path: Path, answers: str | None, said: str
) -> None:
    (tmp_path / "usecase.toml").write_text((ROOT / "usecase.toml").read_text())
    if answers:
        (tmp_path / ".copier-answers.yml").write_text(answers)
    result = subprocess.run(
        [sys.executable, "-m", "local.lifecycle"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
