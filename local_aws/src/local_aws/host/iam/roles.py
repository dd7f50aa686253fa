"""Roles as an account has them: sessions with credentials, and policies that allow or refuse."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from local_aws.host.iam.calls import CallLog, Decision
from local_aws.host.iam.policies import Policies
from local_aws.host.internals import module
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Need, Roles, Session
from local_aws.settings import ENFORCE, Settings

ENFORCED = frozenset(
    {"s3", "sagemaker", "lambda", "sqs", "sns", "cloudwatch", "states", "airflow", "execute-api"}
) | {"iam:PassRole", "sts:AssumeRole"}
"""Services, by the prefix of their actions, and single actions that may be refused."""

# How the identifiers of temporary keys begin ("IAM identifiers", IAM User Guide).
_TEMPORARY = "ASIA"


class Refusal(NamedTuple):
    """Why a call is refused.

    Attributes:
        action: What is not allowed.
        resource: On what.
        principal: ARN of the session that may not.
        explicit: Whether a statement denies it, rather than none allowing it.
    """

    action: str
    resource: str
    principal: str
    explicit: bool

    @property
    def message(self) -> str:
        """How AWS says it ("Troubleshoot access denied error messages", IAM User Guide)."""
        reason = (
            "with an explicit deny in an identity-based policy"
            if self.explicit
            else f"because no identity-based policy allows the {self.action} action"
        )
        return (
            f"User: {self.principal} is not authorized to perform: {self.action} "
            f"on resource: {self.resource} {reason}"
        )


class IamRoles(Roles):
    """The roles of the account, by what ministack's IAM has of them."""

    def __init__(self, settings: Settings) -> None:
        """Open the log of calls.

        Args:
            settings: Account, data folder, and whether calls are refused.
        """
        super().__init__(settings)
        self.policies = Policies(settings)
        self.enforces = settings.iam == ENFORCE
        self._account = settings.account
        self._calls = CallLog(settings.data_dir)
        self._sessions: dict[str, Session] = {}

    def credentials(self, session: Session | None) -> dict[str, str]:
        """Return AWS credentials of a session, the same ones each time."""
        if session is None or not session.role:
            return super().credentials(None)
        key = self._access_key(session)
        secret, token = (_digest(word, key) for word in ("secret", "token"))
        sts = module("services.sts")
        if key not in sts._sessions:
            record = {
                "AccountId": self._account,
                "Arn": self.principal(session),
                "PrincipalType": "AssumedRole",
                "SecretAccessKey": secret,
                "SessionToken": token,
                "UserId": f"{_digest('id', session.role)[:16].upper()}:{session.name}",
            }
            sts.register_session(key, record)
            self._sessions[key] = session
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
        }

    def caller(self, access_key: str) -> Session | None:
        """Return the session whose access key signed a request; None for the account itself.

        Raises:
            ApiError: Calls are refused, and a temporary key is unknown, as those are that were
                issued before a restart (UnrecognizedClientException, which query APIs call
                InvalidClientTokenId), or has expired (ExpiredTokenException).
        """
        record = module("services.sts")._sessions.get(access_key)
        if self.enforces and access_key.startswith(_TEMPORARY):
            self._check(access_key, record)
        if found := self._sessions.get(access_key):
            return found
        if record is None or ":assumed-role/" not in record["Arn"]:
            return None
        name, _, session = record["Arn"].partition(":assumed-role/")[2].partition("/")
        role = module("services.iam")._roles.get_scoped(self._account, None, name)
        arn = role["Arn"] if role else f"arn:aws:iam::{self._account}:role/{name}"
        self._sessions[access_key] = Session(arn, session)
        return self._sessions[access_key]

    def authorize(self, session: Session | None, needs: Iterable[Need]) -> None:
        """Log what a session does; refuse what it may not."""
        if session is not None and session.role and (refusal := self.refusal(session, needs)):
            raise ApiError("AccessDeniedException", refusal.message)

    def refusal(self, session: Session, needs: Iterable[Need], key: str = "") -> Refusal | None:
        """Log what a session does, and return what refuses it, if anything does.

        Args:
            session: Who calls.
            needs: All that the call needs.
            key: The access key that the call was signed with, if it was.
        """
        if not key:
            key = self.credentials(session)["AWS_ACCESS_KEY_ID"]
        for need in needs:
            decision = self.policies.decide(session, key, need)
            if need.doubt:
                decision = decision._replace(unknown=(need.doubt, *decision.unknown))
            self._calls.write(session, need.action, decision)
            if self._refuses(need, decision):
                principal = self.principal(session)
                return Refusal(need.action, decision.resource, principal, decision.explicit)
        return None

    def check_trust(self, role: str, service: str) -> None:
        """Refuse a role that a service may not assume, where calls are refused."""
        if self.enforces and not self.policies.trusts(role, service):
            raise ApiError(
                "ValidationException",
                f"Could not assume role {role}. Please ensure that the role exists and allows "
                f"principal '{service}' to assume the role.",
            )

    def principal(self, session: Session) -> str:
        """Return the ARN by which IAM calls a session."""
        name = session.role.rpartition("/")[2]
        return f"arn:aws:sts::{self._account}:assumed-role/{name}/{session.name}"

    def _check(self, access_key: str, record: Mapping[str, Any] | None) -> None:
        """Refuse a temporary key that is not in force; ministack forgets those that have expired.

        Errors: "Common Error Types" of the API references.
        """
        if record is None and access_key not in self._sessions:
            raise ApiError(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        if record is None or record.get("Expiration", math.inf) < time.time():
            raise ApiError(
                "ExpiredTokenException", "The security token included in the request is expired"
            )

    def _refuses(self, need: Need, decision: Decision) -> bool:
        enforced = {need.action, need.action.partition(":")[0]} & ENFORCED
        if not self.enforces or not enforced or need.doubt:
            return False
        # A role that is not there allows nothing.
        return decision.allowed is False or "the role is not there" in decision.unknown

    def _access_key(self, session: Session) -> str:
        return f"{_TEMPORARY}{_digest(session.role, session.name)[:16].upper()}"


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
