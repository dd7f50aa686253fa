"""The service that `bentoml serve` looks for by its name."""

from typing import Any

import bentoml
from peers import predict


@bentoml.service(workers=1)
class Service:
    """A model."""

    @bentoml.api(route="/invocations")
    def predict(self, rows: list[list[Any]]) -> list[float]:
        """The probabilities of rows."""
        return predict(rows)
