"""Fixtures: an AWS account in memory, and the environment that the stacks give the functions."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from fake_sagemaker import ACCOUNT, BUCKET, FakeSageMaker
from moto import mock_aws

from workflows import names

if TYPE_CHECKING:
    from types_boto3_s3.literals import BucketLocationConstraintType

ENVIRONMENT = {
    "ALARM": names.ENDPOINT_ALARM,
    "BAKE_SECONDS": "300",
    "BUCKET": BUCKET,
    "CAPTURE_URI": f"s3://{BUCKET}/capture",
    "ENDPOINT": names.ENDPOINT,
    "INSTANCE_COUNT": "1",
    "INSTANCE_TYPE": "ml.m5.large",
    "METRIC_NAMESPACE": names.METRIC_NAMESPACE,
    "MODEL_ROLE": f"arn:aws:iam::{ACCOUNT}:role/model",
    "WORKFLOW": names.TRAINING,
    "VARIANT": names.VARIANT,
}


@pytest.fixture(scope="session")
def boto3_session() -> boto3.Session:
    """A session for all tests: reading the services' models takes most of a test's time."""
    return boto3.Session(region_name=names.REGION)


@pytest.fixture
def session(
    boto3_session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> Iterator[boto3.Session]:
    """An AWS account in memory: moto's, for all but SageMaker."""
    session = boto3_session
    with mock_aws():  # it brings credentials too
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        s3 = session.client("s3")
        location = cast("BucketLocationConstraintType", names.REGION)
        if names.REGION == "us-east-1":  # the one region that is no LocationConstraint
            s3.create_bucket(Bucket=BUCKET)
        else:
            s3.create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": location}
            )
        topic = session.client("sns").create_topic(Name=names.TOPIC)["TopicArn"]
        monkeypatch.setenv("TOPIC", topic)
        yield session
        for path in Path("lambdas").glob("[!_]*.py"):
            for function in vars(importlib.import_module(f"lambdas.{path.stem}")).values():
                if hasattr(function, "cache_clear"):
                    function.cache_clear()


@pytest.fixture
def sagemaker(session: boto3.Session) -> Iterator[FakeSageMaker]:
    """A SageMaker in memory."""
    fake = FakeSageMaker()
    answer: Any = fake  # botocore takes an answer from this event, its types do not
    session.events.register("before-call.sagemaker", answer)
    yield fake
    session.events.unregister("before-call.sagemaker", answer)
