"""What the target of regression may be, and what becomes of the model's output."""

from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from examples import LABELS, OUTPUT, TARGET, WRONG_TARGETS

from usecase.errors import UseCaseError


@pytest.mark.parametrize("values", [[3, -1], [3.0, -1.0], [Decimal("3.00"), Decimal("-1.00")]])
def test_numbers_become_floats(values: list[object]) -> None:
    found = TARGET.clean(pl.Series("delay", values), "labels")
    assert found.to_list() == [3, -1]
    assert found.dtype == pl.Float64


@pytest.mark.parametrize(
    ("value", "message"),
    [*WRONG_TARGETS, (float("nan"), "is empty or infinite in 1"), (True, "is Boolean, must be")],
)
def test_anything_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(UseCaseError, match=f"^labels: target delay {message}"):
        TARGET.clean(pl.Series("delay", [value]), "labels")


def test_an_empty_value_is_refused() -> None:
    with pytest.raises(UseCaseError, match="train: target delay is empty or infinite in 1 of 2"):
        TARGET.clean(pl.Series("delay", [1.5, None]), "train")


def test_different_values_are_needed() -> None:
    TARGET.check(pl.Series("delay", LABELS), "train")
    with pytest.raises(UseCaseError, match=r"train: target delay is 1\.5 in all 2 rows"):
        TARGET.check(pl.Series("delay", [1.5, 1.5]), "train")


def test_values_are_measured_as_they_are() -> None:
    assert (TARGET.predicted(OUTPUT) == OUTPUT).all()


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_answers_lose_nothing_at_any_size(size: float) -> None:
    output = np.linspace(-1, 1, 7, dtype=np.float32) * np.float32(size)
    (found,) = TARGET.answers(output).values()
    assert found == pytest.approx(output.tolist(), rel=1e-6)
