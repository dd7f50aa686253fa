"""`prepare`: the tables of the data mart become train, validation and test data."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl

from usecase import container, features, inputs, lookups, tables
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.rows import Fields


def run(use_case: UseCase) -> None:
    """Read every table, build the features, and write the three parts, and what requests look up.

    Raises:
        UseCaseError: When the data is not what usecase.toml says it is.
    """
    mart = {name: tables.read(container.processing_input(name)) for name in use_case.data.tables}
    tables.check(mart, use_case.mart, datetime.now(UTC))
    built = build(mart)
    records = clean(built, use_case)
    if use_case.request:
        known = inputs.lookups(mart)
        inputs.check(built, Fields.of_request(use_case.request), known, use_case)
        lookups.write(known, container.processing_output("lookups"))
    for name, part in split(records, use_case).items():
        tables.write(part, container.processing_output(name))
        print(f"{name}: {part.height} rows, {time_range(part, use_case)}")


def build(mart: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Call the use case's `features.build`.

    Raises:
        UseCaseError: When the tables are not what it expects.
    """
    try:
        return features.build(mart)
    except pl.exceptions.PolarsError as error:
        raise UseCaseError(f"features.build: {type(error).__name__}: {error}") from error


def clean(records: pl.DataFrame, use_case: UseCase) -> pl.DataFrame:
    """Check what `features.build` returns and bring it to the types that everything else expects.

    Args:
        records: A row per record.
        use_case: Names the columns.

    Returns:
        The id, the time, the features and the target of those whose target is known; numbers as
        integers or floats, categories as text, NaN as missing.

    Raises:
        UseCaseError: When a column is missing, has a type that does not fit, or holds values that
            cannot be used.
    """
    data, target = use_case.data, use_case.target.column
    request = use_case.request.fields if use_case.request else ()
    check_columns(records, use_case, {"target.column": [target], "request": [*request]})
    records = known(records, target)
    for name in (data.id, data.time):
        if empty := records[name].null_count():
            raise UseCaseError(f"{name}: is empty in {empty} of {records.height} rows")
    if twice := records.height - records[data.id].n_unique():
        raise UseCaseError(
            f"{data.id}: {twice} rows have an id that another row has; ids must be unique"
        )
    return records.select(
        records[data.id].cast(pl.String),
        records[data.time],
        *inputs.typed(records, use_case),
        use_case.target.clean(records[target], "features.build"),
    )


def check_columns(
    records: pl.DataFrame, use_case: UseCase, further: Mapping[str, Sequence[str]]
) -> None:
    """Check that there are rows, with the id, a time, and the features.

    Args:
        records: What `features.build` returns.
        use_case: Names the columns.
        further: Other columns that are needed, by their key in usecase.toml.

    Raises:
        UseCaseError: When a column is missing, the time is none, or the id is a float.
    """
    data = use_case.data
    needed = {
        "data.id": [data.id],
        "data.time": [data.time],
        "features.numeric": use_case.features.numeric,
        "features.categorical": use_case.features.categorical,
        "features.text": use_case.features.text,
        **further,
    }
    for key, names in needed.items():
        for name in names:
            if name not in records.columns:
                raise UseCaseError(
                    f"usecase.toml {key}: features.build returns no column {name!r}; it returns "
                    f"{', '.join(records.columns)}"
                )
    if records.is_empty():
        raise UseCaseError("features.build returns no rows")
    if records.schema[data.id].is_float():
        raise UseCaseError(
            f"usecase.toml data.id: {data.id} is {records.schema[data.id]}, in which long ids lose "
            "digits; load it into the data mart as text or as whole numbers"
        )
    if not isinstance(records.schema[data.time], pl.Datetime | pl.Date):
        raise UseCaseError(
            f"usecase.toml data.time: {data.time} is {records.schema[data.time]}; let "
            "features.build return a date or a datetime"
        )


def known(records: pl.DataFrame, target: str) -> pl.DataFrame:
    """Leave out the records whose label is not known, and say how many they are.

    Raises:
        UseCaseError: When it is not known of any record.
    """
    found = records.filter(pl.col(target).is_not_null())
    if found.is_empty():
        raise UseCaseError(
            f"features.build: target {target} is empty in all {records.height} rows; check "
            "target.column"
        )
    if unknown := records.height - found.height:
        print(f"left out {unknown} of {records.height} records: {target} is not known")
    return found


def split(records: pl.DataFrame, use_case: UseCase) -> dict[str, pl.DataFrame]:
    """Split the newest months by time.

    Args:
        records: A row per record.
        use_case: How many months, and how large the parts are.

    Returns:
        train, validation and test, each newer than the one before.

    Raises:
        UseCaseError: When a part is empty, or no model can be trained or judged on its target.
    """
    data = use_case.data
    newest = records.sort(data.time, data.id).filter(
        pl.col(data.time) > pl.col(data.time).max().dt.offset_by(f"-{data.history_months}mo")
    )
    test = round(newest.height * use_case.split.test)
    validation = round(newest.height * use_case.split.validation)
    train = newest.height - validation - test
    parts = {
        "train": newest[:train],
        "validation": newest[train : train + validation],
        "test": newest[train + validation :],
    }
    if empty := [name for name, part in parts.items() if part.is_empty()]:
        raise UseCaseError(
            f"{empty[0]}: no rows are left for it of {newest.height}; load more data, or raise "
            f"data.history_months (now {data.history_months})"
        )
    for name, part in parts.items():
        use_case.target.check(part[use_case.target.column], name)
    return parts


def time_range(part: pl.DataFrame, use_case: UseCase) -> str:
    """From when to when the records are, in words."""
    times = part[use_case.data.time]
    return f"{times.min()!s} to {times.max()!s}"
