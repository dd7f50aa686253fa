"""Who looks at the dashboard: what the load balancer says of the person, verified.

An Application Load Balancer that signs people in with Cognito sends two tokens with each request:
`x-amzn-oidc-data`, the attributes of the person, which it has signed itself, and
`x-amzn-oidc-accesstoken`, which the user pool has signed and which alone has the person's groups.
Both count only if they are of this load balancer, this user pool and the same person. See
"Authenticate users using an Application Load Balancer" in its user guide, and "Understanding the
access token" in the developer guide of Cognito.
"""

import os
import re
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import jwt
import urllib3

from workflows.dashboard import APPROVER, CLIENT, LOAD_BALANCER, USER_POOL, VIEWER

DATA = "x-amzn-oidc-data"
ACCESS = "x-amzn-oidc-accesstoken"
LOCAL = "DASHBOARD_LOCAL_IDENTITY"
"""The environment variable that `poe dashboard` alone sets: who has started it is who looks."""
CONTAINER = ("ECS_CONTAINER_METADATA_URI_V4", "DASHBOARD_IMAGE")
"""Environment variables that containers alone have: of ECS, and of the dashboard's image."""
SESSION_SECONDS = 3600
"""A session goes on for so long before the person is verified again."""
SESSION = "identity"
LEEWAY_SECONDS = 10
"""So far may the clocks of AWS be from this one."""
TIMEOUT_SECONDS = 5
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What the load balancer's keys are called. Anything else in a URL could lead elsewhere."""


class NotSignedIn(Exception):  # noqa: N818 - it is how a request stands, not what went wrong
    """Nobody is known to have sent a request; the message says why."""


@dataclass(frozen=True)
class Person:
    """Who looks.

    Attributes:
        name: The verified email address, or the name in the user pool.
        may_approve: Whether the person may approve, reject and roll back versions.
    """

    name: str
    may_approve: bool


@dataclass(frozen=True)
class Expected:
    """Whose tokens count.

    Attributes:
        load_balancer: ARN of the load balancer.
        client: ID of its app client in the user pool.
        issuer: URL of the user pool; the pool's keys are below it.
        keys: URL that the load balancer's keys are below.
    """

    load_balancer: str
    client: str
    issuer: str
    keys: str

    @classmethod
    def configured(cls) -> Self:
        """What the service was told in its environment variables.

        Raises:
            NotSignedIn: When one is missing.
        """
        missing = [name for name in (LOAD_BALANCER, USER_POOL, CLIENT) if not os.environ.get(name)]
        if missing:
            raise NotSignedIn(
                f"{', '.join(missing)}: not set, so nobody can be verified. On AWS the stack sets "
                "them; anywhere else, start the dashboard with `uv run poe dashboard`"
            )
        arn = os.environ[LOAD_BALANCER]
        partition, region = arn.split(":")[1], arn.split(":")[3]
        keys = f"https://public-keys.auth.elb.{region}.amazonaws.com"
        if partition == "aws-us-gov":
            keys = f"https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}"
        return cls(
            load_balancer=arn,
            client=os.environ[CLIENT],
            issuer=f"https://cognito-idp.{region}.amazonaws.com/{os.environ[USER_POOL]}",
            keys=keys,
        )


@dataclass(frozen=True)
class Verified:
    """A person whom a session knows.

    Attributes:
        person: The person.
        token: The load balancer's token that told of the person.
        until: Until when the session may go on, in seconds since 1970.
    """

    person: Person
    token: str | None
    until: float


def of_session(
    headers: Mapping[str, str],
    session: MutableMapping[str, Any],
    expected: Expected | None = None,
) -> Person:
    """The person of a session, verified as it begins and whenever the load balancer signs anew.

    The load balancer's token is good for two minutes. A session keeps its connection, and so the
    headers that this began with, for as long as the page is open.

    Args:
        headers: The headers of the request that the session's connection began with.
        session: What the server remembers of the session.
        expected: Whose tokens count; as `person`.

    Raises:
        NotSignedIn: When nobody is known to be there, or is no more after an hour.
    """
    token = sent(headers).get(DATA)
    known = session.get(SESSION)
    if isinstance(known, Verified) and known.token == token and time.time() < known.until:
        return known.person
    found = person(headers, expected)
    session[SESSION] = Verified(found, token, time.time() + SESSION_SECONDS)
    return found


