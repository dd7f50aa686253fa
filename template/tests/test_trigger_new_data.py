from typing import Any

import pytest
from templates import ACCOUNT, matching, message

from workflows import names

pytest_plugins = ["synthesised"]

BUCKET = names.bucket(ACCOUNT)


def event(bucket: str, key: str) -> dict[str, Any]:
    """The event of the example in the user guide of S3, "EventBridge event message structure"."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "617f08299329d189",
            },
            "reason": "PutObject",
        },
    }


@pytest.mark.parametrize(
    ("bucket", "key", "expected"),
    [
        (BUCKET, "mart/_SUCCESS", True),
        (BUCKET, "mart/flights/part.parquet", False),
        (BUCKET, "training/mart/_SUCCESS", False),
        ("another", "mart/_SUCCESS", False),
    ],
)
def test_only_the_end_of_a_load_counts(
    resources: list[dict[str, Any]], bucket: str, key: str, expected: bool
) -> None:
    assert ("new-data" in matching(resources, event(bucket, key))) == expected


def test_cause_is_this_load(resources: list[dict[str, Any]]) -> None:
    assert message(resources, "new-data", event(BUCKET, "mart/_SUCCESS")) == {
        "trigger": "new_data",
        "cause": f"{BUCKET} mart/_SUCCESS b1946ac92492d2347c6235b4d2611184 617f08299329d189",
    }
