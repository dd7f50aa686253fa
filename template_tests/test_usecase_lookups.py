"""What is looked up for a request: as it was known at its time, and never later."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from usecase import lookups
from usecase.errors import UseCaseError
from usecase.lookups import Lookup

TABLE = pl.DataFrame(
    {
        "key": ["b", "a", "a", None, "a"],
        "known_from": [date(2026, 1, day) for day in (1, 3, 2, 1, 5)],
        "value": [10.0, 3.0, 2.0, 0.0, None],
    }
)
#: A key, a time, and what is known then.
ASKED = [
    ("a", "2026-01-04T00:00", 3.0),
    ("a", "2026-01-01T23:59", None),  # before anything was known
    ("b", "2026-07-01T00:00", 10.0),  # the last that is known, however old
    ("a", "2026-01-02T00:00", 2.0),
    ("a", "2026-01-06T00:00", None),  # since the 5th it is known to be missing
    ("c", "2026-01-04T00:00", None),
    (None, "2026-01-04T00:00", None),
    ("a", None, None),
]
KEYS, TIMES, VALUES = (list(column) for column in zip(*ASKED, strict=True))
ROWS = pl.DataFrame({"key": KEYS, "time": TIMES}).with_columns(
    pl.col("time").str.to_datetime("%FT%R", time_unit="us")
)


@pytest.fixture
def lookup() -> Lookup:
    return Lookup(TABLE, ["key"])


def test_the_last_known_value_is_found(lookup: Lookup) -> None:
    found = lookup.known_at(ROWS, "time")
    assert found.columns == ["key", "time", "value"]
    assert found.drop("value").equals(ROWS)
    assert found["value"].to_list() == VALUES


def test_many_rows_find_what_few_find(lookup: Lookup) -> None:
    found = lookup.known_at(pl.concat([ROWS] * lookups.FEW), "time")
    assert found["value"].to_list() == VALUES * lookups.FEW


def test_times_are_utc(lookup: Lookup) -> None:
    tokyo = ROWS.with_columns(
        pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    )
    assert lookup.known_at(tokyo, "time")["value"].to_list() == VALUES
    zoned = TABLE.with_columns(
        known_from=pl.Series([datetime(2026, 1, day, tzinfo=UTC) for day in (1, 3, 2, 1, 5)])
    )
    assert Lookup(zoned, ["key"]).table.equals(lookup.table)


def test_they_travel_in_files(lookup: Lookup, tmp_path: Path) -> None:
    lookups.write({"some": lookup}, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".parquet"}
    assert lookups.read(tmp_path)["some"].known_at(ROWS, "time")["value"].to_list() == VALUES


def test_files_that_are_none(lookup: Lookup, tmp_path: Path) -> None:
    with pytest.raises(UseCaseError, match=r"trained without .request. in usecase.toml; train"):
        lookups.read(tmp_path)
    with pytest.raises(UseCaseError, match=r"'../some' cannot be the name of a file"):
        lookups.write({"../some": lookup}, tmp_path)
    lookups.write({"some": lookup}, tmp_path)
    (tmp_path / "lookup-some.parquet").write_text("no Parquet")
    with pytest.raises(UseCaseError, match="some is not a look-up"):
        lookups.read(tmp_path)
