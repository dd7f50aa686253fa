"""Thresholds for a model that is another one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from data_sets import data
from typer.testing import CliRunner, Result

from adopt import retune
from adopt.project import USE_CASE
from ops import OpsError
from usecase import config
from usecase.model import Model

Adopt = Callable[..., str]


@pytest.fixture
def adopted(run: Adopt, project: Path) -> Path:
    """A project that lives on a data set, with thresholds that fit no model."""
    run(data(), "--time", "ordered at")
    text = USE_CASE.read_text()
    for key in ("threshold", "decision_threshold"):
        text = "".join(
            f"{key} = 0.01      # mine\n" if line.startswith(f"{key} =") else line
            for line in text.splitlines(keepends=True)
        )
    USE_CASE.write_text(text)
    return project


def retuned(*arguments: str, answer: str = "") -> Result:
    """Run the command; what it raises is raised."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(retune.retune)
    result = CliRunner().invoke(app, [*arguments], input=answer)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.usefixtures("adopted")
def test_nothing_is_written_before_it_was_asked_for() -> None:
    before = USE_CASE.read_bytes()
    refused = retuned(answer="n\n")
    assert refused.exit_code == 1
    assert "approval.threshold" in refused.output
    assert "0.01" in refused.output
    with pytest.raises(OpsError, match=r"usecase.toml: was not written, .*; pass --yes"):
        retuned(answer="")
    assert USE_CASE.read_bytes() == before


@pytest.mark.usefixtures("adopted")
def test_thresholds_change_and_nothing_else() -> None:
    before, use_case = USE_CASE.read_text().splitlines(), config.load(USE_CASE)
    assert "Write them to usecase.toml?" in retuned(answer="y\n").output
    after, new = USE_CASE.read_text().splitlines(), config.load(USE_CASE)
    assert new.approval.threshold != use_case.approval.threshold
    assert new.approval.metric == use_case.approval.metric
    changed = [line for line in before if line not in after and not line.startswith("#")]
    assert 1 <= len(changed) <= 2
    assert all("= 0.01" in line for line in changed)
    kept = [line for line in after if line not in before and not line.startswith("#")]
    assert all(line.endswith("# mine") for line in kept)
    # What the threshold is said to follow from is the new fit.
    text = "\n".join(after)
    assert "A first fit" not in text
    assert f"# src/usecase/model.py reached {new.approval.metric} " in text
    # Again it is the same.
    assert "usecase.toml has them already" in retuned("--yes").output
    assert USE_CASE.read_text().splitlines() == after


@pytest.mark.usefixtures("adopted")
def test_the_thresholds_are_those_of_the_model_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    retuned("--yes")
    good = config.load(USE_CASE).approval
    predict = Model.predict

    def shuffled(self: Model, rows: Any) -> Any:
        return np.random.default_rng(0).permutation(predict(self, rows))

    monkeypatch.setattr(Model, "predict", shuffled)
    assert "next to nothing about the target" in retuned("--yes").output
    bad = config.load(USE_CASE).approval
    assert (bad.threshold < good.threshold) == good.higher_is_better


@pytest.mark.usefixtures("adopted")
def test_a_model_that_cannot_be_fitted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object) -> None:
        raise ZeroDivisionError("half done")

    monkeypatch.setattr(Model, "fit", fit)
    said = r"src/usecase/model.py: cannot be fitted \(ZeroDivisionError: half done\)"
    with pytest.raises(OpsError, match=said):
        retuned("--yes")
    monkeypatch.setitem(sys.modules, "usecase.model", None)
    with pytest.raises(OpsError, match=r"src/usecase/model.py: cannot be fitted"):
        retuned("--yes")


def test_a_project_without_its_data_is_told_how_to_get_it(adopted: Path) -> None:
    (adopted / "data" / "parts.json").unlink()
    with pytest.raises(OpsError, match=r"data/ has no data for my_data; .* with --data-only"):
        retuned()


@pytest.mark.usefixtures("adopted")
def test_a_key_that_is_not_there_is_added() -> None:
    before, key = USE_CASE.read_text(), "decision_threshold = "
    lines = before.splitlines(keepends=True)
    USE_CASE.write_text("".join(line for line in lines if not line.startswith(key)))
    retuned("--yes")
    assert (key in USE_CASE.read_text()) == (key in before)
    assert config.load(USE_CASE).approval.threshold != 0.01
