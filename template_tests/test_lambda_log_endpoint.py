"""The job that collects what was captured is given the key of the hashes, where there are any."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from support.fake_sagemaker import BUCKET
from support.inference_endpoint import WITHIN, SageMaker, put, serve

from lambdas import monitoring
from workflows import keys

pytest_plugins = ["support.lambda_account"]


def test_job_is_given_the_key_of_the_hashes(
    session: boto3.Session, sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, time = session.client("s3"), datetime(2026, 1, 6, tzinfo=UTC)
    known = {"ApprovedAt": time.isoformat(), "Monitors": "requests"}
    serve(sagemaker, sagemaker.add_package(6, **known), time)
    for file in ("constraints.json", "schema.json"):
        s3.put_object(Bucket=BUCKET, Key=f"training/execution6/baseline/{file}", Body=b"{}")
    put(session, 6, *WITHIN)
    event = {"execution": "a", "version": "6", "time": "2026-02-01T02:00:00Z"}
    event |= {"start": "auto", "end": "auto"}

    def manifest() -> list[Any]:
        monitoring.inputs(event, None)
        body = s3.get_object(Bucket=BUCKET, Key="monitoring/inputs/a/files.manifest")["Body"]
        found: list[Any] = json.loads(body.read())
        return found

    without = manifest()
    monkeypatch.setenv("LOG_KEY", keys.LOG_KEY)
    given = manifest()
    assert [key for key in given if key not in without] == [keys.LOG_KEY]
    assert s3.get_object(Bucket=BUCKET, Key=keys.LOG_KEY)["ContentLength"] == 32
