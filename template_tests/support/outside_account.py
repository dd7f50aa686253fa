"""An account with endpoints, configurations and models, which belong to no stack."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from support.fake_sagemaker import ARN, FakeSageMaker, RefusalError, Request, find
from typer.testing import CliRunner

from ops import __main__ as command_line
from ops import aws, destroy, outside
from workflows import names

PROJECT = names.PROJECT
ENDPOINT = getattr(names.Names(), "endpoint", PROJECT)
FIRST, SECOND = f"{PROJECT}-1-20260131120000000", f"{PROJECT}-2-20260201120000000"
TAGS = {"project": PROJECT, "made-by": "lambdas/deploy.py"}
KINDS = "endpoint-config", "model"


class Account(FakeSageMaker):
    """A SageMaker with endpoints, configurations and models, all of which may have tags.

    Attributes:
        known: Names by kind, in the order of their making; for endpoints with the status.
        tags: Tags by ARN.
        kinds: What the configurations have besides a name, by name.
        deployments_end: After so many looks at an endpoint its deployment is over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, dict[str, str]] = {"endpoint": {}, "endpoint-config": {}, "model": {}}
        self.tags: dict[str, dict[str, str]] = {}
        self.kinds: dict[str, Request] = {}
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
            "DescribeEndpointConfig": self._describe_config,
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

    def _describe_config(self, request: Request) -> Request:
        name = request["EndpointConfigName"]
        find(self.known["endpoint-config"], name)  # type: ignore[arg-type] # a status, here
        return self.kinds.get(name, {"ProductionVariants": [{}]})

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
    monkeypatch.setattr(aws, "deployed", set)
    monkeypatch.setattr(outside, "model_role", lambda: None)
    monkeypatch.setattr("ops.aws.time.sleep", lambda _: None)
    yield fake
    session.events.unregister("before-call.sagemaker", answer)
    for cached in (aws.s3, aws.sagemaker, aws.account):
        cached.cache_clear()


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destroy, "require_consent", lambda **_: None)


def ops(*arguments: str, typed: str = "") -> tuple[int, str]:
    """Run a command; its exit status, and what it says in one line."""
    result = CliRunner().invoke(command_line.app, arguments, input=typed, env={"COLUMNS": "500"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())
