"""Versions are compared, each in its own image and with its own schema."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from support.fake_sagemaker import errors

from ops import OpsError, aws, models
from workflows import names

QUALITY = {
    "version": 0.0,
    "dataset": {"item_count": 3},
    names.QUALITY_METRICS: {"score": {"value": 0.71, "standard_deviation": 0.01}},
}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account with the data bucket in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    clients = (aws.s3, aws.sagemaker, aws.account)
    for client in clients:
        client.cache_clear()
    with mock_aws():
        aws.s3().create_bucket(
            Bucket=aws.bucket(),
            CreateBucketConfiguration={"LocationConstraint": names.REGION},  # type: ignore[typeddict-item] # any region
        )
        yield
    for client in clients:
        client.cache_clear()


def store(key: str, document: object) -> None:
    aws.s3().put_object(Bucket=aws.bucket(), Key=key, Body=json.dumps(document).encode())


def schema_of(**features: str) -> dict[str, Any]:
    return {
        "features": [{"name": name, "type": kind} for name, kind in features.items()],
        "target": "late",
        "answer": [],
        "tables": ["flights"],
        "id": "flight_id",
        "built_by": f"{sorted(features)}",
    }


def version(number: int, schema: dict[str, Any] | None) -> models.Version:
    """A version whose schema is stored, if it has one."""
    key = f"training/{number}/evaluation/schema.json"
    if schema:
        store(key, schema)
    return models.Version(
        arn=f"arn:{number}",
        number=number,
        approval="Approved",
        created=datetime(2026, 1, number, tzinfo=UTC),
        trigger="manual",
        metrics={},
        artifact=f"s3://{aws.bucket()}/training/{number}/model.tar.gz",
        test_data=f"s3://{aws.bucket()}/training/{number}/test",
        evaluation=f"s3://{aws.bucket()}/training/{number}/evaluation",
        schema=f"s3://{aws.bucket()}/{key}" if schema else "",
        image=f"image-of-{number}",
        commit="",
    )


@pytest.mark.usefixtures("account")
def test_differences_in_features_are_shown() -> None:
    one = version(1, schema_of(hour="Integral", distance="Integral"))
    two = version(2, schema_of(hour="Integral", speed="Fractional", carrier="String"))
    assert models.differences(one, two) == [
        "Only version 1 has the features distance.",
        "Only version 2 has the features carrier, speed.",
        "Their features are built by different code (src/usecase/features.py).",
    ]
    order = schema_of(distance="Integral", hour="Integral")
    assert models.differences(one, version(3, order)) == [
        "The order or the types of their features differ."
    ]
    assert models.differences(one, one) == []
    (unknown,) = models.differences(version(4, None), one)
    assert "not on record" in unknown


#: The features of versions 1 and 2, and whether those of version 1 are built anew, and by what.
COMPARED: list[tuple[dict[str, Any] | None, bool, str]] = [
    (schema_of(hour="Integral"), False, "compare"),
    (schema_of(hour="Integral", distance="Integral"), True, "compare"),
    # An image of before there was the command.
    (None, False, "evaluate"),
]


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(("schema", "built", "command"), COMPARED)
def test_a_version_is_judged_in_its_own_image(
    monkeypatch: pytest.MonkeyPatch, schema: dict[str, Any] | None, built: bool, command: str
) -> None:
    requests: list[dict[str, Any]] = []

    class SageMaker:
        def create_processing_job(self, **request: Any) -> None:
            requests.append(request)
            assert errors("sagemaker", "CreateProcessingJob", request) == []
            (output,) = request["ProcessingOutputConfig"]["Outputs"]
            key = output["S3Output"]["S3Uri"].removeprefix(f"s3://{aws.bucket()}/")
            store(f"{key}/statistics.json", QUALITY)

        def describe_processing_job(self, **_: Any) -> dict[str, str]:
            return {"ProcessingJobStatus": "Completed"}

    role = f"arn:aws:iam::{'1' * 12}:role/jobs"
    monkeypatch.setattr(aws, "sagemaker", SageMaker)
    monkeypatch.setattr(aws, "output", lambda *_: role)
    one, two = version(1, schema), version(2, schema_of(hour="Integral"))
    assert models.judge(one, two) == QUALITY
    (request,) = requests
    assert request["AppSpecification"]["ContainerArguments"] == [command]
    assert request["AppSpecification"]["ImageUri"] == "image-of-1"
    assert request["RoleArn"] == role
    inputs = {i["InputName"]: i["S3Input"]["S3Uri"] for i in request["ProcessingInputs"]}
    expected = {"model": one.artifact, "test": two.test_data}
    if schema:
        expected["other"] = f"{two.evaluation}/"
    if built:
        expected["flights"] = f"s3://{aws.bucket()}/mart/flights/"
    assert inputs == expected


@pytest.mark.usefixtures("account")
def test_a_version_that_cannot_be_judged_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SageMaker:
        def create_processing_job(self, **_: Any) -> None:
            pass

        def describe_processing_job(self, **_: Any) -> dict[str, str]:
            return {"ProcessingJobStatus": "Failed", "FailureReason": "AlgorithmError: no rows"}

    monkeypatch.setattr(aws, "sagemaker", SageMaker)
    monkeypatch.setattr(aws, "output", lambda *_: "arn:aws:iam::111111111111:role/jobs")
    with pytest.raises(OpsError, match=r"version 1 cannot be judged.*AlgorithmError: no rows"):
        models.judge(version(1, None), version(2, None))


@pytest.mark.parametrize(
    ("code", "message", "missing"),
    [
        ("ValidationException", 'Could not find model "arn:aws:sagemaker:…"', True),
        ("ValidationException", "ModelPackage arn:aws:sagemaker:… does not exist.", True),
        ("ValidationException", "Could not be deleted while it is in use", False),
        ("ValidationException", "1 validation error detected", False),
        ("StateMachineDoesNotExist", "State Machine Does Not Exist: 'arn'", True),
        ("AccessDeniedException", "Could not find out", False),
    ],
)
def test_absence_is_told_from_other_refusals(code: str, message: str, missing: bool) -> None:
    refusal = ClientError({"Error": {"Code": code, "Message": message}}, "Operation")
    assert aws.is_missing(refusal) is missing
