"""What the endpoint has captured comes into the tables without what `[log]` withholds."""

import json
from pathlib import Path

import polars as pl
import pytest
from support.examples import CSV
from support.image import write_lines
from support.inference_endpoint import event
from support.withheld import USE_CASE, hashed, leave_key

from usecase.predictions import collect


@pytest.mark.parametrize("form", ["text/csv", "application/json"])
def test_no_file_of_the_tables_has_the_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    leave_key(tmp_path)
    row = {"a": 1, "b": 5150.25, "c": "Jane", "d": "Elm Street"}
    sent = json.dumps({"instances": [row]}) if form != "text/csv" else "1,5150.25,Jane,Elm Street\n"
    one = event(sent, f"{CSV[0]}\n", "one", content_type=form)
    one["captureData"]["endpointOutput"]["observedContentType"] = "text/csv"
    broken = event("Elm Street", f"{CSV[0]}\n", "two")
    place = tmp_path / "capture/version=2/name/AllTraffic/2026/01/15/12"
    write_lines(place / "1.jsonl", [one, broken])
    collect.collect(tmp_path / "capture", tmp_path, USE_CASE, "2", {})
    tables = [
        pl.concat([pl.read_parquet(path) for path in (tmp_path / name).rglob("*.parquet")])
        for name in ("predictions", "rejected")
    ]
    (kept,) = tables[0].to_dicts()
    assert (kept["a"], kept["b"], kept["c"], kept["d"]) == (1.0, None, hashed("Jane"), None)
    assert tables[1]["inference_id"].to_list() == ["two"]
    told = str([table.to_dicts() for table in tables])
    assert not any(value in told for value in ("5150.25", "Jane", "Elm Street"))
    read = collect.read([tmp_path], USE_CASE)
    assert read.features.to_dicts() == [{"a": "1.0", "b": None, "c": hashed("Jane"), "d": None}]
