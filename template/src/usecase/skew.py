"""`skew`: are the features of what was asked those that the data mart gives, now that it knows?

A request is answered with what callers send and what the version looks up, which is as old as the
version. The training has learnt from what the data mart knew at the time of each record.
"""

import os
from typing import Any

import polars as pl

from usecase import container, inputs, prepare, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.predictions import parquet
from usecase.predictions.parquet import ID, ROW
from usecase.predictions.reading import Window


def run(use_case: UseCase) -> None:
    """Compare the predictions of the version MODEL_VERSION with the data mart; write skew.json.

    Raises:
        UseCaseError: When there are no predictions of records that the data mart has.
    """
    mart = {name: tables.read(container.processing_input(name)) for name in use_case.data.tables}
    records = prepare.build(mart)
    prepare.check_columns(records, use_case, {})
    version = os.environ["MODEL_VERSION"]
    files = container.processing_input("files")
    found = parquet.read([files], use_case, Window(version))
    names = [name for name in use_case.features.names if name not in use_case.log.withheld]
    asked = found.features.select(names).with_columns(found.rows[ID, ROW])
    report = {"version": int(version), **compare(asked, records, use_case)}
    container.write_json(container.processing_output("skew") / "skew.json", report)
    message = f"{report['compared']} predictions compared, {report['unknown']} of no known record"
    print(message)
    container.exit_message(message)


def compare(asked: pl.DataFrame, records: pl.DataFrame, use_case: UseCase) -> dict[str, Any]:
    """Compare features of predictions with those of the same records in the data mart.

    Args:
        asked: `inference_id`, the id of a record; `row`; and the features as text, but for those
            that `[log]` withholds. A request with several rows tells no record's id, so it is left
            out.
        records: What `features.build` returns.
        use_case: Names the columns.

    Returns:
        `compared` and `unknown`, numbers of predictions; and `features`, of each that differs: how
        often, `differ` and `fraction`; how often it is missing on one side, `missing_when_asked`
        and `missing_in_mart`; of a number by how much, asked less mart, `mean_difference` and
        `largest_difference`; and an example, `asked` and `mart` of the record `id`.

    Raises:
        UseCaseError: When the data mart has none of the records.
    """
    single = asked.filter(pl.col(ROW).max().over(ID) == 0)
    known = records.select(
        pl.col(use_case.data.id).cast(pl.String).alias(ID), *inputs.typed(records, use_case)
    )
    pairs = single.join(known.unique(ID, keep="any"), on=ID, suffix="_mart", maintain_order="left")
    if single.is_empty():
        raise UseCaseError(
            "no prediction of this version is kept yet; `uv run ops monitor` collects them"
        )
    if pairs.is_empty():
        raise UseCaseError(
            f"none of {single.height} predictions is of a record in the data mart; ask with the "
            "record's own id, and load the records"
        )
    found = {}
    for name in asked.drop(ID, ROW).columns:
        kind = pl.Float64 if name in use_case.features.numeric else pl.String
        mine, other = (pairs[column].cast(kind) for column in (name, f"{name}_mart"))
        odd = inputs.differ(mine, other)
        if odd.any():
            found[name] = difference(pairs[ID].filter(odd), mine.filter(odd), other.filter(odd))
            found[name]["fraction"] = int(odd.sum()) / pairs.height
    counts = {"compared": pairs.height, "unknown": single.height - pairs.height}
    return {**counts, "features": found}


def difference(ids: pl.Series, asked: pl.Series, mart: pl.Series) -> dict[str, Any]:
    """What there is to say of the values of a feature that differ, row by row."""
    found: dict[str, Any] = {
        "differ": len(ids),
        "missing_when_asked": asked.null_count(),
        "missing_in_mart": mart.null_count(),
        "example": {"id": ids[0], "asked": asked[0], "mart": mart[0]},
    }
    if asked.dtype.is_numeric() and (by := (asked - mart).drop_nulls()).len():
        found["mean_difference"] = by.mean()
        found["largest_difference"] = max(by, key=abs)
    return found
