"""Whether the dashboard can be deployed, as `ops doctor` says it."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from support.dashboard import CERTIFICATE, DOMAIN, HOSTING

from ops import dashboard as checks
from usecase.errors import UseCaseError
from workflows import dashboard, names
from workflows.dashboard import Hosting

pytest_plugins = ["support.lambda_account"]

Answer = Callable[..., Stubber]


@pytest.fixture
def certificate(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Answer:  # noqa: ARG001 - its credentials
    """Has Certificate Manager answer with a certificate."""
    monkeypatch.setattr(dashboard, "load", lambda *_: HOSTING)
    client = boto3.client("acm", region_name=names.REGION)
    stub = Stubber(client)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)
    stub.activate()

    def answer(**found: Any) -> Stubber:
        whole = {"CertificateArn": CERTIFICATE, "Status": "ISSUED", "DomainName": DOMAIN} | found
        wanted = {"CertificateArn": CERTIFICATE}
        stub.add_response("describe_certificate", {"Certificate": whole}, wanted)
        return stub

    answer.refuse = stub.add_client_error  # type: ignore[attr-defined]  # of the same stub
    return answer


def test_project_without_a_domain_is_told_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "load", lambda *_: Hosting())
    ((state, text, fix),) = checks.check()
    assert state == "look"
    assert "dashboard/hosting.toml names no domain" in text
    assert "docs/dashboard.md" in fix


def test_file_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> Hosting:
        raise UseCaseError("dashboard/hosting.toml: domain: no")

    monkeypatch.setattr(dashboard, "load", load)
    assert [*checks.check()] == [("wrong", "dashboard/hosting.toml: domain: no", "")]


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"DomainName": "*.example.com"},
        {"DomainName": "example.com", "SubjectAlternativeNames": ["example.com", DOMAIN]},
    ],
)
def test_certificate_that_is_right(certificate: Answer, found: dict[str, Any]) -> None:
    certificate(**found)
    ((state, text, _),) = checks.check()
    assert (state, DOMAIN in text) == ("ok", True)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"Status": "PENDING_VALIDATION"}, "is PENDING_VALIDATION, must be ISSUED"),
        ({"Status": "EXPIRED"}, "is EXPIRED, must be ISSUED"),
        ({"DomainName": "example.com"}, f"is for example.com, and not for {DOMAIN}"),
        ({"DomainName": "*.com"}, "and not for"),
        ({"DomainName": f"*.{DOMAIN}"}, "and not for"),
    ],
)
def test_certificate_that_is_not(certificate: Answer, found: dict[str, Any], text: str) -> None:
    certificate(**found)
    ((state, told, fix),) = checks.check()
    assert state == "wrong"
    assert text in told
    assert fix


def test_certificate_that_may_not_be_looked_at(certificate: Answer) -> None:
    certificate.refuse("describe_certificate", "AccessDeniedException", "no")  # type: ignore[attr-defined]  # see above
    ((state, text, _),) = checks.check()
    assert state == "unknown"
    assert "could not be checked: the certificate" in text
