"""Who looks at the dashboard: tokens as the load balancer makes them, and all others."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from dashboard import identity
from dashboard.identity import Expected, NotSignedIn, Person, of_session, person
from workflows import dashboard

ARN = (
    "arn:aws:elasticloadbalancing:ap-northeast-1:123456789012:loadbalancer/app/flights/50dc6c495c0c"
)
POOL, CLIENT = "ap-northeast-1_Example12", "4n5o6p7q8r9s0t1u2v3w4x5y6z"
SUB = "24f59737-6c30-445e-8bc4-d29e04672b39"
KEY_NAME = "d2c1f3a4-0b5e-4c6d-8e7f-9a0b1c2d3e4f"
POOL_KEY_NAME = "pool-key"
ALB_KEY = ec.generate_private_key(ec.SECP256R1())
POOL_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Keys(BaseHTTPRequestHandler):
    """The public keys of a region's load balancers, and of a user pool."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(POOL_KEY.public_key(), as_dict=True)
        jwks = {"keys": [{**jwk, "kid": POOL_KEY_NAME, "alg": "RS256", "use": "sig"}]}
        known = {
            f"/keys/{KEY_NAME}": pem(ALB_KEY),
            f"/{POOL}/.well-known/jwks.json": json.dumps(jwks).encode(),
        }
        self.send_response(200 if self.path in known else 404)
        self.end_headers()
        self.wfile.write(known.get(self.path, b""))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def expected(server: str, monkeypatch: pytest.MonkeyPatch) -> Expected:
    for name in (identity.LOCAL, *identity.CONTAINER):
        monkeypatch.delenv(name, raising=False)
    Keys.asked.clear()
    identity.load_balancer_key.cache_clear()
    identity.user_pool_keys.cache_clear()
    return Expected(ARN, CLIENT, f"{server}/{POOL}", f"{server}/keys")


def segment(content: dict[str, Any] | bytes) -> str:
    """A part of a token as the load balancer writes it: with the padding that JWTs do not have."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode()


def data(
    expected: Expected,
    header: dict[str, Any] | None = None,
    key: ec.EllipticCurvePrivateKey = ALB_KEY,
    **claims: Any,
) -> str:
    """A token of the load balancer: ES256 over the padded parts, with the signature as R‖S."""
    end = int(time.time()) + 120
    made = {
        "typ": "JWT",
        "kid": KEY_NAME,
        "alg": "ES256",
        "iss": expected.issuer,
        "client": CLIENT,
        "signer": ARN,
        "exp": end,
    } | (header or {})
    told = {
        "sub": SUB,
        "email_verified": "true",
        "email": "aiko@example.com",
        "username": SUB,
        "exp": end,
        "iss": expected.issuer,
    } | claims
    signed = f"{segment(made)}.{segment(told)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{segment(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def access(
    expected: Expected,
    *groups: str,
    key: rsa.RSAPrivateKey = POOL_KEY,
    kid: str = POOL_KEY_NAME,
    **claims: Any,
) -> str:
    """An access token of the user pool."""
    now = int(time.time())
    told = {
        "sub": SUB,
        **({"cognito:groups": list(groups)} if groups else {}),
        "iss": expected.issuer,
        "client_id": CLIENT,
        "token_use": "access",
        "scope": "openid email",
        "auth_time": now,
        "iat": now,
        "exp": now + 3600,
        "username": SUB,
    } | claims
    return jwt.encode(told, key, "RS256", headers={"kid": kid})


def sent(expected: Expected, *groups: str, **claims: Any) -> dict[str, str]:
    """The headers that the load balancer adds to a request."""
    return {
        "X-Amzn-Oidc-Data": data(expected, **claims),
        "X-Amzn-Oidc-Accesstoken": access(expected, *(groups or ("viewer",))),
        "X-Amzn-Oidc-Identity": SUB,
    }


@pytest.mark.parametrize("name", ["a@example.com", "ab@example.com", "abc@example.com"])
def test_padded_tokens_of_the_load_balancer_are_believed(expected: Expected, name: str) -> None:
    """Of each length that a part can have, with the padding that the signature covers."""
    headers = sent(expected, email=name)
    assert headers["X-Amzn-Oidc-Data"].endswith("==")
    assert person(headers, expected) == Person(name, may_approve=False)


def test_group_approver_may_approve(expected: Expected) -> None:
    assert person(sent(expected, "viewer", "approver"), expected).may_approve
    assert not person(sent(expected, "viewer", "approvers"), expected).may_approve


def test_person_of_no_group_sees_nothing(expected: Expected) -> None:
    """Whoever a company's own identity provider lets in is in the user pool, in its own group."""
    headers = sent(expected) | {"X-Amzn-Oidc-Accesstoken": access(expected)}
    with pytest.raises(NotSignedIn, match=r"aiko@example\.com is in neither group"):
        person(headers, expected)
    with pytest.raises(NotSignedIn, match="in neither group"):
        person(sent(expected, "pool_Company"), expected)


