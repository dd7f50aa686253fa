"""Tear down: what goes and what stays, after a question only."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from support.fake_sagemaker import ACCOUNT, BUCKET, RefusalError, Request
from support.outside_account import ENDPOINT, FIRST, KINDS, PROJECT, SECOND, TAGS, Account, ops

from ops import OpsError, aws, destroy, outside, workflow
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account", "support.outside_account"]

ROOT = Path(__file__).parents[1]
FIND_STACKS, FIND_ALL = aws.stacks, aws.deployed


@pytest.fixture
def no_workflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "running", lambda _: [])


@pytest.fixture
def npx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of the name of CDK's runner that writes down what it is called with."""
    calls, program = tmp_path / "calls", tmp_path / "npx"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexit $(cat {tmp_path}/status)\n')
    program.chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return calls


def process(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal, in an environment in which each call of AWS would fail."""
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | nowhere | keys | {"COLUMNS": "200", "POE_PROJECT_DIR": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


OPS = (sys.executable, "-m", "ops")
DELETES = [("destroy",), ("leftovers", "--remove"), ("leftovers", "--data")]


@pytest.mark.parametrize("command", DELETES, ids=" ".join)
def test_without_a_terminal_nothing_is_deleted(command: tuple[str, ...]) -> None:
    result = process(*OPS, *command)
    assert result.returncode == 2, result.stderr
    assert result.stderr == "error: there is no terminal to ask at; pass --yes to delete anyway\n"
    assert result.stdout == ""


def test_help_of_destroy_only_helps() -> None:
    poe = str(Path(sys.executable).with_name("poe"))
    result = process(poe, "--quiet", "destroy", "--help")
    assert result.returncode == 0, result.stderr
    assert "--yes" in result.stdout
    assert "Delete all that runs on AWS" in result.stdout


@pytest.mark.usefixtures("at_a_terminal", "no_workflows", "npx")
def test_destroy_lists_and_deletes_nothing_when_the_answer_is_no(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.deploy(FIRST, TAGS)
    package = account.add_package(1)
    account.packages[package]["InferenceSpecification"] = {"Containers": [{"Image": "repo:1"}]}
    monkeypatch.setattr(aws, "stacks", lambda: sorted(NAMES.stacks))
    before = account.names()
    status, said = ops("destroy", typed="n\n")
    assert (status, account.names()) == (1, before)
    goes, stays = said.split("Stays, and is billed for what it stores:")
    for part in (ENDPOINT, FIRST, f"stack {PROJECT}-training", "costs money", f"account {ACCOUNT}"):
        assert part in goes
    for part in (f"stack {PROJECT}-base", f"s3://{BUCKET}", ": 1 version ", "1 image in repo"):
        assert part in stays
    assert f"stack {PROJECT}-base" not in goes
    assert "Not deleted." in stays


@pytest.mark.usefixtures("no_workflows")
def test_destroy_deletes_in_order_and_says_what_stayed(
    account: Account, monkeypatch: pytest.MonkeyPatch, npx: Path
) -> None:
    account.deploy(FIRST, TAGS)
    monkeypatch.setattr(aws, "stacks", lambda: sorted(NAMES.stacks))
    status, said = ops("destroy", "--yes")
    assert status == 0
    assert not any(account.names().values())
    deletions = [name for name, _ in account.calls if name.startswith("Delete")]
    assert deletions == ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    (call,) = npx.read_text().splitlines()
    stacks = [name for name in sorted(NAMES.stacks) if name != NAMES.stacks[0]]
    assert call.startswith("--yes aws-cdk@")
    assert call.endswith(f" destroy --force {' '.join(stacks)}")
    assert f"aws s3 rb s3://{BUCKET}" in said


@pytest.mark.usefixtures("no_workflows")
def test_destroy_that_failed_half_way_goes_on(
    account: Account, monkeypatch: pytest.MonkeyPatch, npx: Path
) -> None:
    account.deploy(FIRST, TAGS)
    monkeypatch.setattr(aws, "stacks", lambda: sorted(NAMES.stacks))
    (npx.parent / "status").write_text("1")
    with pytest.raises(OpsError, match="run `uv run poe destroy` again"):
        ops("destroy", "--yes")
    (npx.parent / "status").write_text("0")
    monkeypatch.setattr(aws, "stacks", lambda: [NAMES.stacks[0], f"{PROJECT}-serving"])
    status, _ = ops("destroy", "--yes")
    assert status == 0
    assert npx.read_text().splitlines()[-1].endswith(f"--force {PROJECT}-serving")
    monkeypatch.setattr(aws, "stacks", lambda: [NAMES.stacks[0]])
    status, said = ops("destroy", "--yes")
    assert status == 0
    assert "Nothing runs" in said
    assert len(npx.read_text().splitlines()) == 2


@pytest.mark.parametrize("status", ["Creating", "Updating"])
def test_endpoint_in_a_deployment_is_waited_for(account: Account, status: str) -> None:
    account.deploy(FIRST, TAGS)
    account.known["endpoint"][ENDPOINT] = status
    said: list[str] = []
    outside.remove(outside.everything(), said.append)
    assert not any(account.names().values())
    assert f"endpoint {ENDPOINT} is {status}" in said
    assert any("half an hour" in text for text in said)
    # What the endpoint uses went after it.
    deletions = [name for name, _ in account.calls if name.startswith("Delete")]
    assert deletions[-2:] == ["DeleteEndpointConfig", "DeleteModel"]


def test_refusal_for_another_reason_is_not_taken_for_absence(account: Account) -> None:
    def refuse(_: Request) -> Request:
        raise RefusalError("1 validation error detected: Value at 'endpointName' failed")

    account.deploy(FIRST, TAGS)
    account.operations["DeleteEndpoint"] = refuse
    with pytest.raises(ClientError, match="validation error detected"):
        outside.remove(outside.everything())
    assert FIRST in account.known["model"]


def test_what_has_no_tags_yet_is_found_by_name_and_others_are_left_alone(account: Account) -> None:
    account.deploy(FIRST)
    account.add("endpoint", f"{PROJECT}-renamed", TAGS)
    for name, tags in (
        (f"{PROJECT}-eu-1-20260131120000000", {}),  # of a project with a longer name
        (f"my-{FIRST}", {}),
        (SECOND, {"project": "another"}),
    ):
        account.add("endpoint", name, tags)
        account.add("endpoint-config", name, tags)
        account.add("model", name, tags)
    assert outside.everything() == outside.Outside(
        sorted([ENDPOINT, f"{PROJECT}-renamed"]), [FIRST], [FIRST]
    )


def test_destroying_an_environment_leaves_the_others_alone(
    account: Account, session: boto3.Session, npx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.deploy(FIRST, TAGS)
    single = account.names()
    dev = names.Names(environment="dev")
    for kind, name in (("endpoint", dev.prefix), *((k, dev.of("1-" + FIRST[-17:])) for k in KINDS)):
        account.add(kind, name, TAGS | {"project": dev.prefix})
    stopped: list[str] = []
    there = {"Stacks": [{"StackName": name} for name in (*NAMES.stacks, *dev.stacks)]}
    answer: Any = lambda **_: (SimpleNamespace(status_code=200), there)  # noqa: E731
    session.events.register("before-call.cloudformation.DescribeStacks", answer)
    monkeypatch.setattr(destroy, "stop_all", stopped.append)
    monkeypatch.setattr(aws, "stacks", FIND_STACKS)
    monkeypatch.setattr(aws, "deployed", FIND_ALL)
    assert outside.everything() == outside.Outside([ENDPOINT], [FIRST], [FIRST])
    monkeypatch.setenv("USECASE_ENVIRONMENT", "dev")
    status, _ = ops("destroy", "--yes")
    assert (status, account.names(), stopped) == (0, single, list(dev.workflows))
    # All but the base, in the order of their names.
    gone = " ".join(sorted(dev.stacks[1:]))
    assert npx.read_text().splitlines()[-1].endswith(f"--force {gone}")
    session.events.unregister("before-call.cloudformation.DescribeStacks", answer)


@pytest.mark.usefixtures("executions")
def test_running_executions_are_stopped_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.aws.time.sleep", lambda _: None)
    modules = {sys.modules[f.__module__] for f in (workflow.start, aws.sagemaker)}
    cached = [f for m in modules for f in vars(m).values() if hasattr(f, "cache_clear")]
    for client in cached:
        client.cache_clear()
    arn = workflow.start(NAMES.training, {"Trigger": "manual"})
    assert workflow.running(NAMES.training) == [arn]
    destroy.stop_all(NAMES.training)
    assert workflow.running(NAMES.training) == []
    for client in cached:
        client.cache_clear()


def test_workflow_that_is_gone_needs_no_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> list[str]:
        raise ClientError(
            {"Error": {"Code": "ResourceNotFound", "Message": "It does not exist."}}, "List"
        )

    monkeypatch.setattr(workflow, "running", refuse)
    destroy.stop_all(NAMES.training)
