"""What the project owns outside its stacks: found, shown, and deleted after a question only."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from support.fake_sagemaker import ACCOUNT, ARN, BUCKET, FakeSageMaker, RefusalError, Request, find
from typer.testing import CliRunner

from ops import OpsError, aws, destroy, outside, workflow
from ops import __main__ as command_line
from workflows import names

NAMES = names.Names()

pytest_plugins = ["support.lambda_account"]

ROOT = Path(__file__).parents[1]
PROJECT = names.PROJECT
ENDPOINT = getattr(NAMES, "endpoint", PROJECT)
FIRST, SECOND = f"{PROJECT}-1-20260131120000000", f"{PROJECT}-2-20260201120000000"
TAGS = {"project": PROJECT, "made-by": "lambdas/deploy.py"}
KINDS = "endpoint-config", "model"
FIND_STACKS = aws.stacks


class Account(FakeSageMaker):
    """A SageMaker with endpoints, configurations and models, all of which may have tags.

    Attributes:
        known: Names by kind, in the order of their making; for endpoints with the status.
        tags: Tags by ARN.
        deployments_end: After so many looks at an endpoint its deployment is over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, dict[str, str]] = {"endpoint": {}, "endpoint-config": {}, "model": {}}
        self.tags: dict[str, dict[str, str]] = {}
        self.deployments_end = 3
        for operation, kind in (
            ("Endpoint", "endpoint"),
            ("EndpointConfig", "endpoint-config"),
            ("Model", "model"),
        ):
            self.operations[f"List{operation}s"] = self._lister(operation, kind)
            self.operations[f"Delete{operation}"] = self._deleter(operation, kind)
        self.operations |= {
            "DescribeEndpoint": self._describe_endpoint,
            "DescribeModel": lambda r: {"ModelArn": arn_of("model", r["ModelName"])},
            "ListModelPackages": lambda _: {
                "ModelPackageSummaryList": [{"ModelPackageArn": p} for p in self.packages]
            },
            "ListTags": lambda r: {
                "Tags": [
                    {"Key": k, "Value": v} for k, v in self.tags.get(r["ResourceArn"], {}).items()
                ]
            },
        }

    def add(self, kind: str, name: str, tags: dict[str, str] | None = None) -> None:
        self.known[kind][name] = "InService"
        self.tags[arn_of(kind, name)] = tags or {}

    def deploy(self, name: str, tags: dict[str, str] | None = None) -> None:
        """Put what a deployment to the endpoint makes."""
        if ENDPOINT not in self.known["endpoint"]:
            self.add("endpoint", ENDPOINT, tags)
        self.add("endpoint-config", name, tags)
        self.add("model", name, tags)

    def names(self) -> dict[str, list[str]]:
        return {kind: list(found) for kind, found in self.known.items()}

    def _lister(self, operation: str, kind: str) -> Any:
        def answer(request: Request) -> Request:
            found = [name for name in self.known[kind] if request["NameContains"] in name]
            entries = [
                {f"{operation}Name": name, f"{operation}Arn": arn_of(kind, name)} for name in found
            ]
            return {f"{operation}s": entries}

        return answer

    def _deleter(self, operation: str, kind: str) -> Any:
        def answer(request: Request) -> Request:
            name = request[f"{operation}Name"]
            status = find(self.known[kind], name)  # type: ignore[arg-type] # a status, here
            if str(status) in ("Creating", "Updating"):
                arn = arn_of(kind, name)
                raise RefusalError(f'Cannot update in-progress endpoint "{arn}".')
            del self.known[kind][name]
            return {}

        return answer

    def _describe_endpoint(self, request: Request) -> Request:
        name = request["EndpointName"]
        status = str(find(self.known["endpoint"], name))  # type: ignore[arg-type] # a status, here
        if status in ("Creating", "Updating"):
            self.deployments_end -= 1
            if not self.deployments_end:
                self.known["endpoint"][name] = status = "InService"
        return {"EndpointName": name, "EndpointStatus": status}


