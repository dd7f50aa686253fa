"""What the columns of a data set hold."""

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from adopt import table, trial


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1", " 2 ", "?", "NA", "null", "", None], [1, 2, None, None, None, None, None]),
        (["1.5", "-3", "1e3"], [1.5, -3.0, 1000.0]),
        (["1", "-", "unknown", "4"], [1, None, None, 4]),
        (["inf", "1.5"], [None, 1.5]),
        (["007", "12"], ["007", "12"]),
        (["1,234,567", "999"], [1234567, 999]),
        (["1,5", "2,25"], [1.5, 2.25]),
        (["1,234", "2,345"], ["1,234", "2,345"]),
        (["two  words", "a\nline"], ["two words", "a line"]),
        (["2024-02-29", "?"], [date(2024, 2, 29), None]),
        (["31.12.2024", "01.02.2024"], [date(2024, 12, 31), date(2024, 2, 1)]),
        (["2024年1月2日"], [date(2024, 1, 2)]),
        (["12/31/24", "01/02/24"], [date(2024, 12, 31), date(2024, 1, 2)]),
        (["01/02/2024", "03/04/2024"], ["01/02/2024", "03/04/2024"]),
        (["2024-01-02T03:04:05+09:00"], [datetime(2024, 1, 1, 18, 4, 5)]),  # noqa: DTZ001 - UTC
        (["2024-01-02 03:04"], [datetime(2024, 1, 2, 3, 4)]),  # noqa: DTZ001 - UTC
        (["10-20", "20-30"], ["10-20", "20-30"]),
    ],
)
def test_text_becomes_what_it_stands_for(texts: list[str], values: list[Any]) -> None:
    settled, _ = table.settle(pl.Series("x", texts, dtype=pl.String))
    assert settled.to_list() == values


def test_few_odd_values_among_numbers_are_missing_and_many_make_it_text() -> None:
    few, notes = table.settle(pl.Series("x", ["1"] * 199 + ["n. v."]))
    assert few.dtype == pl.Int64
    assert (few.null_count(), notes) == (1, ["1 taken as missing: 'n. v.'"])
    many, _ = table.settle(pl.Series("x", ["1"] * 10 + ["5 or more"]))
    assert many.dtype == pl.String


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pl.Series([True, False, None]), pl.Int64),
        (pl.Series([1, 2], dtype=pl.UInt8), pl.Int64),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), pl.Float64),
        (pl.Series([float("nan"), 1.0], dtype=pl.Float32), pl.Float64),
        (pl.Series(["1", "2"], dtype=pl.Categorical), pl.Int64),
        (pl.Series([None, None]), pl.String),
        (pl.Series([datetime(2024, 1, 1)]).dt.replace_time_zone("Asia/Tokyo"), pl.Datetime("us")),  # noqa: DTZ001 - made so
        (pl.Series([[1], [2]]), pl.List(pl.Int64)),
    ],
)
def test_columns_of_parquet_files_are_settled(values: pl.Series, kind: pl.DataType) -> None:
    assert table.settle(values)[0].dtype == kind


@pytest.mark.parametrize(
    ("numbers", "first"),
    [
        ([20240101, 20240102], date(2024, 1, 1)),
        ([2019, 2020], date(2019, 1, 1)),
        ([1_700_000_000, 1_700_000_060], datetime(2023, 11, 14, 22, 13, 20)),  # noqa: DTZ001 - UTC
        ([1_700_000_000_000, 1_700_000_000_001], datetime(2023, 11, 14, 22, 13, 20)),  # noqa: DTZ001
        ([1, 2], 1),
        ([0.5, 1.5], 0.5),
    ],
)
def test_numbers_that_write_times_are_times(numbers: list[float], first: object) -> None:
    assert trial.as_time(pl.Series("t", numbers))[0] == first
