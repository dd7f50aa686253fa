"""What one local AWS is started with."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NEIGHBOURS = {
    "s3": "S3",
    "logs": "CLOUDWATCH_LOGS",
    "cloudwatch": "CLOUDWATCH",
    "events": "EVENTBRIDGE",
    "sns": "SNS",
    "sqs": "SQS",
    "lambda": "LAMBDA",
}
"""Services that SageMaker uses, by boto3's names, and how AWS spells them in AWS_ENDPOINT_URL_…."""

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""What AWS's tools read their credentials from."""

LONGEST_BAKE = "LOCAL_AWS_LONGEST_BAKE"
"""Environment variable for `Settings.longest_bake_seconds`."""

CAPTURE_MINUTES = "LOCAL_AWS_CAPTURE_MINUTES"
"""Environment variable for `Settings.capture_minutes`."""

DUPLICATE_EVENTS = "LOCAL_AWS_DUPLICATE_EVENTS"
"""Environment variable for `Settings.duplicate_events`."""

IAM = "LOCAL_AWS_IAM"
"""Environment variable for `Settings.iam`."""

ENFORCE = "enforce"
"""What `Settings.iam` is where calls are refused that the caller's role does not allow."""

SWITCHES = (LONGEST_BAKE, CAPTURE_MINUTES, DUPLICATE_EVENTS, IAM)
"""Environment variables that the process of a local AWS reads its settings from."""

# How to reach package indexes, and caches.
_INSTALLING = re.compile(
    r"HOME|LANG|TMPDIR|NETRC|XDG_(?:CACHE|CONFIG)_HOME"
    r"|(?i:https?|all|no)_(?i:proxy)|SSL_CERT_(?:FILE|DIR)|(?:REQUESTS|CURL)_CA_BUNDLE"
    r"|PIP_(?:CACHE_DIR|CERT|CONFIG_FILE|(?:EXTRA_)?INDEX_URL|FIND_LINKS|TRUSTED_HOST)"
    r"|UV_(?:CACHE_DIR|CONCURRENT_\w+|CONFIG_FILE|(?:EXTRA_)?INDEX_URL|FIND_LINKS|HTTP_TIMEOUT"
    r"|(?:DEFAULT_)?INDEX|INDEX_STRATEGY|INDEX_\w+_(?:USERNAME|PASSWORD)|INSECURE_HOST"
    r"|KEYRING_PROVIDER|NATIVE_TLS|OFFLINE|SYSTEM_CERTS)"
)


def installing() -> dict[str, str]:
    """Return what pip and uv may see of this process's environment when they install packages."""
    return {name: value for name, value in os.environ.items() if _INSTALLING.fullmatch(name)}


class SettingError(ValueError):
    """An environment variable has a value that is none of its kind."""


def _number(name: str, default: float, most: float = math.inf) -> float:
    """Return the number in an environment variable.

    Raises:
        SettingError: It is not a number from 0 to `most`.
    """
    text = os.environ.get(name, "")
    try:
        value = float(text or default)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        limits = "of 0 or more" if most == math.inf else f"from 0 to {most:g}"
        raise SettingError(f"{name}={text}: set it to a number {limits}, or unset it")
    return value


def _iam() -> str:
    """Return what is to be done with calls that a role does not allow.

    Raises:
        SettingError: It is neither of the two.
    """
    text = os.environ.get(IAM) or "log"
    if text not in ("log", ENFORCE):
        raise SettingError(f"{IAM}={text}: set it to log or {ENFORCE}, or unset it")
    return text


def check_environment(*, alone: bool) -> None:
    """Check the environment variables that `Settings` reads, without an AWS to start.

    Args:
        alone: Whether SageMaker is to run alone, where nobody knows the policies of roles.

    Raises:
        SettingError: One has no value of its kind, or none that can be kept.
    """
    if Settings(Path(), 0, "").iam == ENFORCE and alone:
        raise SettingError(f"{IAM}={ENFORCE}: SageMaker alone has no IAM; unset it")


@dataclass(frozen=True)
class Settings:
    """Settings of one running local AWS.

    Attributes:
        data_dir: Folder of everything that is kept; nothing is written outside it.
        port: TCP port on 127.0.0.1 where all services answer.
        region: AWS region that ARNs and clients carry.
        account: Account id in ARNs.
        isolation: How a container sees `/opt/ml`: namespace, bubblewrap or environment.
        stop_grace_seconds: Seconds from SIGTERM to SIGKILL when a job is stopped; AWS waits 120.
        endpoints: URLs of others' services by boto3's names, where SageMaker runs alone.
        longest_bake_seconds: Upper limit of each wait of an endpoint's deployment, for those who
            watch a rehearsal; without it they are as long as requests say.
        capture_minutes: Minutes until a captured invocation is in S3, as on AWS it is late.
        duplicate_events: Fraction of the events that come twice, as on AWS any may.
        iam: What is done with calls of a role that its policies do not allow: `log` or
            `enforce`, which refuses them.
        installing: Environment in which packages are installed for Airflow's environments.
    """

    data_dir: Path
    port: int
    region: str
    account: str = "000000000000"
    isolation: str = "environment"
    stop_grace_seconds: float = 120.0
    endpoints: Mapping[str, str] = field(default_factory=dict)
    longest_bake_seconds: float = field(default_factory=lambda: _number(LONGEST_BAKE, math.inf))
    capture_minutes: float = field(default_factory=lambda: _number(CAPTURE_MINUTES, 0.0))
    duplicate_events: float = field(default_factory=lambda: _number(DUPLICATE_EVENTS, 0.0, 1.0))
    iam: str = field(default_factory=_iam)
    installing: Mapping[str, str] = field(default_factory=installing, repr=False)

    @property
    def endpoint_url(self) -> str:
        """Base URL of every service, as `AWS_ENDPOINT_URL` takes it."""
        return f"http://127.0.0.1:{self.port}"

    def endpoint_of(self, service: str) -> str:
        """Return the base URL of a service by boto3's name."""
        return self.endpoints.get(service, self.endpoint_url)

    def credentials(self) -> dict[str, str]:
        """Return AWS credentials as environment variables.

        Any will do for our own services; others' get those of this process's environment.
        """
        if self.endpoints and "AWS_ACCESS_KEY_ID" in os.environ:
            return {name: os.environ[name] for name in CREDENTIALS if name in os.environ}
        return {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    def client_environment(self) -> dict[str, str]:
        """Return the environment in which AWS's tools and libraries reach these services."""
        return {
            # What SageMaker alone does not have, it refuses by name: nothing goes to the real AWS.
            "AWS_ENDPOINT_URL": self.endpoint_url,
            **{f"AWS_ENDPOINT_URL_{NEIGHBOURS[name]}": url for name, url in self.endpoints.items()},
            **self.credentials(),
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            # Amazon MWAA's clients would call api.127.0.0.1, a name that nobody knows.
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }
