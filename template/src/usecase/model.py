"""The model. This file is yours: keep the four methods of `Model`, replace what is in them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
import xgboost as xgb

from usecase import tables
from usecase.config import Scalar, UseCase
from usecase.errors import UseCaseError

#: Rows, feature by feature. Numbers are floats, categories are text, `None` is a missing value.
Rows = Mapping[str, Sequence[float | str | None]]


class Model:
    """Gradient-boosted trees.

    Attributes:
        booster: The trees; it knows the names of its features and their order.
        categories: The values of each categorical feature that training has seen. Another value
            counts as missing.
    """

    def __init__(self, booster: xgb.Booster, categories: Mapping[str, Sequence[str]]) -> None:
        self.booster = booster
        self.categories = categories

    @classmethod
    def fit(
        cls,
        train: pl.DataFrame,
        validation: pl.DataFrame,
        use_case: UseCase,
        hyperparameters: Mapping[str, Scalar],
    ) -> Self:
        """Train a model.

        Args:
            train: A row per record with the features and the target.
            validation: The same of newer records; when they gain nothing, training stops.
            use_case: Names the columns.
            hyperparameters: XGBoost's, and `num_boost_round` and `early_stopping_rounds`.

        Raises:
            UseCaseError: When a hyperparameter is unknown or its value is wrong.
        """
        features = use_case.features
        categories = {
            name: train[name].drop_nulls().unique().sort().to_list()
            for name in features.categorical
        }
        matrices = [
            xgb.DMatrix(
                encode(tables.columns(table, features.names), categories),
                label=table[use_case.target.column].to_numpy(),
                feature_names=features.names,
                feature_types=["c" if name in categories else "q" for name in features.names],
                enable_categorical=True,
            )
            for table in (train, validation)
        ]
        return cls(boost(matrices[0], matrices[1], hyperparameters), categories)

    def predict(self, rows: Rows) -> npt.NDArray[np.float32]:
        """The probability of 1 of each row.

        Args:
            rows: All features, in the order of usecase.toml.

        Returns:
            Shape (rows,).
        """
        matrix = encode(rows, self.categories)
        return np.asarray(self.booster.inplace_predict(matrix, validate_features=False))

    def save(self, folder: Path) -> None:
        """Write the model's files into a folder."""
        self.booster.save_model(folder / "model.ubj")
        (folder / "categories.json").write_text(json.dumps(self.categories), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        # One thread: for a few rows, starting more takes longer than the prediction itself.
        booster = xgb.Booster({"nthread": 1}, model_file=folder / "model.ubj")
        return cls(booster, json.loads((folder / "categories.json").read_text(encoding="utf-8")))


def encode(rows: Rows, categories: Mapping[str, Sequence[str]]) -> npt.NDArray[np.float32]:
    """Bring rows to the numbers that XGBoost takes: a category is its place in `categories`.

    Returns:
        Shape (rows, features); NaN where a value is missing or an unknown category.
    """
    columns: list[Sequence[object]] = []
    for name, values in rows.items():
        if name in categories:
            codes: dict[object, float] = {v: i for i, v in enumerate(categories[name])}
            columns.append([codes.get(value, math.nan) for value in values])
        else:
            columns.append(values)
    return np.array(columns, dtype=np.float32).T


def boost(
    train: xgb.DMatrix, validation: xgb.DMatrix, hyperparameters: Mapping[str, Scalar]
) -> xgb.Booster:
    """Grow trees until the validation data gains nothing any more.

    Raises:
        UseCaseError: When a hyperparameter is unknown or its value is wrong.
    """
    parameters = {"objective": "binary:logistic", "eval_metric": "auc"} | dict(hyperparameters)
    rounds = parameters.pop("num_boost_round", 100)
    patience = parameters.pop("early_stopping_rounds", 20)
    try:
        known = xgb.Booster({**parameters, "verbosity": 0}, [train]).save_config()
        for name in parameters:
            # XGBoost itself only warns of a name that it does not know.
            if name != "eval_metric" and f'"{name}":' not in known:
                raise UseCaseError(f"training.hyperparameters: XGBoost has no {name!r}")
        booster = xgb.train(
            parameters,
            train,
            num_boost_round=rounds,
            evals=[(validation, "validation")],
            early_stopping_rounds=patience,
            verbose_eval=False,
        )
    except (xgb.core.XGBoostError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UseCaseError(f"training.hyperparameters: {reason}") from None
    return booster[: booster.best_iteration + 1]
