"""KernelSHAP against the package shap, and where it has to be exact."""

import importlib

import numpy as np
import polars as pl
import pytest

from usecase import kernel_shap
from usecase.kernel_shap import Values


def table(rows: int, features: int, seed: int) -> pl.DataFrame:
    values = np.random.default_rng(seed).normal(size=(rows, features))
    return pl.DataFrame(values, schema=[f"x{place}" for place in range(features)])


def curved(rows: pl.DataFrame) -> Values:
    """A score in which features work together, shape (rows,)."""
    x = rows.to_numpy()
    together = x[:, 0] * x[:, 1] * x[:, 2] + np.abs(x[:, 2]) * x[:, -1]
    return np.asarray(together + np.sin(x).sum(axis=1))


def both(rows: pl.DataFrame) -> Values:
    """The scores of two classes, shape (rows, 2)."""
    return np.stack([curved(rows), -2 * curved(rows)], axis=1)


def test_all_coalitions_give_what_the_package_shap_gives() -> None:
    shap = importlib.import_module("shap")
    rows, base = table(7, 6, seed=1), table(kernel_shap.BACKGROUND_ROWS, 6, seed=2)

    def score(matrix: Values) -> Values:
        return curved(pl.DataFrame(matrix, schema=rows.columns))

    exact = shap.explainers.Exact(score, shap.maskers.Independent(base.to_numpy()))
    expected = exact(rows.to_numpy())
    found = kernel_shap.contributions(curved, rows, base)
    assert found[:, :-1] == pytest.approx(expected.values)
    assert found[:, -1] == pytest.approx(expected.base_values)


@pytest.mark.parametrize("features", [1, 2, 9, 30])
def test_they_sum_to_the_score(features: int) -> None:
    rows, base = table(5, max(3, features), seed=1), table(10, max(3, features), seed=2)
    rows, base = rows[:, :features], base[:, :features]

    def score(rows: pl.DataFrame) -> Values:
        x = rows.to_numpy()
        return np.stack([np.prod(x, axis=1), np.abs(x).sum(axis=1)], axis=1)

    found = kernel_shap.contributions(score, rows, base)
    assert found.shape == (5, 2, features + 1)
    assert found.sum(axis=-1) == pytest.approx(score(rows))
    assert found[..., -1] == pytest.approx(np.tile(score(base).mean(axis=0), (5, 1)))


def test_linear_score_is_exact_whatever_was_drawn() -> None:
    rows, base = table(4, 25, seed=1), table(20, 25, seed=2)
    weights = np.arange(25) - 7.0

    def score(rows: pl.DataFrame) -> Values:
        return np.asarray(rows.to_numpy() @ weights)

    found = kernel_shap.contributions(score, rows, base)[:, :-1]
    expected = weights * (rows.to_numpy() - base.to_numpy().mean(axis=0))
    assert found == pytest.approx(expected)


def test_drawn_coalitions_come_near_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, base = table(20, 9, seed=1), table(10, 9, seed=2)
    drawn = kernel_shap.contributions(both, rows, base)
    monkeypatch.setattr(kernel_shap, "COALITIONS", 2**9)
    every = kernel_shap.contributions(both, rows, base)
    assert not np.allclose(drawn, every)
    assert np.abs(drawn - every).max() < 0.15 * np.abs(every[..., :-1]).max()


def test_rows_alone_and_together_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, base = table(6, 5, seed=1), table(10, 5, seed=2)
    together = kernel_shap.contributions(both, rows, base)
    monkeypatch.setattr(kernel_shap, "AT_ONCE", 1)
    assert kernel_shap.contributions(both, rows, base) == pytest.approx(together)
