"""A fixture: a model that does not always answer a number."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.image import ROOT, Server


@pytest.fixture(scope="session")
def unsure_server(
    trained: Path, start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server whose model answers NaN where the distance is missing, infinity where it is 0."""
    folder = tmp_path_factory.mktemp("unsure")
    (folder / "sitecustomize.py").write_text(
        "from usecase.model import Model\n"
        "predict = Model.predict\n"
        "def unsure(self, rows):\n"
        "    output = predict(self, rows).copy()\n"
        "    for row, distance in enumerate(rows['distance']):\n"
        "        if not distance:\n"
        "            output[row] = float('nan' if distance is None else 'inf')\n"
        "    return output\n"
        "Model.predict = unsure\n"
    )
    return start_server(trained, PYTHONPATH=f"{folder}:{ROOT / 'src'}")
