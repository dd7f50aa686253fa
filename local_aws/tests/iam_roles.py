"""Roles, and clients that call with them, as tests of permissions make them."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from botocore.config import Config
from conftest import REGION, SESSION, until
from host_process import ACCOUNT, HostProcess

from local_aws.host.iam import calls


def allow(*actions: str, on: str | list[str] = "*", **conditions: Any) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": on}
    return {**statement, "Condition": conditions} if conditions else statement


def deny(*actions: str, on: str | list[str] = "*", **conditions: Any) -> dict[str, Any]:
    return {**allow(*actions, on=on, **conditions), "Effect": "Deny"}


def role(
    host: HostProcess, *statements: dict[str, Any], trusts: str = "sagemaker.amazonaws.com"
) -> str:
    """Create a role that a service, and the account, may assume; return its ARN."""
    name = f"role-{uuid.uuid4().hex[:12]}"
    principal = {"Service": trusts, "AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    iam = host.client("iam")
    arn: str = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=document)
    return arn


class Acting:
    """What calls with a role."""

    def __init__(self, host: HostProcess, arn: str) -> None:
        assumed = host.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")
        self.role, self._host, self.keys = arn, host, assumed["Credentials"]

    def client(self, name: str) -> Any:
        return SESSION.client(
            name,
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self._host.port}",
            aws_access_key_id=self.keys["AccessKeyId"],
            aws_secret_access_key=self.keys["SecretAccessKey"],
            aws_session_token=self.keys["SessionToken"],
            config=Config(inject_host_prefix=False),
        )

    def logged(self) -> list[dict[str, Any]]:
        """What the log has of the role."""
        return logged(self._host, self.role)

    def calls(self) -> list[tuple[str, str, bool | None]]:
        """What the log has of the role: action, resource, whether it is allowed."""
        return [(call["action"], call["resource"], call["allowed"]) for call in self.logged()]


def logged(host: HostProcess, arn: str) -> list[dict[str, Any]]:
    """What the log has of a role."""
    return [call for call in calls.read(host.data_dir) if call["role"] == arn]


def wait_for_call(host: HostProcess, arn: str, action: str) -> dict[str, Any]:
    """Wait until the log has an action of a role."""

    def found() -> list[dict[str, Any]]:
        return [call for call in logged(host, arn) if call["action"] == action]

    until(lambda: bool(found()), seconds=60)
    return found()[0]


def wait_for_end(describe: Any, member: str, running: str, **request: Any) -> dict[str, Any]:
    """Describe something until its status is another than that of what runs."""
    deadline = time.monotonic() + 60
    while True:
        body: dict[str, Any] = describe(**request)
        if body[member] != running:
            return body
        assert time.monotonic() < deadline, body
        time.sleep(0.05)
