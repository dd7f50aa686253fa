"""What each feature contributes to a prediction, as the model itself tells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from usecase.config import UseCase
from usecase.errors import UseCaseError

if TYPE_CHECKING:
    from usecase.model import Model, Rows

Values = npt.NDArray[np.float64]

NO_METHOD = (
    "Model in src/usecase/model.py has no method contributions, which explains its predictions; "
    "write one"
)


def contributions(model: "Model", rows: "Rows", use_case: UseCase) -> Values:
    """What each feature adds to the raw score of each row.

    Args:
        model: The model.
        rows: As `Model.predict` takes them.
        use_case: Names features and classes.

    Returns:
        Shape (rows, labels, features + 1), the last one the base value; see `labels`.

    Raises:
        UseCaseError: When the model cannot tell, or what it tells is not that.
    """
    method = getattr(model, "contributions", None)
    if method is None:
        raise UseCaseError(NO_METHOD)
    found = np.asarray(method(rows), dtype=np.float64)
    number, width = len(next(iter(rows.values()))), len(use_case.features.names) + 1
    several = len(labels(use_case))
    expected = (number, several, width) if several > 1 else (number, width)
    if found.shape != expected:
        raise UseCaseError(f"Model.contributions: has the shape {found.shape}, not {expected}")
    if not np.isfinite(found).all():
        raise UseCaseError("Model.contributions: has values that are not finite numbers")
    return found.reshape(number, several, width)


def labels(use_case: UseCase) -> Sequence[str]:
    """What has a raw score of its own: each of several classes, else the target."""
    return getattr(use_case.target, "classes", None) or [use_case.target.column]
