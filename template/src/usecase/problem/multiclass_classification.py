"""Multiclass classification: the target is one of several classes, written as text.

Imports nothing heavy, because the configuration imports it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from usecase.errors import UseCaseError

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

#: The field of an answer that holds the prediction.
PREDICTION = "predicted_label"

#: The type of predictions and labels, which are stored as text.
VALUE = str

#: The metrics that can be watched, named as in Model Monitor's model-quality report, and the
#: comparison by which its constraints call a value a violation.
METRICS = {
    "accuracy": "LessThanThreshold",
    "weighted_recall": "LessThanThreshold",
    "weighted_precision": "LessThanThreshold",
    "weighted_f0_5": "LessThanThreshold",
    "weighted_f1": "LessThanThreshold",
    "weighted_f2": "LessThanThreshold",
}


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        column: The column with the true class.
        classes: All classes, in the order in which `Model.predict` returns their probabilities.
        decision_weights: The class whose probability times its weight is largest is predicted.
            None are needed where the likeliest class is to be.
    """

    column: str
    classes: tuple[str, ...]
    decision_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ValueError(
                f"classes: are {', '.join(self.classes) or 'empty'}; name two or more, each once"
            )
        if odd := [name for name in self.classes if name != name.strip() or not name]:
            raise ValueError(f"classes: {odd[0]!r} is empty or has spaces around it")
        if self.decision_weights and len(self.decision_weights) != len(self.classes):
            raise ValueError(
                f"decision_weights: are {len(self.decision_weights)}, must be {len(self.classes)}, "
                "one for each of target.classes in their order"
            )
        if wrong := [weight for weight in self.decision_weights if not 0 < weight < math.inf]:
            raise ValueError(f"decision_weights: has {wrong[0]}, must be positive numbers")

    @property
    def answer(self) -> dict[str, type]:
        """The fields of an answer, in the order in which CSV has them, and their types."""
        return {PREDICTION: str, **{f"probability_{name}": float for name in self.classes}}

    def answers(self, output: npt.NDArray[Any]) -> dict[str, list[Any]]:
        """What is answered: the rows' predicted classes, and each class's probabilities.

        Args:
            output: What `Model.predict` returned.
        """
        probabilities = output.astype(float).round(6).T.tolist()
        values = [self.predicted(output), *probabilities]
        return dict(zip(self.answer, values, strict=True))

    def predicted(self, output: npt.NDArray[Any]) -> list[str]:
        """What is measured of the model's output: the class that each row is taken for."""
        weighted = output * self.decision_weights if self.decision_weights else output
        return [self.classes[place] for place in weighted.argmax(axis=1)]

    def clean(self, values: pl.Series, part: str) -> pl.Series:
        """Check labels.

        Args:
            values: Classes as text, categories or whole numbers, shape (rows,).
            part: Where they come from, for the message.

        Returns:
            The same as text.

        Raises:
            UseCaseError: When a value is empty or none of the classes.
        """
        if values.dtype.is_float() or values.dtype.is_nested():
            raise UseCaseError(
                f"{part}: target {values.name} is {values.dtype}, must be text; convert it in "
                "features.py"
            )
        texts = values.cast(str)
        if empty := texts.null_count():
            raise UseCaseError(
                f"{part}: target {values.name} is empty in {empty} of {len(values)} rows; "
                "drop those rows in features.py"
            )
        if odd := sorted(set(texts.unique()) - set(self.classes)):
            raise UseCaseError(
                f"{part}: target {values.name} has the value {odd[0]!r}, must be one of "
                f"{', '.join(self.classes)}; usecase.toml has them under target.classes"
            )
        return texts

    def check(self, values: pl.Series, part: str) -> None:
        """Check that a model can be trained or judged on labels.

        Args:
            values: The target as text, shape (rows,).
            part: Where they come from, for the message.

        Raises:
            UseCaseError: When a class is absent.
        """
        if missing := [name for name in self.classes if name not in set(values.unique())]:
            raise UseCaseError(
                f"{part}: target {values.name} is never {missing[0]} in {len(values)} rows; take "
                "it out of target.classes, or give more history with data.history_months"
            )