def arn_of(kind: str, name: str) -> str:
    return f"{ARN}:{kind}/{name}"


@pytest.fixture
def account(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account that the commands look at; nobody has to be at the terminal."""
    fake = Account()
    answer: Any = fake
    session.events.register("before-call.sagemaker", answer)
    for cached in (aws.s3, aws.sagemaker, aws.account):
        cached.cache_clear()
    monkeypatch.setattr(aws, "stacks", list)
    monkeypatch.setattr("ops.aws.time.sleep", lambda _: None)
    yield fake
    session.events.unregister("before-call.sagemaker", answer)
    for cached in (aws.s3, aws.sagemaker, aws.account):
        cached.cache_clear()


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "require_consent", lambda **_: None)


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


def ops(*arguments: str, typed: str = "") -> tuple[int, str]:
    """Run a command; its exit status, and what it says in one line."""
    result = CliRunner().invoke(command_line.app, arguments, input=typed, env={"COLUMNS": "500"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


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
    assert outside.everything() == outside.Outside([ENDPOINT], [FIRST], [FIRST])
    monkeypatch.setenv("USECASE_ENVIRONMENT", "dev")
    status, _ = ops("destroy", "--yes")
    assert (status, account.names(), stopped) == (0, single, list(dev.workflows))
    # All but the base, in the order of their names.
    gone = " ".join(sorted(dev.stacks[1:]))
    assert npx.read_text().splitlines()[-1].endswith(f"--force {gone}")


@pytest.mark.usefixtures("at_a_terminal")
def test_endpoint_that_batch_has_left_behind_is_shown_and_deleted_on_request(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made in real-time mode, by an earlier version even; then the answer became batch."""
    account.deploy(FIRST)
    monkeypatch.setattr(outside, "SERVING", "batch")
    key = f"capture/{PROJECT}/AllTraffic/2026/01/31/12/a.jsonl"
    aws.s3().put_object(Bucket=BUCKET, Key=key, Body=b"")
    before = account.names()
    status, said = ops("leftovers", "--after-deployment")
    assert (status, account.names()) == (0, before)
    costs = f"endpoint {ENDPOINT} (costs money"
    for part in (costs, FIRST, f"s3://{BUCKET}/capture/ (objects: 1;"):
        assert part in said
    assert "uv run ops leftovers --remove --data" in said
    assert ops("leftovers", "--remove", "--data", typed="n\n")[0] == 1
    assert account.names() == before
    assert ops("leftovers", "--remove", typed="y\n")[0] == 0
    # The newest of the models predicts now.
    assert account.names() == {"endpoint": [], "endpoint-config": [], "model": [FIRST]}
    assert list(aws.keys("capture/")) == [key]
    assert ops("leftovers", "--data", "--yes")[0] == 0
    assert not list(aws.keys("capture/"))
    assert ops("leftovers") == (0, "Nothing is left over from other answers.")
    assert ops("leftovers", "--after-deployment") == (0, "")


def test_models_and_data_that_an_endpoint_has_no_use_for_are_shown(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside, "SERVING", "endpoint")
    account.add("model", FIRST, {"project": PROJECT, "made-by": "lambdas/batch.py"})
    account.deploy(SECOND, TAGS)
    for key in ("predictions/day=2026-01-31/a.parquet", "scored/day=2026-01-31.json"):
        aws.s3().put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert outside.left_over(outside.everything()) == outside.Outside(models=[FIRST])
    # The table of predictions is that of all modes.
    assert outside.old_data() == ["scored/"]


def test_deployment_by_who_may_not_look_does_not_fail(
    account: Account,
) -> None:
    def refuse(_: Request) -> Request:
        raise RefusalError("not today")

    account.operations["ListEndpoints"] = refuse
    status, said = ops("leftovers", "--after-deployment")
    assert status == 0
    assert "unknown" in said
    with pytest.raises(ClientError, match="not today"):
        ops("leftovers")


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
