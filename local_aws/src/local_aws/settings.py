"""What one local AWS is started with."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of one running local AWS.

    Attributes:
        data_dir: Folder of everything that is kept; nothing is written outside it.
        port: TCP port on 127.0.0.1 where all services answer.
        region: AWS region that ARNs and clients carry.
        account: Account id in ARNs.
        isolation: How a container sees ``/opt/ml``: namespace, bubblewrap or environment.
        stop_grace_seconds: Seconds from SIGTERM to SIGKILL when a job is stopped; AWS waits 120.
    """

    data_dir: Path
    port: int
    region: str
    account: str = "000000000000"
    isolation: str = "environment"
    stop_grace_seconds: float = 120.0

    @property
    def endpoint_url(self) -> str:
        """Base URL of every service, as ``AWS_ENDPOINT_URL`` takes it."""
        return f"http://127.0.0.1:{self.port}"
