"""Promotion: an approved version of one environment becomes a version of another one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows import keys, names, overlays
from workflows.names import Names

if TYPE_CHECKING:
    from usecase.config import UseCase

FROM, VERSION, ARN = "PromotedFrom", "PromotedVersion", "PromotedArn"
"""What the metadata of a promoted version has of where it comes from."""
ARTIFACT, DIGEST = "ArtifactSha256", "ImageDigest"
"""What it has of what was brought: the same bytes, the same image."""
FOLDERS = f"{keys.TRAINING}promoted-"
"""What the folders of promoted versions begin with; no execution is called so."""
CONTRACT_OUTPUT = "Contract"
"""The output of the base stack with the `contract` that it was deployed with."""


@dataclass(frozen=True)
class Place:
    """Where an environment is.

    Attributes:
        environment: Its name.
        account: Its account.
        region: Its region.
    """

    environment: str
    account: str
    region: str

    @property
    def names(self) -> Names:
        """The names of its resources."""
        return Names(environment=self.environment)

    @property
    def bucket(self) -> str:
        """Its data bucket."""
        return self.names.bucket(self.account, self.region)

    @property
    def registry(self) -> str:
        """Where its images are, without the domain: the registry and the region."""
        return f"{self.account}.dkr.ecr.{self.region}"

    @property
    def role(self) -> str:
        """The role that brings versions to it; roles' names are those of all regions."""
        return self.names.of(f"promotion-{self.region}")


def place(environment: str, account: str) -> Place:
    """Where an environment is.

    Args:
        environment: Its name.
        account: The account of an environment whose file names none.
    """
    overlay = overlays.load(environment)
    region = overlay.region or names.DEFAULT_REGION
    return Place(environment, overlay.account or account, region)


def contract(use_case: "UseCase") -> str:
    """What a version has to fit to be deployed, as the SHA-256 of it in hexadecimal digits.

    Where two commits have the same, a version of one serves where the other is deployed.
    """
    numeric = set(use_case.features.numeric)
    told = {
        "inference_mode": names.INFERENCE_MODE,
        "metrics": names.QUALITY_METRICS,
        "target": use_case.target.column,
        "answer": [*use_case.target.answer],
        "features": [[name, name in numeric] for name in use_case.features.names],
        "request": vars(use_case.request) if use_case.request else None,
    }
    text = json.dumps(told, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - what JSON has no word for
    """A read-only mapping or sequence as JSON has it."""
    return dict(value) if isinstance(value, Mapping) else list(value)


def told(properties: Mapping[str, str]) -> str:
    """Where a version comes from, to be said after its number; empty of one that was trained here.

    Args:
        properties: Its metadata.
    """
    if FROM not in properties:
        return ""
    return f"is version {properties[VERSION]} of {properties[FROM]}"
