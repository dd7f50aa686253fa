"""`collect`: what batch transform has answered becomes the predictions of each day."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from usecase import container
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.predictions import parquet
from usecase.predictions.parquet import PREDICTIONS, REJECTED

SHOWN = 20  # so many rejected records are in the log; all of them are in the table


def run(use_case: UseCase) -> None:
    """Collect the answers to the records that `select` has selected.

    Raises:
        UseCaseError: When an answer is missing or has another form.
    """
    folder = container.processing_input("selection")
    selection = container.read_json(folder / "selection.json")
    answered = read(container.processing_input("transformed"), use_case)
    if answered.height != selection["records"]:
        raise UseCaseError(
            f"{selection['records']} records were sent, {answered.height} came back; run the days "
            "again"
        )
    time = use_case.data.time
    answered = answered.with_columns(pl.col(time).str.to_datetime("%Y-%m-%dT%H:%M:%S%.6f"))
    right = pl.col("error").is_null()
    refused = answered.filter(~right).select(use_case.data.id, time, reason="error")
    rejected = pl.concat([pl.read_parquet(folder / "rejected.parquet"), refused])
    days = [date.fromisoformat(day) for day in selection["days"]]
    publish(answered.filter(right), rejected, days, use_case)


def read(folder: Path, use_case: UseCase) -> pl.DataFrame:
    """Read the output of batch transform: each record that was sent, followed by its answer.

    https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html

    Returns:
        The id, the time, the features, the fields of an answer and `error`, all as text.

    Raises:
        UseCaseError: When a file has other columns.
    """
    data = use_case.data
    names = [data.id, data.time, *use_case.features.names, *use_case.target.answer, "error"]
    schema = dict.fromkeys(names, pl.String())
    parts = [pl.DataFrame(schema=schema)]
    for file in sorted(folder.rglob("*.out")):
        try:
            parts.append(pl.read_csv(file, has_header=False, schema=schema))
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise UseCaseError(
                f"{file.name}: its columns are not {', '.join(names)}: {reason}"
            ) from None
    return pl.concat(parts)


def publish(
    predictions: pl.DataFrame, rejected: pl.DataFrame, days: Sequence[date], use_case: UseCase
) -> None:
    """Write the results of some days, and a report that counts them.

    Args:
        predictions: The id, the time, the features and the fields of an answer.
        rejected: The id, the time and the reason.
        days: The days that are replaced.
        use_case: Names the columns.
    """
    kinds = parquet.columns(use_case)
    now = datetime.now(UTC).replace(tzinfo=None)
    origin = {"model_version": int(os.environ["MODEL_VERSION"]), "scored_at": now}
    for name, table in {PREDICTIONS: predictions, REJECTED: rejected}.items():
        if days:
            stamped = table.with_columns(pl.lit(value).alias(key) for key, value in origin.items())
            rows = parquet.typed(stamped, kinds[name])
            parquet.write(container.processing_output(name), rows, days, use_case.data.time)
    counts = {PREDICTIONS: predictions.height, REJECTED: rejected.height}
    report = {"days": [str(day) for day in days], **counts}
    container.write_json(container.processing_output("report") / "report.json", report)
    for row in rejected[:SHOWN].iter_rows(named=True):
        print(f"rejected {row[use_case.data.id]}: {row['reason']}")
    message = f"{len(days)} days: {predictions.height} predictions, {rejected.height} rejected"
    print(message)
    container.exit_message(message)
