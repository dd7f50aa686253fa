"""The first values of usecase.toml, of data with few rows."""

import numpy as np
import polars as pl
import pytest

from adopt import trial


@pytest.mark.parametrize(("rows", "least"), [(60, 3), (400, 20), (40_000, 20)])
def test_a_leaf_has_rows_enough_and_leaves_a_tree(rows: int, least: int) -> None:
    for truth in (pl.Series([0, 1] * (rows // 2)), pl.Series(np.arange(rows, dtype=float))):
        found = trial.leaf(truth)["min_samples_leaf"]
        assert least <= found <= max(20, rows // 20)
