"""The model of the first fit: adopt's own, as the project's may be anything, and not fit yet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from usecase.config import UseCase

Predict = Callable[[pl.DataFrame], npt.NDArray[Any]]
NAME = "gradient boosting, not src/usecase/model.py"


def fit(train: pl.DataFrame, validation: pl.DataFrame, use_case: UseCase, leaf: int) -> Predict:
    """Fit scikit-learn's gradient boosting.

    Args:
        train: The features and the target.
        validation: The same of newer records; when they gain nothing, growing trees stops.
        use_case: Names the columns.
        leaf: The least rows of a leaf.

    Returns:
        What predicts for rows of features, as a project's `Model.predict` does.
    """
    target, features = use_case.target.column, use_case.features
    categories = {
        name: train[name].drop_nulls().unique().sort().to_list() for name in features.categorical
    }
    numeric = train[target].dtype == pl.Float64
    kind = HistGradientBoostingRegressor if numeric else HistGradientBoostingClassifier
    trees = kind(
        categorical_features=[name in categories for name in features.names],
        early_stopping=True,
        max_iter=200,
        min_samples_leaf=leaf,
        random_state=0,
    )
    inputs = [encode(rows, features.names, categories) for rows in (train, validation)]
    labels = [rows[target].to_numpy() for rows in (train, validation)]
    trees.fit(inputs[0], labels[0], X_val=inputs[1], y_val=labels[1])
    if numeric:
        return lambda rows: np.asarray(trees.predict(encode(rows, features.names, categories)))
    # scikit-learn has the classes in the order of the alphabet.
    classes = [*getattr(use_case.target, "classes", (0, 1))]
    places = [[*trees.classes_].index(name) for name in classes]

    def probabilities(rows: pl.DataFrame) -> npt.NDArray[Any]:
        output = trees.predict_proba(encode(rows, features.names, categories))[:, places]
        return np.asarray(output if train[target].dtype == pl.String else output[:, 1])

    return probabilities


def encode(
    rows: pl.DataFrame, names: Sequence[str], categories: Mapping[str, Sequence[str]]
) -> npt.NDArray[np.float64]:
    """Features as numbers: a category is its place among those that training has seen, else NaN."""
    columns = [
        rows[name].cast(pl.Enum(categories[name]), strict=False).to_physical()
        if name in categories
        else rows[name]
        for name in names
    ]
    return np.column_stack([column.cast(pl.Float64).to_numpy() for column in columns])
