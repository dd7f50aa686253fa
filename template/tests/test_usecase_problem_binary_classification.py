"""What the target of binary classification may be, and what becomes of the model's output."""

import polars as pl
import pytest
from examples import LABELS, OUTPUT, TARGET, WRONG_TARGETS

from usecase.errors import UseCaseError
from usecase.problem import Target


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0]])
def test_yes_and_no_become_numbers(values: list[object]) -> None:
    found = TARGET.clean(pl.Series("late", values), "labels")
    assert found.to_list() == [1, 0]
    assert found.dtype == pl.Int64


@pytest.mark.parametrize(
    ("value", "message"), [*WRONG_TARGETS, (0.5, "has the value 0.5"), (None, "is Null, must be")]
)
def test_anything_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(UseCaseError, match=f"^labels: target late {message}"):
        TARGET.clean(pl.Series("late", [value]), "labels")


def test_an_empty_value_is_refused() -> None:
    with pytest.raises(UseCaseError, match="train: target late is empty in 1 of 2 rows"):
        TARGET.clean(pl.Series("late", [True, None]), "train")


def test_both_are_needed() -> None:
    TARGET.check(pl.Series("late", LABELS), "train")
    with pytest.raises(UseCaseError, match="train: target late is 0 in all 2 rows; both 0 and 1"):
        TARGET.check(pl.Series("late", [0, 0]), "train")


@pytest.mark.parametrize("threshold", [0, 1, -0.5])
def test_threshold_lies_between_0_and_1(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"decision_threshold: is .*, must lie between 0 and 1"):
        Target("late", threshold)


def test_probabilities_are_measured_as_they_are() -> None:
    assert (TARGET.predicted(OUTPUT) == OUTPUT).all()
