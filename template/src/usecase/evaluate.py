"""`evaluate`: measure the model on the test data; also the baseline of the model's quality.

Besides Model Monitor's files it writes a report for people.

`compare`: measure it on the test data of another version.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from usecase import container, inputs, metrics, page, prepare, report, rows, schema, tables, train
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.model import Model


def run(use_case: UseCase) -> None:
    """Evaluate the training job's model; write statistics, constraints, the report, its schema.

    Raises:
        UseCaseError: When the model or the test data cannot be used.
    """
    output = container.processing_output("evaluation")
    with unpacked(use_case) as model:
        trained_on = schema.read(model)
        table = tables.read(container.processing_input("test"))
        trained = load_model(model)
        labels, answers = answered(trained, table, use_case)
        statistics = measured(labels, answers, use_case)
        document = report.document(trained, table, labels, answers, use_case)
        document["data"] = train.read_windows(model) | document["data"]
    quality = use_case.monitors.model_quality
    constraints = metrics.constraints(
        statistics, quality.metrics, quality.tolerance, quality.thresholds
    )
    container.write_json(output / "constraints.json", {"version": 0.0, **constraints})
    container.write_json(output / "statistics.json", statistics)
    container.write_json(output / "evaluation.json", document)
    text = page.page(document, statistics)
    container.write(output / "report.html", lambda path: path.write_text(text, encoding="utf-8"))
    if trained_on:
        schema.write(trained_on, output)


def compare(use_case: UseCase) -> None:
    """Measure a version on the test data of another one, which the input `other` describes.

    Where the job brings the data mart, the features are built of it, for the records of the test
    data, by the code that this version was trained with; else the test data has the same features.
    The labels are those of the test data.

    Raises:
        UseCaseError: When the versions have not the same target, or a record is not there.
    """
    other = schema.read(container.processing_input("other"))
    if other is None:
        raise UseCaseError(f"the version whose test data this is has no {schema.NAME}")
    if other.target != use_case.target.column:
        raise UseCaseError(
            f"the versions cannot be compared: one predicts {use_case.target.column}, the other "
            f"one {other.target}"
        )
    table = tables.read(container.processing_input("test"))
    if container.processing_input(use_case.data.tables[0]).exists():
        table = rebuilt(table.select(other.id, other.target), other.id, use_case)
    with unpacked(use_case) as model:
        statistics = evaluate_model(model, table, use_case)
    container.write_json(container.processing_output("evaluation") / "statistics.json", statistics)


def rebuilt(known: pl.DataFrame, identifier: str, use_case: UseCase) -> pl.DataFrame:
    """Build the features of records of the data mart.

    Args:
        known: The ids, and the target, of the records.
        identifier: The name of the column with the ids.
        use_case: Names the tables and the features.

    Returns:
        The features and the target, a row per record.

    Raises:
        UseCaseError: When a record is not in the data mart, or is there more than once.
    """
    mart = {name: tables.read(container.processing_input(name)) for name in use_case.data.tables}
    records = prepare.build(mart)
    prepare.check_columns(records, use_case, {})
    ids = records[use_case.data.id].cast(pl.String).alias(identifier)
    records = records.select(ids, *inputs.typed(records, use_case))
    found = known.join(records, on=identifier, maintain_order="left")
    if missing := known.height - found[identifier].n_unique():
        raise UseCaseError(
            f"{missing} of the {known.height} records of the test data are not in the data mart "
            "any more; load them again"
        )
    if found.height > known.height:
        raise UseCaseError(
            f"{use_case.data.id}: {found.height - known.height} records of the test data are in "
            "the data mart more than once; ids must be unique"
        )
    return found


@contextmanager
def unpacked(use_case: UseCase) -> Iterator[Path]:
    """The folder of the model that the input `model` holds as model.tar.gz.

    Raises:
        UseCaseError: When it is not an archive, or the model's features are not usecase.toml's.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        container.extract(container.processing_input("model") / "model.tar.gz", model)
        schema.check(model, use_case)
        yield model


def evaluate_model(model: Path, table: pl.DataFrame, use_case: UseCase) -> dict[str, Any]:
    """Measure a model on test data.

    Args:
        model: The folder that `Model.save` wrote.
        table: The features and the target, as `prepare` wrote them.
        use_case: Names the columns.

    Returns:
        The statistics in Model Monitor's model-quality format.

    Raises:
        UseCaseError: When the model or the test data cannot be used.
    """
    return measured(*answered(load_model(model), table, use_case), use_case)


def answered(
    model: Model, table: pl.DataFrame, use_case: UseCase
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The labels of test data, shape (rows,), and what a model predicts, shape (rows, …).

    Raises:
        UseCaseError: When the test data cannot be used, or an answer is not a finite number.
    """
    target = use_case.target
    for name in (*use_case.features.names, target.column):
        if name not in table.columns:
            raise UseCaseError(
                f"test: there is no column {name!r}; the data was made with another usecase.toml"
            )
    labels = target.clean(table[target.column], "test")
    target.check(labels, "test")
    output = model.predict(table.select(use_case.features.names).to_dict())
    if wrong := rows.unanswered(output):
        row, reason = next(iter(wrong.items()))
        raise UseCaseError(f"test: row {row + 1}: {reason} ({len(wrong)} of {table.height} rows)")
    return labels.to_numpy(), np.asarray(output)


def measured(
    labels: npt.NDArray[Any], output: npt.NDArray[Any], use_case: UseCase
) -> dict[str, Any]:
    """The statistics of what `answered` returned."""
    found = metrics.statistics(labels, use_case.target.predicted(output), use_case.target)
    return {"version": 0.0, "dataset": {"item_count": len(labels)}, **found}


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
