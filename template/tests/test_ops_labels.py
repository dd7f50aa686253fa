"""True labels are stored as the model-quality monitor reads them, or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from examples import CSV, LABELS, WRONG_TARGETS
from moto import mock_aws

from ops import aws, labels
from ops.errors import OpsError
from usecase import config
from usecase.errors import UseCaseError
from workflows import names

USE_CASE = config.load(Path(__file__).parents[1] / "usecase.toml")
ID, TARGET = USE_CASE.data.id, USE_CASE.target.column


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A data bucket with the captured predictions a and b."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for client in (aws.s3, aws.account):
        client.cache_clear()
    with mock_aws():
        aws.s3().create_bucket(
            Bucket=aws.bucket(),
            CreateBucketConfiguration={"LocationConstraint": names.REGION},  # type: ignore[typeddict-item] # any region
        )
        capture("a", "b")
        yield
    for client in (aws.s3, aws.account):
        client.cache_clear()


def capture(*ids: str) -> None:
    """Store captured predictions with these inference ids."""
    now = aws.utc_now()
    request = ",".join("1" for _ in USE_CASE.features.names)
    lines = [
        {
            "captureData": {
                "endpointInput": {
                    "observedContentType": "text/csv",
                    "mode": "INPUT",
                    "data": request,
                    "encoding": "CSV",
                },
                "endpointOutput": {
                    "observedContentType": "text/csv",
                    "mode": "OUTPUT",
                    "data": CSV[0],
                    "encoding": "CSV",
                },
            },
            "eventMetadata": {
                "eventId": f"event-{name}",
                "inferenceId": name,
                "inferenceTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            },
            "eventVersion": "0",
        }
        for name in ids
    ]
    key = f"capture/{names.ENDPOINT}/{names.VARIANT}/{now:%Y/%m/%d/%H}/1.jsonl"
    body = "\n".join(json.dumps(line) for line in lines)
    aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=body.encode())


def stored() -> list[str]:
    return list(aws.keys("ground-truth/"))


def test_labels_are_stored_in_the_ground_truth_format() -> None:
    rows = pl.DataFrame({ID: ["a", "b"], TARGET: LABELS[:2]})
    assert labels.store_labels(rows, USE_CASE) == 2
    (key,) = stored()
    body = aws.s3().get_object(Bucket=aws.bucket(), Key=key)["Body"].read().decode()
    first = json.loads(body.splitlines()[0])
    assert first == {
        "groundTruthData": {"data": str(LABELS[0]), "encoding": "CSV"},
        "eventMetadata": {"eventId": "a"},
        "eventVersion": "0",
    }


def test_the_same_labels_twice_are_stored_once() -> None:
    rows = pl.DataFrame({ID: ["a"], TARGET: LABELS[:1]})
    labels.store_labels(rows, USE_CASE)
    labels.store_labels(rows, USE_CASE)
    assert len(stored()) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({ID: ["a", "x"], TARGET: LABELS[:2]}, "there is no prediction for x"),
        ({ID: ["a", "a"], TARGET: LABELS[:2]}, "more than one label for a"),
        ({ID: ["a", None], TARGET: LABELS[:2]}, f"column {ID}: 1 rows are empty"),
        ({ID: ["a", "b"], TARGET: [LABELS[0], None]}, f"column {TARGET}: 1 rows are empty"),
        ({ID: ["a"]}, f"missing columns: {TARGET}"),
        *(
            ({ID: ["a"], TARGET: [value]}, f"labels: target {TARGET} {message}")
            for value, message in WRONG_TARGETS
        ),
    ],
)
def test_labels_that_cannot_be_used_are_refused_as_a_whole(
    rows: dict[str, list[object]], message: str
) -> None:
    with pytest.raises((OpsError, UseCaseError), match=message):
        labels.store_labels(pl.DataFrame(rows), USE_CASE)
    assert stored() == []


def test_labels_may_come_before_their_capture_when_asked_for() -> None:
    rows = pl.DataFrame({ID: ["x"], TARGET: LABELS[:1]})
    assert labels.store_labels(rows, USE_CASE, allow_unknown=True) == 1