def test_groups_that_the_load_balancer_tells_of_do_not_count(expected: Expected) -> None:
    """They would be an attribute that the person may have entered."""
    headers = sent(expected, **{"cognito:groups": ["approver"]})
    assert not person(headers, expected).may_approve


@pytest.mark.parametrize("verified", ["false", False, None])
def test_address_that_is_not_verified_is_nobodys_name(expected: Expected, verified: object) -> None:
    headers = sent(expected, email="boss@example.com", email_verified=verified)
    assert person(headers, expected).name == SUB


def test_keys_are_fetched_once(expected: Expected) -> None:
    for _ in range(3):
        person(sent(expected), expected)
    assert sorted(Keys.asked) == sorted([f"/keys/{KEY_NAME}", f"/{POOL}/.well-known/jwks.json"])


@pytest.mark.parametrize("missing", ["X-Amzn-Oidc-Data", "X-Amzn-Oidc-Accesstoken"])
def test_missing_header_is_refused(expected: Expected, missing: str) -> None:
    headers = sent(expected)
    for left in ({}, {missing: ""}):
        with pytest.raises(NotSignedIn, match=f"{missing.lower()}: missing"):
            person({k: v for k, v in headers.items() if k != missing} | left, expected)


PAST = int(time.time()) - 60


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"signer": ARN.replace("flights", "theirs")}, "signer is"),
        ({"signer": None}, "signer is None"),
        ({"client": "another"}, "client is 'another'"),
        ({"iss": "https://cognito-idp.ap-northeast-1.amazonaws.com/another"}, "iss is"),
        ({"exp": PAST}, "has expired"),
        ({"exp": None}, "has expired"),
        ({"exp": "never"}, "has expired"),
        ({"kid": str(uuid.uuid4())}, "has no key of the load balancer .404"),
        ({"kid": f"../{POOL}/.well-known/jwks.json"}, "must be a UUID"),
        ({"kid": f"{KEY_NAME}/../{KEY_NAME}"}, "must be a UUID"),
        ({"kid": f"{KEY_NAME}\n"}, "must be a UUID"),
        ({"kid": "@evil.example/key"}, "must be a UUID"),
        ({"kid": "https://evil.example/key"}, "must be a UUID"),
        ({"kid": ""}, "must be a UUID"),
        ({"kid": None}, "x-amzn-oidc-data"),
    ],
)
def test_tokens_of_others_are_refused_though_their_signature_is_right(
    expected: Expected, header: dict[str, Any], reason: str
) -> None:
    headers = sent(expected) | {"X-Amzn-Oidc-Data": data(expected, header)}
    with pytest.raises(NotSignedIn, match=reason):
        person(headers, expected)
    if "kid" not in header:  # nobody has the app fetch something without being who they must be
        assert not Keys.asked


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": PAST}, "expired"),
        ({"iss": "https://evil.example"}, "[Ii]ssuer"),
        ({"sub": "another"}, "another person's"),
    ],
)
def test_claims_of_the_load_balancer_must_be_right_too(
    expected: Expected, claims: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NotSignedIn, match=reason):
        person(sent(expected, **claims), expected)


def test_forged_tokens_of_the_load_balancer_are_refused(expected: Expected) -> None:
    good = data(expected)
    header, claims, signature = good.split(".")
    boss = segment({**json.loads(base64.urlsafe_b64decode(claims)), "email": "boss@example.com"})
    unsigned = segment({**json.loads(base64.urlsafe_b64decode(header)), "alg": "none"})
    symmetric = segment({**json.loads(base64.urlsafe_b64decode(header)), "alg": "HS256"})
    mac = hmac.new(pem(ALB_KEY), f"{symmetric}.{claims}".encode(), hashlib.sha256).digest()
    stripped = ".".join(part.rstrip("=") for part in good.split("."))
    assert stripped.split(".")[0] != header or stripped.split(".")[1] != claims
    for forged in (
        data(expected, key=ec.generate_private_key(ec.SECP256R1())),
        f"{header}.{boss}.{signature}",
        f"{header}.{claims}.",
        f"{unsigned}.{claims}.",
        f"{symmetric}.{claims}.{segment(mac)}",
        stripped,  # the signature covers the padding
        f"{header}.{claims}",
        "not a token",
        "..",
        "é.ü.ö",
    ):
        with pytest.raises(NotSignedIn, match="x-amzn-oidc-data"):
            person(sent(expected) | {"X-Amzn-Oidc-Data": forged}, expected)


