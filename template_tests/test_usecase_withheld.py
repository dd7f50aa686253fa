"""Features that `[log]` keeps out of the table of predictions."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import boto3
import polars as pl
import pytest
from support.fake_sagemaker import BUCKET
from support.withheld import KEY, USE_CASE, hashed, leave_key

from lambdas import aws
from usecase import skew
from usecase.errors import UseCaseError
from usecase.hosting import Log
from usecase.predictions import parquet

pytest_plugins = ["support.lambda_account"]

ROWS = pl.DataFrame(
    {
        "a": [1.0, None],
        "b": [50.0, None],
        "c": ["Jane", None],
        "d": ["Elm Street", "Main Street"],
        "unexpected": [
            None,
            json.dumps({"a": "one", "b": "fifty", "mail": "jane@example.com"}),
        ],
    }
)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for /opt/ml."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def test_rows_without_the_values(base: Path) -> None:
    leave_key(base)
    found = parquet.withhold(ROWS, USE_CASE)
    assert found.schema == ROWS.schema
    assert found["a"].to_list() == [1.0, None]
    assert found["c"].to_list() == [hashed("Jane"), None]
    assert found["b"].null_count() == found["d"].null_count() == 2
    # Fields that are not known may be anything: their names are left.
    assert json.loads(found["unexpected"][1]) == {"a": "one", "mail": None}
    leave_key(base, b"another")
    other = parquet.withhold(ROWS, USE_CASE)["c"][0]
    assert other not in (hashed("Jane"), hashlib.sha256(b"Jane").hexdigest())


def test_no_rows(base: Path) -> None:
    leave_key(base)
    none = ROWS.clear()
    assert parquet.withhold(none, USE_CASE).equals(none)


def test_nothing_is_withheld_unless_asked_for() -> None:
    assert parquet.withhold(ROWS, replace(USE_CASE, log=Log())).equals(ROWS)


@pytest.mark.usefixtures("base")
def test_without_the_key_nothing_is_hashed() -> None:
    with pytest.raises(UseCaseError, match=r"log\.hash: the job was not given log-key/hmac\.key"):
        parquet.withhold(ROWS, USE_CASE)
    dropped = parquet.withhold(ROWS, replace(USE_CASE, log=Log(drop=("d",))))
    assert dropped["d"].null_count() == 2


def test_skew_leaves_out_what_is_withheld() -> None:
    asked = pl.DataFrame({"a": ["1.0"], "inference_id": ["one"], "row": [0]})
    records = pl.DataFrame({"id": ["one"], "a": [1.0], "b": [2.0], "c": ["Jane"], "d": ["Elm"]})
    found = skew.compare(asked, records, USE_CASE)
    assert found == {"compared": 1, "unknown": 0, "features": {}}


def test_the_key_is_made_once(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = session.client("s3")
    assert aws.log_key() == set()
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
    monkeypatch.setenv("LOG_KEY", "key")
    made = []
    for _ in range(2):
        assert aws.log_key() == {"key"}
        made.append(s3.get_object(Bucket=BUCKET, Key="key")["Body"].read())
    assert made[0] == made[1]
    assert len(made[0]) == len(KEY)
