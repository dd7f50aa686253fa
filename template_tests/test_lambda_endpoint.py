"""What is told of the endpoint."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from support.fake_sagemaker import ARN, BUCKET
from support.inference_endpoint import PREFIX, SageMaker, approve, event, put, serve

from lambdas import endpoint
from lambdas.mail import Mail
from usecase.predictions.collect import files_of
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_model_from_elsewhere_is_named(sagemaker: SageMaker) -> None:
    serve(sagemaker, sagemaker.add_package(7), NOON)
    for model in sagemaker.models.values():
        model["PrimaryContainer"] = {"Image": "image"}
    with pytest.raises(ValueError, match="not serve a version of the model registry"):
        endpoint.serving_package()


def ended(sagemaker: SageMaker, status: str = "IN_SERVICE") -> Mail:
    """The mail about a deployment that has ended just now."""
    return endpoint.MAILS["SageMaker Endpoint State Change"](
        {
            "EndpointName": NAMES.endpoint,
            "EndpointArn": f"{ARN}:endpoint/{NAMES.endpoint}",
            "EndpointConfigName": sagemaker.endpoints[NAMES.endpoint]["EndpointConfigName"],
            "EndpointStatus": status,
            "LastModifiedTime": (datetime.now(UTC) + timedelta(seconds=1)).timestamp() * 1000,
        }
    )


def test_rollback_is_not_told_as_a_success(sagemaker: SageMaker) -> None:
    serve(sagemaker, sagemaker.add_package(1), NOON)
    new = sagemaker.add_package(2)
    approve(new, NOON + timedelta(hours=1))
    sagemaker.roll_back("an alarm is in the state ALARM")
    mail = ended(sagemaker)
    assert mail.subject == f"{NAMES.endpoint}: version 2 was rolled back, version 1 serves"
    for part in ("an alarm is in the state ALARM", "ops models reject 2", new):
        assert part in mail.text
    # To deploy the older one again is a deployment of its own.
    again = NOON + timedelta(hours=2)
    serve(sagemaker, sagemaker.add_package(1, ApprovedAt=again.isoformat()), again)
    assert ended(sagemaker).subject == f"{NAMES.endpoint}: version 1 serves"


@pytest.mark.parametrize("rolled_back", [False, True])
def test_endpoint_that_was_scaled_is_no_news(sagemaker: SageMaker, rolled_back: bool) -> None:
    """It is in service again, later."""
    serve(sagemaker, sagemaker.add_package(1), NOON)
    if rolled_back:
        approve(sagemaker.add_package(2), NOON + timedelta(hours=1))
        sagemaker.roll_back("an alarm is in the state ALARM")
    told = ended(sagemaker)
    sagemaker.finish()
    assert ended(sagemaker).about == told.about


def test_event_that_comes_late_does_not_take_the_next_deployment_for_a_failure(
    sagemaker: SageMaker,
) -> None:
    serve(sagemaker, sagemaker.add_package(1), NOON)
    first = sagemaker.endpoints[NAMES.endpoint]["EndpointConfigName"]
    ended_at = datetime.now(UTC)
    approve(sagemaker.add_package(2), NOON + timedelta(hours=1))
    mail = endpoint.deployed(
        {
            "EndpointName": NAMES.endpoint,
            "EndpointArn": f"{ARN}:endpoint/{NAMES.endpoint}",
            "EndpointConfigName": first,
            "EndpointStatus": "IN_SERVICE",
            "LastModifiedTime": ended_at.timestamp() * 1000,
        }
    )
    assert mail.subject == f"{NAMES.endpoint}: version 1 serves"


@pytest.mark.parametrize(
    ("status", "subject"),
    [("IN_SERVICE", "version 3 serves"), ("FAILED", "deployment failed")],
)
def test_end_of_a_deployment_names_the_version(
    sagemaker: SageMaker, status: str, subject: str
) -> None:
    serve(sagemaker, sagemaker.add_package(3), NOON)
    sagemaker.endpoints[NAMES.endpoint]["FailureReason"] = "no answer to ping"
    mail = ended(sagemaker, status)
    assert mail.subject == f"{NAMES.endpoint}: {subject}"
    assert "version 3" in mail.text
    assert ("no answer to ping" in mail.text) == (status == "FAILED")


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
    assert endpoint.versions(NOON, NOON + timedelta(hours=1)) == expected


@pytest.mark.usefixtures("sagemaker")
def test_what_was_captured_is_collected_unless_all_of_it_is(session: boto3.Session) -> None:
    """The rows of a capture of the first hour of a day can be of the day before."""

    def write(*keys: str) -> None:
        for key in keys:
            session.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"")

    window = datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 1, 1, tzinfo=UTC)
    captured = put(session, 7, "2026/01/31/23/a.jsonl", "2026/02/01/00/a.jsonl")
    assert endpoint.kept(*window) == {f"{PREFIX}{key}" for key in captured}
    first, second = (
        [f"{table}/{file}" for file in files_of(key) for table in ("predictions", "rejected")]
        for key in captured
    )
    assert (len(first), len(second)) == (2, 4)
    write(*first)
    assert endpoint.kept(*window) == {*first, f"{PREFIX}{captured[1]}"}
    # After a crash: whichever file is missing, none of the others is read as well.
    for lost in second:
        write(*second)
        session.client("s3").delete_object(Bucket=BUCKET, Key=lost)
        assert endpoint.kept(*window) == {*first, f"{PREFIX}{captured[1]}"}
    other = "day=2026-02-01/version=6.other.parquet"
    batch = [f"{table}/day=2026-02-01/{table}.parquet" for table in ("predictions", "rejected")]
    write(*second, *batch, f"predictions/{other}", f"predictions/{other}".replace("02-01", "01-29"))
    expected = {*first, *second, f"predictions/{other}", batch[0]}
    assert endpoint.kept(*window) == expected, "what could not be scored was never predicted"
