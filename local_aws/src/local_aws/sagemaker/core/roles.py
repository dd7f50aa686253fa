"""Who acts, and whether that is allowed: what the service asks of IAM, where there is an IAM.

`Roles` is what SageMaker alone has: credentials are the same for everybody, and nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_aws.settings import Settings

PRINCIPAL = "sagemaker.amazonaws.com"
"""How the trust policies of roles name SageMaker."""


@dataclass(frozen=True)
class Session:
    """A role that somebody has assumed.

    Attributes:
        role: ARN of the role.
        name: The session's name; services take one of their own, as SageMaker does here.
    """

    role: str
    name: str = "SageMaker"


@dataclass(frozen=True)
class Need:
    """One permission that a call needs.

    Attributes:
        action: For example `sagemaker:CreateModel`.
        resources: ARNs, or `*` for an action that knows no resources; one allowed is enough.
        context: Values of condition keys; None for one that the request does not have.
        doubt: What about the check is not known, if anything; then it is logged, and never refused.
    """

    action: str
    resources: tuple[str, ...] = ("*",)
    context: Mapping[str, object] = field(default_factory=dict)
    doubt: str = ""


class Roles:
    """Roles where nobody looks at them."""

    def __init__(self, settings: Settings) -> None:
        """Name the settings, which have credentials that do for everything."""
        self._settings = settings

    def credentials(self, session: Session | None) -> dict[str, str]:
        """Return AWS credentials of a session, as environment variables.

        Args:
            session: The session; None for the account itself.
        """
        del session
        return self._settings.credentials()

    def caller(self, access_key: str) -> Session | None:
        """Return the session whose access key signed a request; None for the account itself.

        Raises:
            ApiError: Calls are refused, and a temporary key is unknown or has expired.
        """
        del access_key
        return None

    def authorize(self, session: Session | None, needs: Iterable[Need]) -> None:
        """Take note of what a session does, and refuse what it may not.

        Args:
            session: Who calls; the account itself may do everything.
            needs: All that the call needs.

        Raises:
            ApiError: It may not (AccessDeniedException).
        """

    def check_trust(self, role: str, service: str) -> None:
        """Refuse a role that a service may not assume.

        Args:
            role: ARN of the role.
            service: The service's principal, for example `states.amazonaws.com`.

        Raises:
            ApiError: The role is not there, or its trust policy does not name the service.
        """
