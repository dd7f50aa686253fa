"""Who may call Amazon MWAA, and which roles it takes, where permissions are enforced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import REGION
from host_process import ACCOUNT, HostProcess
from iam_roles import Acting, allow, role
from mwaa_requests import bucket, request

AIRFLOW = f"arn:aws:airflow:{REGION}:{ACCOUNT}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """A local AWS that refuses what roles may not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_AWS_IAM", "enforce")
        with HostProcess(tmp_path_factory.mktemp("enforcing")) as process:
            yield process


def code(function: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as refusal:
        function(**members)
    found: str = refusal.value.response["Error"]["Code"]
    return found


def test_the_rest_api_is_for_whom_one_of_airflows_roles_is_allowed(host: HostProcess) -> None:
    starter = Acting(host, role(host, allow("airflow:InvokeRestApi", on=f"{AIRFLOW}:role/a/Op")))
    mwaa = starter.client("mwaa")
    call = {"Method": "GET", "Path": "/dags"}
    assert code(mwaa.invoke_rest_api, Name="a", **call) == "ResourceNotFoundException"
    assert code(mwaa.invoke_rest_api, Name="b", **call) == "AccessDeniedException"
    assert code(mwaa.create_web_login_token, Name="a") == "AccessDeniedException"
    assert code(mwaa.get_environment, Name="a") == "AccessDeniedException"
    assert ("airflow:InvokeRestApi", f"{AIRFLOW}:role/a/Op", True) in starter.calls()


def test_an_execution_role_is_passed_and_trusts_mwaa(host: HostProcess, name: str) -> None:
    source = bucket(host, name)
    trusting_other = role(host)
    creator = Acting(host, role(host, allow("airflow:*", on=f"{AIRFLOW}:environment/*")))
    asked = request(name, source, trusting_other)
    assert code(creator.client("mwaa").create_environment, **asked) == "AccessDeniedException"
    assert ("iam:PassRole", trusting_other, False) in creator.calls()
    with pytest.raises(ClientError, match=r"'airflow\.amazonaws\.com' to assume the role"):
        host.client("mwaa").create_environment(**asked)
