"""Regression: target and prediction are numbers.

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
PREDICTION = "value"

#: The type of predictions and labels, which are stored as text.
VALUE = float

#: The metrics that can be watched, named as in Model Monitor's model-quality report, and the
#: comparison by which its constraints call a value a violation.
METRICS = {
    "mae": "GreaterThanThreshold",
    "mse": "GreaterThanThreshold",
    "rmse": "GreaterThanThreshold",
    "r2": "LessThanThreshold",
}


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        column: The column with the label, a number.
    """

    column: str

    @property
    def answer(self) -> dict[str, type]:
        """The fields of an answer, in the order in which CSV has them, and their types."""
        return {PREDICTION: float}

    def answers(self, output: npt.NDArray[Any]) -> dict[str, list[float]]:
        """What is answered: the rows' values, with seven digits, as many as 32 bits hold.

        Args:
            output: What `Model.predict` returned.
        """
        return {PREDICTION: [float(f"{value:.7g}") for value in output.tolist()]}

    def predicted(self, output: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What is measured of the model's output: the numbers as they are."""
        return output

    def clean(self, values: pl.Series, part: str) -> pl.Series:
        """Check labels and bring them to floats.

        Args:
            values: Numbers, shape (rows,).
            part: Where they come from, for the message.

        Returns:
            The same as 64-bit floats.

        Raises:
            UseCaseError: When a value is empty, infinite or no number.
        """
        if not values.dtype.is_numeric():
            raise UseCaseError(
                f"{part}: target {values.name} is {values.dtype}, must be a number; convert it in "
                "features.py"
            )
        numbers = values.cast(float)
        if odd := len(numbers) - int(numbers.is_finite().sum()):
            raise UseCaseError(
                f"{part}: target {values.name} is empty or infinite in {odd} of {len(values)} "
                "rows; drop those rows in features.py"
            )
        return numbers

    def check(self, values: pl.Series, part: str) -> None:
        """Check that a model can be trained or judged on labels.

        Args:
            values: The target, shape (rows,).
            part: Where they come from, for the message.

        Raises:
            UseCaseError: When they are all the same.
        """
        if values.n_unique() < 2:
            raise UseCaseError(
                f"{part}: target {values.name} is {values[0]:g} in all {len(values)} rows; check "
                "target.column, or give more history with data.history_months"
            )
