"""`train`: fit the model to the training data, by SageMaker's contract for training jobs."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from usecase import container, lookups, metrics, report, schema, tables
from usecase.config import Scalar, UseCase
from usecase.lookups import Lookup
from usecase.model import Model
from usecase.schema import Schema

WINDOWS = "windows.json"
"""How many rows a model was trained on, and from when they are; it travels with the model."""


def run(use_case: UseCase) -> None:
    """Train on the channels `train` and `validation` and leave the model.

    Prints the metrics as `validation:auc=0.7;` for the training job's MetricDefinitions.

    Raises:
        UseCaseError: When the data or a hyperparameter is wrong.
    """
    parts = {name: tables.read(container.channel(name)) for name in ("train", "validation")}
    model = Model.fit(parts["train"], parts["validation"], use_case, hyperparameters(use_case))
    for name, part in parts.items():
        output = model.predict(part.select(use_case.features.names).to_dict())
        predictions = use_case.target.predicted(output)
        labels = part[use_case.target.column].to_numpy()
        for metric, value in metrics.summary(labels, predictions, use_case.target).items():
            print(f"{name}:{metric}={value:.6f};")
    known = lookups.read(container.channel("lookups")) if use_case.request else None
    save(model, Schema.of(use_case, parts["train"]), container.model(), known)
    windows = {name: report.window(part, use_case.data.time) for name, part in parts.items()}
    container.write_json(container.model() / WINDOWS, windows)


def read_windows(folder: Path) -> dict[str, Any]:
    """What a model was trained on, as it lies beside it; nothing where it is not on record."""
    return container.read_json(folder / WINDOWS) if (folder / WINDOWS).exists() else {}


def hyperparameters(use_case: UseCase) -> Mapping[str, Scalar]:
    """The training job's hyperparameters, or those of usecase.toml outside of one.

    SageMaker hands them over as text; they get their types back here.
    """
    path = container.root() / "input" / "config" / "hyperparameters.json"
    if not path.exists():
        return use_case.training.hyperparameters
    return {name: parse(str(value)) for name, value in container.read_json(path).items()}


def parse(text: str) -> Scalar:
    """The number or truth value that text stands for, else the text."""
    try:
        value = json.loads(text.lower())
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def save(
    model: Model, trained_on: Schema, folder: Path, known: Mapping[str, Lookup] | None = None
) -> None:
    """Write the model's files, its schema and look-ups into a folder: all of them, or none."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as partial:
        model.save(Path(partial))
        schema.write(trained_on, Path(partial))
        if known is not None:
            lookups.write(known, Path(partial))
        for file in Path(partial).iterdir():
            file.replace(folder / file.name)
