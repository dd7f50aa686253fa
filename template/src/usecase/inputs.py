"""What the model sees of records and of requests: numbers and text, as features.py makes them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from usecase import features
from usecase.config import UseCase
from usecase.errors import UseCaseError
from usecase.lookups import Lookup, utc
from usecase.rows import LARGEST, Fields

CHECKED = 1000  # so many records of the training are asked about, as callers would
TOLERANCE = 1e-6  # by so much may two numbers differ that are the same, as a fraction


def lookups(mart: Mapping[str, pl.DataFrame]) -> dict[str, Lookup]:
    """Call the use case's `features.lookups`.

    Raises:
        UseCaseError: When there is no such function, or the tables are not what it expects.
    """
    made: dict[str, Lookup] = _call("lookups", mart)
    return made


def of_requests(rows: pl.DataFrame, known: Mapping[str, Lookup], use_case: UseCase) -> pl.DataFrame:
    """Make features of requests, by the use case's `features.of_requests`.

    Args:
        rows: The fields of `[request]`, of the types that `Fields.schema` has.
        known: The look-ups of the version.
        use_case: Names the features.

    Returns:
        The features in the order of usecase.toml, a row for each request. They may be infinite,
        after a division by zero, say: `finite` tells.

    Raises:
        UseCaseError: When it returns other rows, lacks a feature, or has one of another type.
    """
    found: pl.DataFrame = _call("of_requests", rows, known)
    if missing := [name for name in use_case.features.names if name not in found.columns]:
        raise UseCaseError(f"features.of_requests returns no column {', '.join(missing)}")
    if found.height != rows.height:
        raise UseCaseError(
            f"features.of_requests returns {found.height} rows for {rows.height} requests; it must "
            "return one for each, in their order"
        )
    return pl.DataFrame(_typed(found, use_case))


def finite(features: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Take numbers out with which the model cannot compute: infinite, or too large for 32 bits.

    Returns:
        The features, such numbers missing; and what is wrong with the rows that had one, null for
        the others.
    """
    names = [name for name, kind in features.schema.items() if kind.is_float()]
    fits = {name: pl.col(name).abs() <= LARGEST for name in names}
    reasons = (
        pl.when(~fit).then(pl.lit(f"feature {name} is infinite or too large for 32 bits"))
        for name, fit in fits.items()
    )
    none = pl.repeat(None, pl.len(), dtype=pl.String)
    wrong = features.select(reason=pl.coalesce(*reasons, none))["reason"]
    if wrong.null_count() < len(wrong):
        features = features.with_columns(pl.when(fit).then(name) for name, fit in fits.items())
    return features, wrong


def first_wrong(reasons: pl.Series) -> str:
    """The first of the reasons of `finite`, for a message; empty without one."""
    wrong = reasons.count()
    first = reasons.is_not_null().arg_max() or 0
    return f"row {first + 1}: {reasons[first]} ({wrong} of {len(reasons)} rows)" if wrong else ""


def asked(records: pl.DataFrame, fields: Fields) -> pl.DataFrame:
    """Records as callers would have sent them.

    Args:
        records: With the fields as columns.
        fields: Those of `[request]`.
    """
    return records.select(
        utc(records[name]) if kind == pl.Datetime else records[name].cast(kind)
        for name, kind in fields.schema.items()
    )


def check(
    records: pl.DataFrame, fields: Fields, known: Mapping[str, Lookup], use_case: UseCase
) -> None:
    """Check that a caller who asks about a record gets the features that the training has of it.

    Args:
        records: What `features.build` returns; some of them are asked about.
        fields: Those of `[request]`.
        known: What `features.lookups` returns of the same tables.
        use_case: Names the features.

    Raises:
        UseCaseError: When a feature is another one.
    """
    some = records.gather_every(max(records.height // CHECKED, 1))
    mine = typed(some, use_case)
    found = of_requests(asked(some, fields), known, use_case)
    for values in mine:
        if other := int(differ(values, found[values.name]).sum()):
            raise UseCaseError(
                f"feature {values.name}: features.build and features.of_requests differ in {other} "
                f"of {some.height} records; let build call of_requests, which must look at nothing "
                "but the fields of [request] and the look-ups"
            )


def differ(mine: pl.Series, other: pl.Series) -> pl.Series:
    """Whether two values of a feature are not the same, row by row."""
    table = pl.DataFrame({"mine": mine, "other": other})
    unequal = pl.col("mine").ne_missing(pl.col("other"))
    if mine.dtype.is_numeric():
        most = pl.max_horizontal(pl.col("mine").abs(), pl.col("other").abs())
        apart = (pl.col("mine") - pl.col("other")).abs() > TOLERANCE * most
        unequal &= apart.fill_null(value=True)
    return table.select(unequal).to_series()


def typed(records: pl.DataFrame, use_case: UseCase) -> list[pl.Series]:
    """The features, in the order of usecase.toml: numbers as integers or floats, others as text.

    Raises:
        UseCaseError: When a numeric feature is not a number, infinite, or too large for 32 bits.
    """
    columns = _typed(records, use_case)
    if wrong := first_wrong(finite(pl.DataFrame(columns))[1]):
        raise UseCaseError(wrong)
    return columns


def _typed(records: pl.DataFrame, use_case: UseCase) -> list[pl.Series]:
    return [
        *(number(records[name]) for name in use_case.features.numeric),
        *(records[name].cast(pl.String) for name in use_case.features.strings),
    ]


def number(values: pl.Series) -> pl.Series:
    """Bring a numeric feature to integers or floats; NaN is missing.

    Raises:
        UseCaseError: When it is not a number.
    """
    if values.dtype == pl.Boolean or values.dtype.is_integer():
        return values.cast(pl.Int64)
    if values.dtype == pl.Null:  # Parquet has no type where all values of a file are missing
        return values.cast(pl.Float64)
    if not values.dtype.is_numeric():
        raise UseCaseError(
            f"usecase.toml features.numeric: {values.name} is {values.dtype}; convert it in "
            "features.build, or list it under features.categorical"
        )
    return values.cast(pl.Float64).fill_nan(None)


def _call(name: str, *arguments: object) -> Any:  # noqa: ANN401 - what the function returns
    """Call a function of features.py that only use cases with `[request]` have.

    Raises:
        UseCaseError: When there is none, or the tables are not what it expects.
    """
    function = getattr(features, name, None)
    if function is None:
        raise UseCaseError(
            f"usecase.toml request: src/usecase/features.py has no function {name}; add it, or "
            "take [request] out, and callers send the features"
        )
    try:
        return function(*arguments)
    except pl.exceptions.PolarsError as error:
        raise UseCaseError(f"features.{name}: {type(error).__name__}: {error}") from error
