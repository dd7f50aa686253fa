"""The model of the first fit: adopt's own, as the project's may be anything, and not fit yet."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline

from usecase.config import Features, UseCase

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
    encoder = Encoder(train, features)
    numeric = train[target].dtype == pl.Float64
    kind = HistGradientBoostingRegressor if numeric else HistGradientBoostingClassifier
    first = len(features.numeric)
    trees = kind(
        categorical_features=list(range(first, first + len(features.categorical))),
        early_stopping=True,
        max_iter=200,
        min_samples_leaf=leaf,
        random_state=0,
    )
    inputs = [encoder(rows) for rows in (train, validation)]
    labels = [rows[target].to_numpy() for rows in (train, validation)]
    trees.fit(inputs[0], labels[0], X_val=inputs[1], y_val=labels[1])
    if numeric:
        return lambda rows: np.asarray(trees.predict(encoder(rows)))
    # scikit-learn has the classes in the order of the alphabet.
    classes = [*getattr(use_case.target, "classes", (0, 1))]
    places = [[*trees.classes_].index(name) for name in classes]

    def probabilities(rows: pl.DataFrame) -> npt.NDArray[Any]:
        output = trees.predict_proba(encoder(rows))[:, places]
        return np.asarray(output if train[target].dtype == pl.String else output[:, 1])

    return probabilities


class Encoder:
    """Brings features to numbers: a category is its place among those of the training, else NaN.

    Free text becomes 50 numbers, as in the template's model of scikit-learn.

    Args:
        train: What the categories and the words are learnt of.
        features: Names the columns.
    """

    def __init__(self, train: pl.DataFrame, features: Features) -> None:
        self.numeric = features.numeric
        self.categories = {
            name: train[name].drop_nulls().unique().sort().to_list()
            for name in features.categorical
        }
        self.words = {name: words().fit(train[name].fill_null("")) for name in features.text}

    def __call__(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """The numbers of rows: a column per number and category, then those of the texts."""
        columns = [rows[name] for name in self.numeric]
        for name, known in self.categories.items():
            columns.append(rows[name].cast(pl.Enum(known), strict=False).to_physical())
        return np.column_stack(
            [column.cast(pl.Float64).to_numpy() for column in columns]
            + [one.transform(rows[name].fill_null("")) for name, one in self.words.items()]
        )


def words() -> Pipeline:
    """What makes numbers of free text."""
    pieces = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=2**16)
    return make_pipeline(pieces, TfidfTransformer(), TruncatedSVD(n_components=50, random_state=0))