def person(headers: Mapping[str, str], expected: Expected | None = None) -> Person:
    """The person who has sent a request.

    Args:
        headers: The headers of the request, in upper or lower case.
        expected: Whose tokens count; by default, as the environment variables say.

    Raises:
        NotSignedIn: When the tokens are missing, expired, forged or somebody else's, or the person
            is in no group of the dashboard.
    """
    if os.environ.get(LOCAL):
        return local(os.environ[LOCAL])
    expected = expected or Expected.configured()
    tokens = sent(headers)
    missing = [name for name in (DATA, ACCESS) if not tokens.get(name)]
    if missing:
        raise NotSignedIn(f"{', '.join(missing)}: missing; come through the load balancer")
    claims = said_by_load_balancer(tokens[DATA], expected)
    access = said_by_user_pool(tokens[ACCESS], expected)
    if access["sub"] != claims["sub"]:
        raise NotSignedIn(f"{ACCESS}: is another person's than {DATA}")
    groups = access.get("cognito:groups", [])
    name = claims["email"] if is_verified(claims) else access["username"]
    if not {VIEWER, APPROVER} & set(groups):
        raise NotSignedIn(f"{name} is in neither group of the user pool: {VIEWER}, {APPROVER}")
    return Person(name, may_approve=APPROVER in groups)


def sent(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def local(name: str) -> Person:
    """Who has started the dashboard on this machine: plainly nobody who has signed in.

    Raises:
        NotSignedIn: When this is a container, where others come by.
    """
    inside = [name for name in CONTAINER if name in os.environ]
    if inside:
        raise NotSignedIn(
            f"{LOCAL}: is set in a container (there is {inside[0]}), and is for `poe dashboard` "
            "alone; take it out"
        )
    return Person(f"local: {name}", may_approve=True)


def is_verified(claims: Mapping[str, Any]) -> bool:
    """Whether an email address is the person's: anybody could have entered another one."""
    return bool(claims.get("email")) and str(claims.get("email_verified")).lower() == "true"


def said_by_load_balancer(token: str, expected: Expected) -> dict[str, Any]:
    """The attributes of a person, in a token of the load balancer.

    Its parts are padded, which the signature covers: the library must take them as they are.

    Raises:
        NotSignedIn: When it is not of this load balancer, or not good any more.
    """
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise NotSignedIn(f"{DATA}: {error}") from None
    # A valid signature alone is that of any load balancer, of any account in the region.
    wanted = {
        "alg": "ES256",
        "signer": expected.load_balancer,
        "client": expected.client,
        "iss": expected.issuer,
    }
    for name, value in wanted.items():
        if header.get(name) != value:
            raise NotSignedIn(f"{DATA}: {name} is {header.get(name)!r}, must be {value!r}")
    kid, end = header.get("kid"), header.get("exp")
    if not isinstance(kid, str) or not UUID.fullmatch(kid):
        raise NotSignedIn(f"{DATA}: kid is {kid!r}, must be a UUID")
    if not isinstance(end, int) or end + LEEWAY_SECONDS <= time.time():
        raise NotSignedIn(f"{DATA}: has expired (exp is {end!r}); reload the page")
    key = load_balancer_key(f"{expected.keys}/{kid}")
    return verified(token, key, "ES256", expected.issuer, DATA)


def said_by_user_pool(token: str, expected: Expected) -> dict[str, Any]:
    """The claims of an access token of the user pool.

    Raises:
        NotSignedIn: When it is not of this user pool and client, or not good any more.
    """
    keys = user_pool_keys(f"{expected.issuer}/.well-known/jwks.json")
    try:
        key = keys.get_signing_key_from_jwt(token).key
    except jwt.PyJWTError as error:
        raise NotSignedIn(f"{ACCESS}: {error}") from None
    claims = verified(token, key, "RS256", expected.issuer, ACCESS)
    for name, value in {"token_use": "access", "client_id": expected.client}.items():
        if claims.get(name) != value:
            raise NotSignedIn(f"{ACCESS}: {name} is {claims.get(name)!r}, must be {value!r}")
    return claims


def verified(token: str, key: Any, algorithm: str, issuer: str, header: str) -> dict[str, Any]:  # noqa: ANN401 - a key of any kind
    """The claims of a token whose signature, issuer and time are right.

    Raises:
        NotSignedIn: When they are not.
    """
    options: jwt.types.Options = {"require": ["exp", "iss", "sub"], "verify_aud": False}
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options=options,
        )
    except jwt.PyJWTError as error:
        raise NotSignedIn(f"{header}: {error}") from None
    return claims


@lru_cache(maxsize=16)
def load_balancer_key(url: str) -> str:
    """A public key of the load balancer, as PEM. Its name is not used again for another one.

    Raises:
        NotSignedIn: When there is no such key, or it cannot be fetched.
    """
    try:
        answer = urllib3.request("GET", url, timeout=TIMEOUT_SECONDS, retries=False, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        raise NotSignedIn(f"{DATA}: {url} cannot be fetched: {error}") from None
    if answer.status != 200:
        raise NotSignedIn(f"{DATA}: {url} has no key of the load balancer ({answer.status})")
    return answer.data.decode()


@lru_cache(maxsize=1)
def user_pool_keys(url: str) -> jwt.PyJWKClient:
    """The keys of the user pool, fetched anew every five minutes."""
    return jwt.PyJWKClient(url, timeout=TIMEOUT_SECONDS)
