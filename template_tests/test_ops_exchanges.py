"""Requests from the command line: brought to S3, waited for, and what is said when they fail."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from support.fake_sagemaker import BUCKET
from support.inference_endpoint import SageMaker

from ops import OpsError, aws, exchanges, predictions
from ops.exchanges import RequestFailedError, RequestTimeoutError
from usecase.config import UseCase
from workflows import keys

pytest_plugins = ["support.lambda_account"]
pytestmark = pytest.mark.usefixtures("sagemaker")

Answer = Callable[[bytes], bytes | None]


class Runtime:
    """Takes requests, and answers them at once; `None` is a failure.

    Attributes:
        asked: What each request has been told.
        answer: What is answered to a body.
    """

    def __init__(self, session: boto3.Session) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Answer = lambda body: b"0.5\n" * body.count(b"\n")
        self._s3 = session.client("s3")

    def invoke_endpoint_async(self, **request: Any) -> dict[str, str]:
        self.asked.append(request)
        folder = request.get("S3OutputPathExtension", "")
        name = f"{folder}/{request['InferenceId']}".strip("/")
        places = [f"{keys.ANSWERS}{name}.out", f"{keys.FAILURES}{name}-error.out"]
        key = request["InputLocation"].removeprefix(f"s3://{BUCKET}/")
        answer = self.answer(self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        failure = b'{"error": "row 1:\n is wrong"}'
        place, body = (places[0], answer) if answer is not None else (places[1], failure)
        if body:
            self._s3.put_object(Bucket=BUCKET, Key=place, Body=body)
        answer_uri, failure_uri = (f"s3://{BUCKET}/{place}" for place in places)
        return {"OutputLocation": answer_uri, "FailureLocation": failure_uri}


@pytest.fixture
def runtime(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A runtime in memory."""
    fake = Runtime(session)
    monkeypatch.setattr(exchanges, "runtime", lambda: fake)
    monkeypatch.setattr(aws, "bucket", lambda: BUCKET)
    monkeypatch.setattr(exchanges, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(exchanges, "MOST_SECONDS", 0.0)
    aws.s3.cache_clear()
    yield fake
    aws.s3.cache_clear()


@pytest.mark.parametrize("suffix", exchanges.CONTENT_TYPES)
def test_a_file_of_every_form_is_sent(runtime: Runtime, tmp_path: Path, suffix: str) -> None:
    file, to = tmp_path / f"rows{suffix.upper()}", tmp_path / "answer"
    file.write_bytes(b"1\n2\n")
    exchanges.invoke(file, to, accept="text/csv")
    (asked,) = runtime.asked
    assert asked["ContentType"] == exchanges.CONTENT_TYPES[suffix]
    assert asked["InputLocation"].startswith(f"s3://{BUCKET}/{keys.REQUESTS}")
    assert asked["Accept"] == "text/csv"
    assert (asked["RequestTTLSeconds"], asked["InvocationTimeoutSeconds"]) == (21_600, 900)
    assert to.read_bytes() == b"0.5\n0.5\n"


def test_the_answer_is_printed(
    runtime: Runtime, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "rows.csv").write_bytes(b"1\n")
    exchanges.invoke(tmp_path / "rows.csv")
    assert capfdbinary.readouterr().out == b"0.5\n"
    assert "Accept" not in runtime.asked[0]


def test_files_that_cannot_be_sent(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.txt"
    file.write_bytes(b"1\n")
    with pytest.raises(OpsError, match=r"must end in .csv or .json or .jsonl or .parquet"):
        exchanges.invoke(file)
    monkeypatch.setattr(exchanges, "MAX_BYTES", 1)
    with pytest.raises(OpsError, match="has 2 bytes; a request can have 1: split it"):
        exchanges.invoke(file.rename(tmp_path / "rows.csv"))
    assert runtime.asked == []


def test_a_failure_is_told_with_its_reason(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"1\n")
    runtime.answer = lambda _: None
    with pytest.raises(RequestFailedError, match=r'failed: \{"error": "row 1: is wrong"\}'):
        exchanges.invoke(tmp_path / "rows.csv")


def test_it_does_not_wait_for_ever(
    runtime: Runtime, sagemaker: SageMaker, use_case: UseCase
) -> None:
    """And tells meanwhile what it waits for."""
    runtime.answer = lambda _: b""
    aws.s3().put_object(Bucket=BUCKET, Key="a.csv", Body=b"1\n")
    request = exchanges.submit("a.csv", "text/csv", "a", use_case)
    told: list[str] = []
    with pytest.raises(RequestTimeoutError, match="a: no answer after 0 s; it may still come, to"):
        exchanges.outcome(request, 0.4, told.append)
    assert set(told) == {"0 s, no instance yet: the first is started by requests"}
    assert sagemaker.called("DescribeEndpoint")


def test_traffic_waits_for_all_answers_together(runtime: Runtime, use_case: UseCase) -> None:
    fields = [*(use_case.request.fields if use_case.request else use_case.features.names)]
    rows = pl.DataFrame({use_case.data.id: ["a", "b", "c"]} | dict.fromkeys(fields, ""))
    runtime.answer = lambda body: None if len(runtime.asked) == 2 else b"0.5\n" * len(body)
    found = predictions.replay(rows, use_case, workers=1)
    assert found.sent == 2
    assert [*found.failures] == ["b"]
    assert "row 1: is wrong" in found.failures["b"]
    assert [asked["InferenceId"] for asked in runtime.asked] == ["a", "b", "c"]
    assert len({asked["S3OutputPathExtension"] for asked in runtime.asked}) == 1
