"""What batch transform has answered comes into the tables without what `[log]` withholds."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from support.examples import CSV
from support.image import fail, succeed
from support.withheld import USE_CASE, hashed, leave_key

from usecase import batch
from usecase.config import Features, UseCase
from usecase.hosting import Log
from workflows import batch as jobs
from workflows import keys
from workflows.jobs import PROCESSING, Settings
from workflows.names import Names

AT = "2026-01-15T12:00:00.000000"
ROW = {"hour": "7", "distance": "5150.25", "carrier": "Jane", "dest": "Elm Street"}
WRONG = 'field distance: "Elm Street" is not a number; leave it empty when it is not known'


def told(error: str | None, use_case: UseCase = USE_CASE) -> str | None:
    found = pl.DataFrame({"error": [error]}, {"error": pl.String}).select(batch.told(use_case))
    reason: str | None = found.item()
    return reason


def test_an_error_does_not_quote_the_values() -> None:
    known = 'field a: "field b: fifty" is not a number'
    without = "field b: is wrong; [log] withholds its value"
    assert told('field b: "fifty\nfive" is not a number') == without
    assert told(known) == known
    assert told(None) is None
    assert told(known, replace(USE_CASE, log=Log())) == known
    name = "b (c) $1"
    odd = Features(numeric=("a", name))
    use_case = replace(USE_CASE, features=odd, log=Log(drop=(name,)))
    wrong = told(f'field {name}: "x" is not a number', use_case)
    assert wrong == f"field {name}: is wrong; [log] withholds its value"


def test_job_is_given_the_key_where_it_hashes() -> None:
    given = []
    for log in (Log(), Log(drop=("b",)), USE_CASE.log):
        use_case = replace(USE_CASE, log=log)
        settings = Settings(use_case, Names(), "image", "role", "bucket", "commit")
        inputs = jobs.collect(settings)["ProcessingInputs"]
        given.append([each["S3Input"] for each in inputs if each["InputName"] == "log-key"])
    assert [len(found) for found in given] == [0, 0, 1]
    ((key,),) = given[2:]
    assert key["S3Uri"] == f"s3://bucket/{keys.LOG_KEY}"
    assert f"{key['LocalPath']}/hmac.key" == f"{PROCESSING}/input/files/{keys.LOG_KEY}"


@pytest.fixture
def base(tmp_path: Path, use_case: UseCase) -> Path:
    """What `collect` is given of two records, of which the second could not be scored."""
    given, none = tmp_path / "processing" / "input", dict.fromkeys(use_case.target.answer)
    scored = dict(zip(none, CSV[0].split(","), strict=False))
    features = {name: ROW.get(name) for name in use_case.features.names}
    lines = pl.DataFrame(
        [
            {"id": "one", "at": AT, **features, **none, **scored, "error": None},
            {"id": "two", "at": AT, **features, **none, "error": WRONG},
        ]
    )
    for folder in ("selection", "transformed"):
        (given / folder).mkdir(parents=True)
    lines.write_csv(given / "transformed" / "part-00000.csv.out", include_header=False)
    sent = {"days": [AT[:10]], "records": lines.height}
    (given / "selection" / "selection.json").write_text(json.dumps(sent))
    data = use_case.data
    kinds = {data.id: pl.String(), data.time: pl.Datetime("us"), "reason": pl.String()}
    pl.DataFrame(schema=kinds).write_parquet(given / "selection" / "rejected.parquet")
    text = Path("usecase.toml").read_text()
    log = '[log]\ndrop = ["distance", "dest"]\nhash = ["carrier"]\n'
    text = text.replace('group_variable = "carrier"', "")
    (tmp_path / "usecase.toml").write_text(f"{text}\n{log}")
    return tmp_path


def test_no_file_that_collect_writes_has_the_values(base: Path) -> None:
    environment = {"MODEL_VERSION": "7", "USECASE_TOML": str(base / "usecase.toml")}
    assert "log.hash: the job was not given" in fail("collect", base, **environment)
    leave_key(base)
    printed = succeed("collect", base, **environment)
    output = base / "processing" / "output"
    kept, rejected = (
        pl.concat([pl.read_parquet(path) for path in (output / name).rglob("*.parquet")])
        for name in ("predictions", "rejected")
    )
    (row,) = kept.to_dicts()
    assert (row["inference_id"], row["model_version"], row["hour"]) == ("one", 7, 7.0)
    assert (row["distance"], row["carrier"], row["dest"]) == (None, hashed("Jane"), None)
    assert rejected.select("inference_id", "reason").rows() == [
        ("two", "field distance: is wrong; [log] withholds its value")
    ]
    written = printed + str(kept.to_dicts()) + str(rejected.to_dicts())
    assert not any(value in written for value in ("5150.25", "Jane", "Elm Street"))
