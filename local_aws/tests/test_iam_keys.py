"""Where calls are refused: temporary keys that are no longer, or never were, in force."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from host_process import ACCOUNT, HostProcess
from iam_roles import Acting, allow, role

from local_aws.host.iam.roles import IamRoles
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Session
from local_aws.settings import Settings

INVALID = "The security token included in the request is invalid."


def error(call: Callable[..., Any], **request: Any) -> tuple[str, str]:
    """Call what has to be refused; return code and message."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    found = caught.value.response["Error"]
    return found["Code"], found["Message"]


def test_a_session_ends_with_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_AWS_IAM", "enforce")
    with HostProcess(tmp_path / "host") as host:
        given = role(host, allow("*"))
        acting = Acting(host, given)
        acting.client("sts").get_caller_identity()
        host.terminate()
        host.start()
        in_xml, in_json = "InvalidClientTokenId", "UnrecognizedClientException"
        assert error(acting.client("sts").get_caller_identity) == (in_xml, INVALID)
        assert error(acting.client("sns").list_topics) == (in_xml, INVALID)
        assert error(acting.client("stepfunctions").list_state_machines) == (in_json, INVALID)
        assert error(acting.client("sagemaker").list_models) == (in_json, INVALID)
        invoke = acting.client("sagemaker-runtime").invoke_endpoint
        assert error(invoke, EndpointName="e", Body=b"1")[0] == in_json
        assert error(acting.client("s3").list_buckets)[0] == "InvalidAccessKeyId"
        Acting(host, given).client("s3").list_buckets()
        host.client("s3").list_buckets()


def roles(folder: Path) -> IamRoles:
    return IamRoles(Settings(folder, 1, "eu-west-1"))


def assumed(key: str, expiration: float) -> None:
    """Let STS have issued a key."""
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/jobs/tests"
    importlib.import_module("ministack.services.sts").register_session(
        key, {"AccountId": ACCOUNT, "Arn": arn, "Expiration": expiration}
    )


def test_an_expired_session_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_AWS_IAM", "enforce")
    enforcing, session = roles(tmp_path), Session(f"arn:aws:iam::{ACCOUNT}:role/jobs", "tests")
    assumed("ASIAUSED", time.time() + 900)
    assert enforcing.caller("ASIAUSED") == session
    assumed("ASIAUSED", time.time() - 1)
    for _ in range(2):  # the second time ministack has forgotten it
        with pytest.raises(ApiError, match="ExpiredTokenException"):
            enforcing.caller("ASIAUSED")
        assumed("ASIAOTHER", time.time() + 900)


def test_the_keys_of_others_are_the_account_where_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_AWS_IAM", "log")
    assert roles(tmp_path).caller("ASIAOFAWS") is None
    monkeypatch.setenv("LOCAL_AWS_IAM", "enforce")
    assert roles(tmp_path).caller("AKIAOFAWS") is None
