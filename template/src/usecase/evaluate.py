"""`evaluate`: measure the model on the test data; also the baseline of the model's quality."""

import tarfile
import tempfile
from pathlib import Path
from typing import Any

from usecase import container, metrics, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.model import Model


def run(use_case: UseCase) -> None:
    """Evaluate the training job's model and write statistics and constraints.

    Raises:
        UseCaseError: When the model or the test data cannot be used.
    """
    archive = container.processing_input("model") / "model.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        extract(archive, Path(folder))
        statistics = evaluate_model(Path(folder), container.processing_input("test"), use_case)
    quality = use_case.monitors.model_quality
    constraints = metrics.constraints(
        statistics, quality.metrics, quality.tolerance, quality.thresholds
    )
    output = container.processing_output("evaluation")
    container.write_json(output / "constraints.json", {"version": 0.0, **constraints})
    container.write_json(output / "statistics.json", statistics)


def extract(archive: Path, folder: Path) -> None:
    """Unpack a model.tar.gz.

    Raises:
        UseCaseError: When it is none.
    """
    try:
        with tarfile.open(archive) as tar:
            # Nothing outside the folder; Python 3.11.0 to 3.11.3 cannot see to that.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
            tar.extractall(folder)  # noqa: S202 - the filter is set
    except (OSError, tarfile.TarError) as error:
        raise UseCaseError(f"{archive}: is no model archive: {error}") from None


def evaluate_model(model: Path, test: Path, use_case: UseCase) -> dict[str, Any]:
    """Measure a model on test data.

    Args:
        model: The folder that `Model.save` wrote.
        test: A folder with Parquet files that `prepare` wrote.
        use_case: Names the columns.

    Returns:
        The statistics in Model Monitor's model-quality format.

    Raises:
        UseCaseError: When the model or the test data cannot be used.
    """
    table = tables.read(test)
    target = use_case.target
    for name in (*use_case.features.names, target.column):
        if name not in table.columns:
            raise UseCaseError(
                f"{test.name}: there is no column {name!r}; the data was made with another "
                "usecase.toml"
            )
    labels = target.clean(table[target.column], test.name)
    target.check(labels, test.name)
    output = load_model(model).predict(tables.columns(table, use_case.features.names))
    measured = metrics.statistics(labels.to_numpy(), target.predicted(output), target)
    return {"version": 0.0, "dataset": {"item_count": table.height}, **measured}


def load_model(folder: Path) -> Model:
    """Load a model.

    Raises:
        UseCaseError: When there is none in the folder, or one that cannot be read.
    """
    try:
        return Model.load(folder)
    except Exception as error:
        raise UseCaseError(
            f"{folder}: no model could be loaded ({type(error).__name__}: {error})"
        ) from error
