"""What the target of multiclass classification may be, and what becomes of the model's output."""

import polars as pl
import pytest
from examples import OUTPUT, PREDICTIONS, TARGET, WRONG_TARGETS

from usecase.errors import UseCaseError
from usecase.problem import Target


def test_classes_become_text() -> None:
    for dtype in (pl.String, pl.Categorical, pl.Enum(TARGET.classes)):
        found = TARGET.clean(pl.Series("state", ["bad", "good"], dtype=dtype), "labels")
        assert found.to_list() == ["bad", "good"]
        assert found.dtype == pl.String
    codes = Target("state", ("0", "1"))
    assert codes.clean(pl.Series("state", [1, 0]), "labels").to_list() == ["1", "0"]


@pytest.mark.parametrize(
    ("value", "message"), [*WRONG_TARGETS, (["bad"], "is List"), ("Bad", "has the value 'Bad'")]
)
def test_anything_else_is_refused(value: object, message: str) -> None:
    with pytest.raises(UseCaseError, match=f"^labels: target state {message}"):
        TARGET.clean(pl.Series("state", [value]), "labels")


def test_an_empty_value_is_refused() -> None:
    with pytest.raises(UseCaseError, match="train: target state is empty in 1 of 2 rows"):
        TARGET.clean(pl.Series("state", ["bad", None]), "train")


def test_all_classes_are_needed() -> None:
    TARGET.check(pl.Series("state", ["bad", "good", "so, so"]), "train")
    with pytest.raises(UseCaseError, match="train: target state is never so, so in 2 rows"):
        TARGET.check(pl.Series("state", ["bad", "good"]), "train")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "classes: are empty; name two or more"),
        (("a",), "classes: are a; name two or more"),
        (("a", "b", "a"), "classes: are a, b, a; name two or more, each once"),
        (("a", " b"), "classes: ' b' is empty or has spaces around it"),
        (("a", ""), "classes: '' is empty or has spaces around it"),
    ],
)
def test_classes_that_are_none(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target("state", classes)


def test_the_likeliest_class_is_measured() -> None:
    assert TARGET.predicted(OUTPUT) == PREDICTIONS
