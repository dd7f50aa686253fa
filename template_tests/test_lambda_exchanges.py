"""Requests that have come to their end: what is kept of them, and who is told."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto.sns.models import sns_backends
from support.fake_sagemaker import ACCOUNT, BUCKET

from lambdas import capture, exchanges
from workflows import names

NAMES = names.Names()
#: When requests are answered: after their bodies are written, however long that takes here.
NOW = datetime.now(UTC) + timedelta(hours=2)
WHERE = f"{NAMES.endpoint}/{names.VARIANT}/{NOW:%Y/%m/%d/%H}"
CSV = "text/csv; charset=utf-8; model-version=7"

pytest_plugins = ["support.lambda_account"]
pytestmark = pytest.mark.usefixtures("sagemaker")


def put(session: boto3.Session, key: str, body: bytes) -> str:
    session.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    return f"s3://{BUCKET}/{key}"


def answered(
    session: boto3.Session,
    name: str = "a",
    asked: bytes = b"1,2\n",
    answer: bytes = b"0.5\n",
    kind: str = "text/csv",
) -> dict[str, Any]:
    """A notification of a request that was answered, laid out as AWS documents it."""
    return {
        "awsRegion": names.REGION,
        "eventTime": NOW.isoformat().replace("+00:00", "Z"),
        "receivedTime": NOW.isoformat().replace("+00:00", "Z"),
        "invocationStatus": "Completed",
        "requestParameters": {
            "contentType": kind,
            "endpointName": NAMES.endpoint,
            "inputLocation": put(session, f"async/requests/{name}.csv", asked),
        },
        "responseParameters": {
            "contentType": CSV,
            "outputLocation": put(session, f"async/answers/{name}.out", answer),
        },
        "inferenceId": f"id-{name}",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def handle(*messages: dict[str, Any]) -> dict[str, list[str]]:
    return exchanges.handler(
        {"Records": [{"Sns": {"Message": json.dumps(message)}} for message in messages]}, None
    )


def read(session: boto3.Session, key: str) -> Any:
    return json.loads(session.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())


def test_what_was_answered_is_kept_as_if_it_had_been_captured(session: boto3.Session) -> None:
    (key,) = handle(answered(session))["kept"]
    assert key.startswith(f"capture/version=7/{WHERE}/")
    event = read(session, key)
    assert event["captureData"] == {
        "endpointInput": {
            "observedContentType": "text/csv",
            "mode": "INPUT",
            "encoding": "CSV",
            "data": "1,2\n",
        },
        "endpointOutput": {
            "observedContentType": CSV,
            "mode": "OUTPUT",
            "encoding": "CSV",
            "data": "0.5\n",
        },
    }
    assert event["eventMetadata"]["inferenceId"] == "id-a"
    assert capture.versions(NOW - timedelta(hours=3), NOW + timedelta(minutes=5)) == {7}


def test_a_request_is_kept_once_however_often_it_is_told(session: boto3.Session) -> None:
    """Notifications can come twice; so can requests, answered in another hour."""
    first = answered(session)
    again = first | {"eventTime": (NOW + timedelta(hours=2)).isoformat()}
    assert len({*handle(first, first)["kept"], *handle(again)["kept"]}) == 1
    assert len({*handle(answered(session, "a"), answered(session, "b"))["kept"]}) == 2
    listed = session.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="capture/")
    assert listed["KeyCount"] == 2


@pytest.mark.parametrize("sent", ["gone", "inline", "replaced"])
def test_requests_whose_body_is_not_there_are_kept_without(
    session: boto3.Session, sent: str
) -> None:
    message = answered(session)
    if sent == "gone":
        session.client("s3").delete_object(Bucket=BUCKET, Key="async/requests/a.csv")
    elif sent == "inline":
        del message["requestParameters"]["inputLocation"]
    else:
        message["eventTime"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    (key,) = handle(message)["kept"]
    assert [*read(session, key)["captureData"]] == ["endpointOutput"]


def test_what_an_earlier_image_has_answered_is_of_no_known_version(session: boto3.Session) -> None:
    message = answered(session)
    message["responseParameters"]["contentType"] = "text/csv; charset=utf-8"
    (key,) = handle(message)["kept"]
    assert key.startswith(f"capture/{WHERE}/")


@pytest.mark.parametrize(
    ("kind", "size"), [("text/csv", 200_000), ("application/vnd.apache.parquet", 10)]
)
def test_of_large_bodies_the_places_are_kept(session: boto3.Session, kind: str, size: int) -> None:
    (key,) = handle(answered(session, asked=b"1" * size, kind=kind))["kept"]
    assert key.endswith(exchanges.LARGE)
    places = {"async/requests/a.csv", "async/answers/a.out"}
    found = read(session, key)["captureData"].values()
    assert {payload["location"] for payload in found} == {f"s3://{BUCKET}/{p}" for p in places}
    small = handle(answered(session, "b"))["kept"]
    assert exchanges.bodies([key, *small]) == places
    session.client("s3").delete_object(Bucket=BUCKET, Key="async/requests/a.csv")
    assert exchanges.bodies([key]) == {"async/answers/a.out"}, "a job cannot get what is gone"


def test_json_is_kept_whole(session: boto3.Session) -> None:
    asked = json.dumps({"instances": [{"x": "1" * 200_000}]}).encode()
    (key,) = handle(answered(session, asked=asked, kind="application/json"))["kept"]
    assert not key.endswith(exchanges.LARGE)
    assert read(session, key)["captureData"]["endpointInput"]["data"] == asked.decode()


def mails() -> list[str]:
    topics = sns_backends[ACCOUNT][names.REGION].topics.values()
    return [sent[1] for topic in topics for sent in topic.sent_notifications]


def failed(session: boto3.Session, name: str, reason: str, said: bytes) -> dict[str, Any]:
    place = put(session, f"async/failures/{name}-error.out", said)
    return answered(session, name) | {
        "invocationStatus": "Failed",
        "failureReason": reason,
        "responseParameters": {"outputLocation": place},
    }


def test_people_are_told_of_failures_once_an_hour_for_each_reason(session: boto3.Session) -> None:
    gone = "ClientError: Could not download s3://{}/async/requests/{}.csv: NoSuchKey"
    wrong = "ClientError: Received client error (400) from model."
    said = b'{"error": "row 5, field distance: \\"x\\" is not a number"}'
    found = handle(
        *(failed(session, n, gone.format(BUCKET, n), b"") for n in "abc"),
        failed(session, "d", wrong, said),
    )
    assert found == {"kept": [], "failed": ["id-a", "id-b", "id-c", "id-d"]}
    first, second = mails()
    assert "async/requests/a.csv: NoSuchKey" in first
    assert "id-a" in first
    assert "row 5, field distance" in second
    assert "async/failures/d-error.out" in second


def test_failures_may_say_less(session: boto3.Session) -> None:
    """AWS does not document what they say."""
    message = failed(session, "a", "", b"")
    for member in ("failureReason", "responseParameters"):
        del message[member]
    handle(message)
    (mail,) = mails()
    assert "no reason is given" in mail
