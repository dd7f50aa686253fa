"""A version of the model as it is served: with what it looks up, and its use case."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from usecase import inputs, lookups, schema
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.evaluate import load_model
from usecase.lookups import Lookup
from usecase.model import Model
from usecase.rows import Fields


@dataclass(frozen=True)
class Version:
    """A version.

    Attributes:
        model: Predicts.
        known: What it looks up for requests.
        use_case: Names the fields.
    """

    model: Model
    known: Mapping[str, Lookup]
    use_case: UseCase

    @classmethod
    def load(cls, folder: Path, use_case: UseCase) -> Self:
        """Read what training has left, and use it once.

        Raises:
            UseCaseError: When it cannot be read, or does not fit usecase.toml.
        """
        model = load_model(folder)
        schema.check(folder, use_case)
        known = lookups.read(folder) if use_case.request else {}
        version = cls(model, known, use_case)
        try:
            if use_case.request:
                fields = Fields.of_request(use_case.request)
                version.features(pl.DataFrame([{}], schema=fields.schema))
            model.predict({name: [None] for name in use_case.features.names})
        except Exception as error:
            raise UseCaseError(
                f"{folder}: the model cannot predict with the features of usecase.toml "
                f"({type(error).__name__}: {error})"
            ) from error
        return version

    def features(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Make features of requests, see `inputs.of_requests`."""
        return inputs.of_requests(rows, self.known, self.use_case)
