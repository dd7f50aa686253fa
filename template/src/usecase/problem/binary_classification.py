"""Binary classification: the target is 0 or 1, the prediction is the probability of 1.

Imports nothing heavy, because the configuration imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from usecase.errors import UseCaseError

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

#: The field of an answer that holds the prediction.
PREDICTION = "probability"

#: The type of predictions and labels, which are stored as text.
VALUE = float

#: The metrics that can be watched, named as in Model Monitor's model-quality report, and the
#: comparison by which its constraints call a value a violation.
METRICS = {
    "recall": "LessThanThreshold",
    "precision": "LessThanThreshold",
    "accuracy": "LessThanThreshold",
    "true_positive_rate": "LessThanThreshold",
    "true_negative_rate": "LessThanThreshold",
    "false_positive_rate": "GreaterThanThreshold",
    "false_negative_rate": "GreaterThanThreshold",
    "auc": "LessThanThreshold",
    "f0_5": "LessThanThreshold",
    "f1": "LessThanThreshold",
    "f2": "LessThanThreshold",
}


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        column: The column with the label, 0 or 1.
        decision_threshold: A probability of at least this counts as a predicted 1.
    """

    column: str
    decision_threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.decision_threshold < 1:
            raise ValueError(
                f"decision_threshold: is {self.decision_threshold}, must lie between 0 and 1"
            )

    @property
    def answer(self) -> dict[str, type]:
        """The fields of an answer, in the order in which CSV has them, and their types."""
        return {PREDICTION: float}

    def answers(self, output: npt.NDArray[Any]) -> dict[str, list[float]]:
        """What is answered: the rows' values, field by field.

        Args:
            output: What `Model.predict` returned.
        """
        return {PREDICTION: output.astype(float).round(6).tolist()}

    def predicted(self, output: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What is measured of the model's output: the probabilities as they are."""
        return output

    def clean(self, values: pl.Series, part: str) -> pl.Series:
        """Check labels and bring them to 0 and 1.

        Args:
            values: Booleans or numbers, shape (rows,).
            part: Where they come from, for the message.

        Returns:
            The same as integers 0 and 1.

        Raises:
            UseCaseError: When a value is empty or something else.
        """
        if not (values.dtype.is_numeric() or str(values.dtype) == "Boolean"):
            raise UseCaseError(
                f"{part}: target {values.name} is {values.dtype}, must be true/false or 0/1; "
                "convert it in features.py"
            )
        if empty := values.null_count():
            raise UseCaseError(
                f"{part}: target {values.name} is empty in {empty} of {len(values)} rows; "
                "drop those rows in features.py"
            )
        odd = sorted({float(value) for value in values.unique()} - {0.0, 1.0})
        if odd:
            raise UseCaseError(
                f"{part}: target {values.name} has the value {odd[0]:g}, must be true/false or 0/1"
            )
        return values.cast(int)

    def check(self, values: pl.Series, part: str) -> None:
        """Check that a model can be trained or judged on labels.

        Args:
            values: The target as 0 and 1, shape (rows,).
            part: Where they come from, for the message.

        Raises:
            UseCaseError: When one class is absent.
        """
        if values.n_unique() < 2:
            raise UseCaseError(
                f"{part}: target {values.name} is {values[0]} in all {len(values)} rows; both 0 "
                "and 1 are needed: check target.column, or give more history with "
                "data.history_months"
            )
