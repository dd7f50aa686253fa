"""The contract tests of a project hold for what its usecase.toml says, whatever that is."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import matrix, template
from tests.conftest import Render

pytestmark = pytest.mark.slow

#: Features of an owner whose data mart has all that usecase.toml names.
FEATURES = '''"""The features: the data mart has them."""

from collections.abc import Mapping

import polars as pl


def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The records as they are."""
    return tables["records"]
'''
#: Keys of usecase.toml, and the values that they have here.
OTHER = {
    "tables": '["records"]',
    "id": '"number"',
    "time": '"begin"',
    "history_months": "3",
    "threshold": "0.229",
    "validation": "0.1",
    "numeric": '["size", "a long name"]',
    "categorical": '["kind"]',
}
#: The sections of usecase.toml that are about the sample alone.
SAMPLES = re.compile(r"^\[(mart|request|facets)\..*?(?=^\[)", re.MULTILINE | re.DOTALL)
Checked = Callable[[matrix.Answers, dict[str, str]], None]


@pytest.fixture
def checked(rendered: Render, environment: Callable[[Path], Path], tmp_path: Path) -> Checked:
    """Runs the contract tests of a project with other keys in usecase.toml; none is skipped."""

    def run(answers: matrix.Answers, keys: dict[str, str]) -> None:
        project = Path(shutil.copytree(rendered(answers), tmp_path / "project"))
        file = project / "usecase.toml"
        text = SAMPLES.sub("", file.read_text())
        for key, value in (OTHER | keys).items():
            text, number = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text, count=1)
            assert number == 1, key
        if "bias" in answers.get("monitors", ()):
            names = r"(?m)^(positive|positive_above|group_variable) = .*\n"
            text = f"{re.sub(names, '', text)}\n[facets.kind]\n"
        file.write_text(text)
        (project / "src" / "usecase" / "features.py").write_text(FEATURES)
        programs = environment(project)
        own = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": f"{project}/src:{project}",
        }
        said = template.run([programs / "pytest", "tests/test_contract.py"], project, own)
        assert "skipped" not in said

    return run


@pytest.mark.parametrize(
    ("framework", "number"), [("xgboost", 20), ("lightgbm", 2), ("scikit_learn", 4)]
)
def test_any_number_of_classes(checked: Checked, framework: str, number: int) -> None:
    names = [f"class {place}, really" for place in range(number)]
    weights = [1 + place / number for place in range(number)]
    answers = {"problem_type": "multiclass_classification", "framework": framework}
    checked(answers, {"classes": str(names), "decision_weights": str(weights)})


def test_any_threshold(checked: Checked) -> None:
    checked(matrix.OPPOSITES[0], {"decision_threshold": "0.229"})


def test_regression_in_batches(checked: Checked) -> None:
    checked(matrix.OPPOSITES[2], {"column": '"price"'})
