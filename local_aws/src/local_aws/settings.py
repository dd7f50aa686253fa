"""What one local AWS is started with."""

from __future__ import annotations

import os
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
    """

    data_dir: Path
    port: int
    region: str
    account: str = "000000000000"
    isolation: str = "environment"
    stop_grace_seconds: float = 120.0
    endpoints: Mapping[str, str] = field(default_factory=dict)
    longest_bake_seconds: float = field(
        default_factory=lambda: float(os.environ.get(LONGEST_BAKE, "inf"))
    )

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
        }
