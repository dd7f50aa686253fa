"""The labels of predictions, and how the two meet."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from usecase import tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.predictions import reading
from usecase.problem import VALUE

#: What a line with a label is read of.
LABEL = {
    "groundTruthData": pl.Struct({"data": pl.String, "encoding": pl.String}),
    "eventMetadata": pl.Struct({"eventId": pl.String, "row": pl.Int64}),
}


@dataclass(frozen=True)
class Labels:
    """The labels.

    Attributes:
        table: `inference_id`, `row` (null where the label names none), `filed`, the hour of its
            folder (null where there is none), and the target.
        lines: The lines that there are.
        invalid: So many of them are not labels.
        example: One of the latter, in words.
        repeated: So many say the same of a record as another one.
        contradicting: So many records have labels that differ; the last one counts.
    """

    table: pl.DataFrame
    lines: int
    invalid: int
    example: str
    repeated: int
    contradicting: int


def read_labels(folder: Path, use_case: UseCase) -> Labels:
    """Read labels in Model Monitor's ground-truth format.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html

    `eventMetadata.row`, the record's place in a request of many, is ours. Of several labels of one
    record the last counts, in order of the files' names, which begin with the hour: a label can be
    corrected. What is not a label is counted and left out.
    """
    lines = tables.read_lines(folder, LABEL)
    metadata = pl.col("eventMetadata").struct
    labels = lines.select(
        "file",
        inference_id=metadata.field("eventId"),
        row=metadata.field("row"),
        label=pl.col("groundTruthData").struct.field("data").str.strip_chars(),
    )
    truth, reasons = clean(labels["label"], use_case)
    target = use_case.target.column
    whole = labels["inference_id"].is_not_null() & truth.is_not_null()
    bad = labels.filter(~whole)
    example = ""
    for first in bad.head(1).iter_rows(named=True):
        reason = reasons.get(first["label"], "the line has no id or no label")
        example = f"{first['inference_id'] or first['file']}: {reason}"
    files = labels["file"].unique()
    hours = pl.DataFrame(
        {"file": files, "filed": [reading.hour_of(file) for file in files]},
        schema={"file": pl.String, "filed": pl.Datetime("us", "UTC")},
    )
    record = ["inference_id", "row"]
    every = labels.with_columns(truth).filter(whole)
    different = every.select(*record, target).unique()
    table = every.join(hours, on="file", maintain_order="left").unique(
        record, keep="last", maintain_order=True
    )
    return Labels(
        table.select(*record, "filed", target),
        lines.height,
        bad.height,
        example,
        every.height - different.height,
        different.filter(pl.struct(record).is_duplicated()).select(record).unique().height,
    )


def clean(labels: pl.Series, use_case: UseCase) -> tuple[pl.Series, dict[str, str]]:
    """What labels stand for, in the target's type.

    Args:
        labels: As text.
        use_case: Knows the target.

    Returns:
        The values, null for those that are none; and of the latter what is wrong, by the text.
    """
    target = use_case.target
    values = labels.cast(VALUE, strict=False).alias(target.column)
    no_values = labels.filter(values.is_null()).drop_nulls().unique()
    reasons = {text: f"the label is {text!r}, which is not a number" for text in no_values}
    try:
        true = target.clean(values.drop_nulls(), "labels")
    except UseCaseError:
        for value in values.drop_nulls().unique():
            try:
                target.clean(pl.Series(target.column, [value]), "labels")
            except UseCaseError as error:
                wrong = values == value if value == value else values.is_nan()  # noqa: PLR0124
                reasons |= dict.fromkeys(labels.filter(wrong).unique(), str(error))
        values = values.set(labels.is_in([*reasons]), None)
        true = target.clean(values.drop_nulls(), "labels")
    places = values.is_not_null().arg_true()
    nothing = pl.Series(target.column, [None] * len(labels), true.dtype)
    return nothing.scatter(places, true), reasons


def invalid(labels: Labels, most: float) -> list[str]:
    """The problem that too many lines are not labels.

    Args:
        labels: The labels.
        most: The largest fraction that is none, `max_dropped` of usecase.toml.
    """
    if labels.invalid <= most * labels.lines:
        return []
    problem = (
        f"{labels.invalid} of {labels.lines} lines are not labels, more than max_dropped = "
        f"{most:.1%}. One of them: {labels.example}."
    )
    return [problem]


def last_of_each(made: pl.DataFrame) -> pl.DataFrame:
    """The predictions without those that were asked for again: each request's last answer counts.

    Args:
        made: A row per record, in order of time.
    """
    newest = pl.col("time") == pl.col("time").max().over("inference_id")
    return made.filter(newest).unique(["inference_id", "row"], keep="last", maintain_order=True)


def merge(once: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Match predictions with labels, by their id and their row.

    A label that names no row belongs to a request of one record.

    Args:
        once: What `last_of_each` returned.
        labels: What `read_labels` read.
    """
    return once.join(
        rowed(labels, once).drop("filed"), on=["inference_id", "row"], maintain_order="left"
    )


def rowed(labels: pl.DataFrame, once: pl.DataFrame) -> pl.DataFrame:
    """The labels, with row 0 for those that name none and belong to a request of one record."""
    single = once.filter(pl.len().over("inference_id") == 1)["inference_id"]
    alone = pl.col("row").is_null() & pl.col("inference_id").is_in(single.implode())
    return labels.with_columns(row=pl.when(alone).then(0).otherwise("row").cast(pl.Int64)).unique(
        ["inference_id", "row"], keep="last", maintain_order=True
    )
