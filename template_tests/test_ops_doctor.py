"""Preflight: each check, with what makes it fail."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.stub import Stubber
from support.fake_sagemaker import ACCOUNT, BUCKET

from ops import aws, doctor, outside
from ops.doctor import Finding
from workflows import names

pytest_plugins = ["support.lambda_account"]

NAMES = names.Names()
BASE, TRAINING = NAMES.stacks[:2]


def wrong(check: Callable[[], Iterator[Finding]]) -> Finding:
    """The one thing that a check finds wrong."""
    (found,) = (finding for finding in check() if finding.state == "wrong")
    return found


def all_well(check: Callable[[], Iterator[Finding]]) -> bool:
    return {finding.state for finding in check()} <= {"ok"}


@pytest.fixture(autouse=True)
def account(session: boto3.Session) -> Iterator[boto3.Session]:
    """An account, of which the commands know nothing yet."""
    remembered = aws.account, aws.s3, aws.sagemaker
    for one in remembered:
        one.cache_clear()
    yield session
    for one in remembered:
        one.cache_clear()


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Stubber]]:
    """Takes the place of a service that neither moto nor the local AWS plays."""
    stubs: dict[str, Stubber] = {}
    real = doctor.client

    def stub(service: str) -> Stubber:
        if service not in stubs:
            stubs[service] = Stubber(real(service))
            stubs[service].activate()
        return stubs[service]

    monkeypatch.setattr(
        doctor, "client", lambda name: stubs[name].client if name in stubs else real(name)
    )
    yield stub
    for one in stubs.values():
        one.assert_no_pending_responses()


def test_lock_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all_well(doctor.lock)
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert wrong(doctor.lock).fix == "uv lock"


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A docker that does what a script says."""
    file = folder / "docker"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CDK_DOCKER", raising=False)


def test_docker_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path, monkeypatch, 'test "$1" = images || test "$*" = "buildx version"')
    assert all_well(doctor.docker)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "docker images fails: Cannot"),
        (
            'test "$1" = images && exit; echo no buildx >&2; exit 1',
            "docker buildx fails: no buildx",
        ),
    ],
)
def test_docker_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, text: str
) -> None:
    command(tmp_path, monkeypatch, script)
    assert text in wrong(doctor.docker).text


def test_docker_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_DOCKER", str(tmp_path / "docker"))
    assert "install Docker" in wrong(doctor.docker).fix


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def account() -> str:
        raise error

    monkeypatch.setattr(aws, "account", account)


EXPIRED = {"Error": {"Code": "ExpiredToken", "Message": "The security token is expired"}}


@pytest.mark.parametrize(
    "error",
    [NoCredentialsError(), ClientError(EXPIRED, "GetCallerIdentity")],  # type: ignore[arg-type] # botocore's own shape
)
def test_credentials_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all_well(doctor.identity)
    refuse(monkeypatch, error)
    assert "aws sso login" in wrong(doctor.identity).text
    with pytest.raises(typer.Exit) as ended:
        doctor.doctor()
    assert ended.value.exit_code == 1
    # Nothing that takes credentials is said to be well.
    assert "could not be checked: all that is on AWS" in capsys.readouterr().out


def test_region_without_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all_well(doctor.regions)
    monkeypatch.setattr(names, "REGION", "eu-nowhere-1")
    found = wrong(doctor.regions)
    assert "eu-nowhere-1 has no athena, " in found.text
    assert "sagemaker" in found.text


def put_version(session: boto3.Session, version: str) -> None:
    session.client("ssm").put_parameter(
        Name="/cdk-bootstrap/hnb659fds/version", Value=version, Type="String", Overwrite=True
    )


def test_account_that_is_not_prepared(account: boto3.Session) -> None:
    command = f"uv run poe bootstrap aws://{ACCOUNT}/{names.REGION}"
    assert wrong(doctor.bootstrap).fix == command
    put_version(account, "5")
    found = wrong(doctor.bootstrap)
    assert "by version 5: 6 is needed" in found.text
    assert found.fix == command
    put_version(account, "21")
    assert all_well(doctor.bootstrap)


