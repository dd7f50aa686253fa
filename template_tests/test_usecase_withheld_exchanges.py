"""Large bodies come into the table without what `[log]` withholds."""

from pathlib import Path

import polars as pl
import pytest
from support.examples import CSV as ANSWERS
from support.exchanges import leave
from support.withheld import USE_CASE, hashed, leave_key

from usecase import bodies
from usecase.errors import UseCaseError
from usecase.predictions import exchanges

NUMBER = bodies.ROWS + 1  # more than a block has


def test_no_block_has_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    asked = "".join(f"1,2,name {number},Elm Street\n" for number in range(NUMBER))
    leave(tmp_path, asked.encode(), (f"{ANSWERS[0]}\n" * NUMBER).encode())
    with pytest.raises(UseCaseError, match="the job was not given"):
        exchanges.collect(tmp_path / "capture", tmp_path, USE_CASE, "1", {})
    leave_key(tmp_path)
    exchanges.collect(tmp_path / "capture", tmp_path, USE_CASE, "1", {})
    files = [pl.read_parquet(path) for path in (tmp_path / "predictions").rglob("*.parquet")]
    found = pl.concat(files).sort("row")
    assert found["c"].to_list() == [hashed(f"name {number}") for number in range(NUMBER)]
    assert found["a"].unique().to_list() == [1.0]
    assert found["b"].null_count() == found["d"].null_count() == NUMBER
