"""What is captured, and what of it is collected."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from support.fake_sagemaker import BUCKET
from support.inference_endpoint import PREFIX, event, put

from lambdas import capture
from usecase.predictions.collect import files_of
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.usefixtures("sagemaker")
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # Written when the window had begun, it holds only what was predicted before.
        ([[-2, -1]], set()),
        ([[-2, -1], [0, 1]], {7}),
        ([[-1, 0]], {7}),
        ([[59]], {7}),
        ([[60, 61]], set()),
        ([[-1], [60]], set()),
    ],
)
def test_versions_are_those_that_predicted_within_the_window(
    session: boto3.Session, files: list[list[int]], expected: set[int]
) -> None:
    where = f"{PREFIX}version=7/{NAMES.endpoint}/{names.VARIANT}/2026/01/31/12"
    for number, minutes in enumerate(files):
        times = [(NOON + timedelta(minutes=m)).isoformat() for m in minutes]
        body = "\n".join(json.dumps(event("1", "2", time=time)) for time in times)
        session.client("s3").put_object(
            Bucket=BUCKET, Key=f"{where}/{number}.jsonl", Body=body.encode()
        )
    assert capture.versions(NOON, NOON + timedelta(hours=1)) == expected


@pytest.mark.usefixtures("sagemaker")
def test_what_was_captured_is_collected_unless_all_of_it_is(session: boto3.Session) -> None:
    """The rows of a capture of the first hour of a day can be of the day before."""

    def write(*keys: str) -> None:
        for key in keys:
            session.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"")

    window = datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 1, 1, tzinfo=UTC)
    captured = put(session, 7, "2026/01/31/23/a.jsonl", "2026/02/01/00/a.jsonl")
    assert capture.kept(*window) == {f"{PREFIX}{key}" for key in captured}
    first, second = (
        [f"{table}/{file}" for file in files_of(key) for table in ("predictions", "rejected")]
        for key in captured
    )
    assert (len(first), len(second)) == (2, 4)
    write(*first)
    assert capture.kept(*window) == {*first, f"{PREFIX}{captured[1]}"}
    # After a crash: whichever file is missing, none of the others is read as well.
    for lost in second:
        write(*second)
        session.client("s3").delete_object(Bucket=BUCKET, Key=lost)
        assert capture.kept(*window) == {*first, f"{PREFIX}{captured[1]}"}
    other = "day=2026-02-01/version=6.other.parquet"
    batch = [f"{table}/day=2026-02-01/{table}.parquet" for table in ("predictions", "rejected")]
    write(*second, *batch, f"predictions/{other}", f"predictions/{other}".replace("02-01", "01-29"))
    expected = {*first, *second, f"predictions/{other}", batch[0]}
    assert capture.kept(*window) == expected, "what could not be scored was never predicted"