def test_access_tokens_of_others_are_refused(expected: Expected) -> None:
    another = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = access(expected, "viewer")
    header, _, signature = good.split(".")
    approver = access(expected, "approver", key=another).split(".")[1]
    for forged, reason in (
        (access(expected, "approver", key=another), "verification failed"),
        (access(expected, "approver", kid="another"), "signing key"),
        (access(expected, "approver", token_use="id"), "token_use is 'id'"),  # noqa: S106
        (access(expected, "approver", client_id="another"), "client_id is 'another'"),
        (access(expected, "approver", iss="https://evil.example"), "[Ii]ssuer"),
        (access(expected, "approver", exp=PAST), "expired"),
        (access(expected, "approver", sub="another"), "another person's"),
        (f"{header}.{approver}.{signature}", "verification failed"),
        (jwt.encode({"sub": SUB}, "", "none", headers={"kid": POOL_KEY_NAME}), "alg"),
        ("not a token", "x-amzn-oidc-accesstoken"),
    ):
        headers = sent(expected) | {"X-Amzn-Oidc-Accesstoken": forged}
        with pytest.raises(NotSignedIn, match=reason):
            person(headers, expected)


def test_keys_that_cannot_be_fetched_let_nobody_in(expected: Expected) -> None:
    nobody = "http://127.0.0.1:1"
    for other in (replace(expected, keys=nobody), replace(expected, issuer=nobody)):
        headers = sent(other)
        with pytest.raises(NotSignedIn, match="x-amzn-oidc"):
            person(headers, other)


def test_session_outlives_its_first_token_by_an_hour_at_most(
    expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamlit shows an app the headers that the connection began with, however old."""
    now, session, headers = time.time(), dict[str, Any](), sent(expected, "approver")
    # Another connection of the session has another token, perhaps of another person.
    later = {"exp": int(now) + 420}
    again = {
        **sent(expected, "viewer"),
        "X-Amzn-Oidc-Data": data(expected, later, email="kenji@example.com"),
    }
    first = of_session(headers, session, expected)
    monkeypatch.setattr(time, "time", lambda: now + 300)
    with pytest.raises(NotSignedIn, match="has expired"):
        person(headers, expected)
    assert of_session(headers, session, expected) == first
    with pytest.raises(NotSignedIn, match="has expired"):
        of_session(headers, {}, expected)
    assert of_session(again, session, expected) == Person("kenji@example.com", may_approve=False)
    monkeypatch.setattr(time, "time", lambda: now + 300 + identity.SESSION_SECONDS)
    with pytest.raises(NotSignedIn, match="has expired"):
        of_session(again, session, expected)


def test_service_is_told_whose_tokens_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(identity.LOCAL, raising=False)
    told = {dashboard.LOAD_BALANCER: ARN, dashboard.USER_POOL: POOL, dashboard.CLIENT: CLIENT}
    for name, value in told.items():
        monkeypatch.delenv(name, raising=False)
        with pytest.raises(NotSignedIn, match=f"{name}.*not set.*poe dashboard"):
            person({})
        monkeypatch.setenv(name, value)
    assert Expected.configured() == Expected(
        load_balancer=ARN,
        client=CLIENT,
        issuer=f"https://cognito-idp.ap-northeast-1.amazonaws.com/{POOL}",
        keys="https://public-keys.auth.elb.ap-northeast-1.amazonaws.com",
    )
    with pytest.raises(NotSignedIn, match="missing; come through the load balancer"):
        person({})


def test_local_identity_is_marked_and_no_container_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in identity.CONTAINER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(identity.LOCAL, "aiko")
    assert person({}) == Person("local: aiko", may_approve=True)
    for name in identity.CONTAINER:
        with monkeypatch.context() as container:
            container.setenv(name, "1")
            with pytest.raises(NotSignedIn, match=f"set in a container .there is {name}"):
                person({})