def test_another_qualifier(
    account: boto3.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = {"@aws-cdk/core:bootstrapQualifier": "other"}
    (tmp_path / "cdk.json").write_text(json.dumps({"context": context}))
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    put_version(account, "21")
    assert "not prepared" in wrong(doctor.bootstrap).text


def quotas(stub: Stubber, values: dict[str, float], applied: dict[str, float]) -> None:
    for operation, found in (
        ("list_aws_default_service_quotas", values),
        ("list_service_quotas", applied),
    ):
        listed = [
            {"QuotaName": name, "QuotaCode": f"L-{number}", "Value": value}
            for number, (name, value) in enumerate(found.items())
        ]
        stub.add_response(operation, {"Quotas": listed}, {"ServiceCode": "sagemaker"})


def test_quotas_that_are_enough(stubbed: Callable[[str], Stubber]) -> None:
    needed = doctor.needed()
    assert all(needed.values())
    quotas(stubbed("service-quotas"), dict.fromkeys(needed, 0), needed)
    assert all_well(doctor.quotas)
    # A quota that nobody has changed has its default.
    quotas(stubbed("service-quotas"), needed, {})
    assert all_well(doctor.quotas)


def test_quota_that_is_too_low(stubbed: Callable[[str], Stubber]) -> None:
    needed = doctor.needed()
    name = next(name for name in needed if "for processing job usage" in name)
    quotas(stubbed("service-quotas"), needed, {name: 1})
    found = wrong(doctor.quotas)
    assert found.text == f"quota `{name}` is 1, must be at least 2"
    assert "request-service-quota-increase" in found.fix
    assert "--quota-code L-0 --desired-value 2 " in found.fix


def test_region_without_an_instance_type(stubbed: Callable[[str], Stubber]) -> None:
    needed = doctor.needed()
    name = next(name for name in needed if "for training job usage" in name)
    quotas(stubbed("service-quotas"), {k: v for k, v in needed.items() if k != name}, {})
    found = wrong(doctor.quotas)
    assert f"there is no quota `{name}`" in found.text
    assert "[instances] of usecase.toml" in found.fix


def stacks(stub: Stubber, **states: str) -> None:
    """The stacks of the account; another project's are among them."""
    listed = [
        {"StackName": name, "StackStatus": state, "CreationTime": datetime.now(UTC)}
        for name, state in {**states, "other-base": "UPDATE_ROLLBACK_FAILED"}.items()
    ]
    stub.add_response("describe_stacks", {"Stacks": listed}, {})


@pytest.mark.parametrize(
    ("state", "fix"),
    [
        (
            "UPDATE_ROLLBACK_FAILED",
            f"aws cloudformation continue-update-rollback --stack-name {BASE}",
        ),
        ("DELETE_FAILED", f"aws cloudformation delete-stack --stack-name {BASE}"),
        ("UPDATE_IN_PROGRESS", "wait for its end"),
    ],
)
def test_stack_that_cannot_be_deployed(
    stubbed: Callable[[str], Stubber], state: str, fix: str
) -> None:
    stacks(stubbed("cloudformation"), **{BASE: state, TRAINING: "CREATE_COMPLETE"})
    found = wrong(doctor.states)
    assert found.fix == fix
    assert f"stack {BASE} is {state}" in found.text


def test_stacks_that_can_be_deployed(stubbed: Callable[[str], Stubber]) -> None:
    stacks(stubbed("cloudformation"), **{BASE: "UPDATE_COMPLETE", TRAINING: "ROLLBACK_COMPLETE"})
    assert all_well(doctor.states)


def test_bucket_that_outlived_its_stack(
    stubbed: Callable[[str], Stubber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "logs", dict)
    assert aws.bucket() == BUCKET
    for state in ({}, {BASE: "ROLLBACK_COMPLETE"}):
        stacks(stubbed("cloudformation"), **state)
        found = wrong(doctor.remains)
        assert found.text == f"bucket {BUCKET} is there already, and in no stack"
        assert f"aws s3 rb s3://{BUCKET} --force, if nobody" in found.fix
    stacks(stubbed("cloudformation"), **{BASE: "CREATE_COMPLETE"})
    assert all_well(doctor.remains)


@pytest.mark.parametrize("kind", ["repository", "role"])
def test_others_that_outlived_their_stack(
    stubbed: Callable[[str], Stubber], account: boto3.Session, kind: str
) -> None:
    account.client("s3").delete_bucket(Bucket=BUCKET)
    stacks(stubbed("cloudformation"))
    assert all_well(doctor.remains)
    if kind == "role":
        account.client("iam").create_role(
            RoleName=NAMES.image_publishing_role, AssumeRolePolicyDocument="{}"
        )
    else:
        account.client("ecr").create_repository(repositoryName=NAMES.repository)
    stacks(stubbed("cloudformation"))
    assert wrong(doctor.remains).text.startswith(kind)


def test_log_that_came_back(stubbed: Callable[[str], Stubber], account: boto3.Session) -> None:
    logs = account.client("logs")
    for name in (NAMES.of("notify"), NAMES.of("dev-notify"), f"{NAMES.prefix}2-notify"):
        logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
    stacks(stubbed("cloudformation"), **{BASE: "CREATE_COMPLETE"})
    found = wrong(doctor.remains)
    group = f"/aws/lambda/{NAMES.of('notify')}"
    assert found.text == f"log group {group} is there already, and in no stack"
    assert f"aws logs delete-log-group --log-group-name {group}" in found.fix
    stacks(stubbed("cloudformation"), **{BASE: "CREATE_COMPLETE", TRAINING: "CREATE_COMPLETE"})
    assert all_well(doctor.remains)


def test_what_another_mode_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "left_over", lambda _: outside.Outside(endpoints=["an-endpoint"]))
    monkeypatch.setattr(outside, "everything", outside.Outside)
    (found,) = doctor.left_over()
    assert (found.state, found.fix) == ("look", "uv run ops leftovers")
    assert "an-endpoint" in found.text


def detected(stub: Stubber, status: dict[str, Any]) -> None:
    """CloudFormation has looked at the base stack."""
    stacks(stub, **{BASE: "CREATE_COMPLETE", TRAINING: "UPDATE_ROLLBACK_FAILED"})
    stub.add_response("detect_stack_drift", {"StackDriftDetectionId": "1"}, {"StackName": BASE})
    answer = {"StackId": "1", "StackDriftDetectionId": "1", "Timestamp": datetime.now(UTC)}
    stub.add_response(
        "describe_stack_drift_detection_status", answer | status, {"StackDriftDetectionId": "1"}
    )


def test_resource_that_was_changed_by_hand(stubbed: Callable[[str], Stubber]) -> None:
    stub = stubbed("cloudformation")
    complete = {"DetectionStatus": "DETECTION_COMPLETE"}
    detected(stub, complete | {"StackDriftStatus": "IN_SYNC"})
    stub.add_response("describe_stack_resource_drifts", {"StackResourceDrifts": []})
    assert all_well(doctor.drift)
    detected(stub, complete | {"StackDriftStatus": "DRIFTED"})
    difference = {"PropertyPath": "/KmsKey", "ExpectedValue": "", "ActualValue": ""}
    changed = {
        "StackId": "1",
        "LogicalResourceId": "Queue1",
        "ResourceType": "AWS::SQS::Queue",
        "StackResourceDriftStatus": "MODIFIED",
        "PropertyDifferences": [difference | {"DifferenceType": "ADD"}],
        "Timestamp": datetime.now(UTC),
    }
    stub.add_response("describe_stack_resource_drifts", {"StackResourceDrifts": [changed]})
    (found,) = doctor.drift()
    assert found.state == "look"
    assert found.text == (f"Queue1 of stack {BASE} (AWS::SQS::Queue) was modified by hand: /KmsKey")


def test_drift_that_could_not_be_found_out(stubbed: Callable[[str], Stubber]) -> None:
    stub = stubbed("cloudformation")
    failed = {"DetectionStatus": "DETECTION_FAILED", "DetectionStatusReason": "no permission"}
    detected(stub, failed | {"StackDriftStatus": "UNKNOWN"})
    stub.add_response("describe_stack_resource_drifts", {"StackResourceDrifts": []})
    (found,) = doctor.drift()
    assert found.state == "unknown"
    assert "no permission" in found.text


def denied(stub: Stubber, times: int) -> None:
    for _ in range(times):
        stub.add_client_error("describe_stacks", "AccessDenied", "not allowed to describe stacks")


def test_what_may_not_be_looked_at_is_not_said_to_be_well(
    stubbed: Callable[[str], Stubber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "take_lookup_role", lambda: False)
    denied(stubbed("cloudformation"), 1)
    (found,) = doctor.guarded(doctor.states)
    assert found.state == "unknown"
    assert found.text.startswith("could not be checked: whether the stacks can be deployed")
    assert "not allowed to describe stacks" in found.text


def test_lookup_role_looks_where_the_credentials_may_not(
    stubbed: Callable[[str], Stubber], account: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    sts, defaults = stubbed("sts"), []
    caller = {"Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/deployment/ci", "Account": ACCOUNT}
    sts.add_response("get_caller_identity", caller)
    partition = account.get_partition_for_region(names.REGION)
    role = f"cdk-hnb659fds-lookup-role-{ACCOUNT}-{names.REGION}"
    sts.add_response(
        "assume_role",
        {
            "Credentials": {
                "AccessKeyId": "A" * 16,
                "SecretAccessKey": "secret",  # pragma: allowlist secret
                "SessionToken": "token",
                "Expiration": datetime.now(UTC),
            }
        },
        {"RoleArn": f"arn:{partition}:iam::{ACCOUNT}:role/{role}", "RoleSessionName": "doctor"},
    )
    monkeypatch.setattr(boto3, "setup_default_session", lambda **given: defaults.append(given))
    denied(stubbed("cloudformation"), 1)
    stacks(stubbed("cloudformation"), **{BASE: "CREATE_COMPLETE"})
    (found,) = doctor.guarded(doctor.states)
    assert found.state == "ok"
    assert [given["aws_session_token"] for given in defaults] == ["token"]


@pytest.mark.parametrize(("state", "status"), [("wrong", 1), ("look", 0), ("unknown", 0)])
def test_exit_status_is_that_of_a_deployment(
    monkeypatch: pytest.MonkeyPatch, state: str, status: int
) -> None:
    found = Finding(state, "some [text]", "a command")  # type: ignore[arg-type] # one of them
    monkeypatch.setattr(doctor, "guarded", lambda _: [found])
    monkeypatch.setattr(doctor, "docker", lambda: iter(()))
    with nullcontext() if not status else pytest.raises(typer.Exit):
        doctor.doctor()


def test_findings_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.show(Finding("wrong", "[instances] is too small", "a command"))
    shown = capsys.readouterr().out.split(os.linesep)
    assert shown[:2] == ["fix [instances] is too small", "     a command"]
