"""Two columns that give the target away together are suspected, and others are not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from adopt import columns, pairs

ROWS = 1500
Values = npt.NDArray[Any] | list[str]


def suspected(given: Mapping[str, Values], truth: Values) -> list[str]:
    """What is suspected of columns."""
    values = {name: pl.Series(name, column) for name, column in given.items()}
    features = [
        columns.Feature(name, name, column.dtype.is_numeric(), "", column)
        for name, column in values.items()
    ]
    found, looked = pairs.suspects(features, pl.Series("truth", truth))
    assert looked == len(features)
    return [pair.how for pair in found]


@pytest.fixture
def numbers() -> dict[str, npt.NDArray[np.float64]]:
    """Three columns of numbers that have nothing to do with each other."""
    random = np.random.default_rng(1)
    return dict(zip("abc", random.normal(100, 10, (3, ROWS)).round(2), strict=True))


@pytest.mark.parametrize(
    ("form", "made"), [("-", np.subtract), ("+", np.add), ("*", np.multiply), ("/", np.divide)]
)
def test_a_target_that_two_numbers_make_is_suspected(
    numbers: dict[str, npt.NDArray[np.float64]], form: str, made: np.ufunc
) -> None:
    target = made(numbers["a"], numbers["c"])
    expected = [f"a {form} c"]
    assert suspected(numbers, 3 * target + 1) == expected
    assert suspected(numbers, (target > np.quantile(target, 0.7)).astype(int)) == expected
    thirds = np.digitize(target, np.quantile(target, [0.3, 0.6]))
    assert suspected(numbers, [f"class {third}" for third in thirds]) == expected


def test_a_sum_with_weights_is_suspected(numbers: dict[str, npt.NDArray[np.float64]]) -> None:
    gross = 1.19 * numbers["a"] + 0.3 * numbers["b"]
    assert suspected(numbers, gross) == ["a weighted sum of a and b"]


def test_missing_and_equal_values_do_not_hide_it() -> None:
    random = np.random.default_rng(2)
    planned, done = random.integers(0, 6, (2, ROWS)).astype(float)
    planned[::50] = np.nan
    assert suspected({"planned": planned, "done": done}, (planned == done).astype(int)) == [
        "planned - done"
    ]


def test_categories_are_suspected_too(numbers: dict[str, npt.NDArray[np.float64]]) -> None:
    random = np.random.default_rng(3)
    first, second = (random.choice([*"xyz"], ROWS) for _ in range(2))
    given = numbers | {"first": first, "second": second}
    assert suspected(given, (first == second).astype(int)) == ["first with second"]
    limit = np.where(first == "x", 90, np.where(first == "y", 100, 110))
    assert suspected(given, (numbers["b"] > limit).astype(int)) == ["b within first"]


def test_what_is_only_good_to_know_is_not_suspected(
    numbers: dict[str, npt.NDArray[np.float64]],
) -> None:
    random = np.random.default_rng(4)
    target = numbers["a"] - numbers["c"] + random.normal(0, 3, ROWS)
    assert not suspected(numbers, target)
    assert not suspected(numbers, (target > 0).astype(int))
    # One alone tells it, nearly: the others add nothing.
    assert not suspected(numbers, numbers["a"] + random.normal(0, 0.1, ROWS))


def test_rare_labels_and_groups_of_a_row_each_prove_nothing() -> None:
    random = np.random.default_rng(5)
    names = {name: [f"{v}" for v in random.integers(0, 200, ROWS)] for name in "xyz"}
    assert not suspected(names, random.integers(0, 2, ROWS))
    numbers = dict(zip("abcdefgh", random.normal(size=(8, ROWS)), strict=True))
    assert not suspected(numbers, (np.arange(ROWS) % 500 == 0).astype(int))


def test_of_many_columns_as_many_are_looked_at_as_time_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pairs, "BUDGET", 1_000_000)
    random = np.random.default_rng(6)
    values = [pl.Series(f"x{place}", random.normal(size=ROWS)) for place in range(60)]
    features = [columns.Feature(v.name, v.name, numeric=True, code="", values=v) for v in values]
    found, looked = pairs.suspects(features, values[0] - values[1])
    assert [pair.names for pair in found] == [("x0", "x1")]
    assert looked == 28
