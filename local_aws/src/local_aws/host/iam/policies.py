"""What the policies of a role allow, by ministack's evaluator and the roles that it stores.

The evaluator follows "Policy evaluation logic" of the IAM User Guide for one account: a statement
that denies decides, then one that allows, within the permissions boundary and session policies;
resources with policies of their own are asked too. What is not known here must refuse nothing: a
condition on a key that has no value here counts as met where a statement allows, and a statement
that denies under it is left out; a managed policy of AWS that ministack does not have may allow
anything. Both are named.
"""

from __future__ import annotations

import contextvars
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from local_aws.host.iam.calls import Decision
from local_aws.host.internals import module
from local_aws.sagemaker.core.roles import Need, Session
from local_aws.settings import Settings

_MANAGED = "arn:aws:iam::aws:policy/"
# Condition keys that the evaluator has for every request ("AWS global condition context keys").
_GLOBAL_KEYS = frozenset(
    {
        "aws:currenttime",
        "aws:epochtime",
        "aws:multifactorauthpresent",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principaltype",
        "aws:requestedregion",
        "aws:resourceaccount",
        "aws:securetransport",
        "aws:sourceip",
        "aws:tagkeys",
        "aws:tokenissuetime",
        "aws:userid",
        "aws:username",
        "s3:resourceaccount",
    }
)
_GLOBAL_PREFIXES = ("aws:requesttag/", "aws:principaltag/")
# Where ministack's resources have policies of their own; it calls some services by other names.
_RESOURCE_POLICIES = ("s3", "sqs", "sns", "lambda")


def apply() -> None:
    """Let conditions on aws:PrincipalArn see the role of a session, which is no ARN of STS.

    AWS: IAM User Guide, "AWS global condition context keys", aws:PrincipalArn
    """
    evaluator = module("core.iam_evaluator")
    original = evaluator._resolve_condition_key

    def resolve(key: str, context: Any) -> Any:  # noqa: ANN401 - ministack has no types
        session = f":sts::{context.principal_account}:assumed-role/"
        if key.lower() != "aws:principalarn" or session not in context.principal_arn:
            return original(key, context)
        name = context.principal_arn.partition(session)[2].partition("/")[0]
        roles = module("services.iam")._roles
        record = roles.get_scoped(context.principal_account, None, name)
        return record["Arn"] if record else None

    evaluator._resolve_condition_key = resolve


class Policies:
    """The policies of the roles of an account."""

    def __init__(self, settings: Settings) -> None:
        """Name the account and the region.

        Args:
            settings: The settings of the local AWS.
        """
        self._settings = settings

    def role(self, arn: str) -> dict[str, Any] | None:
        """Return the record of a role, if it is there."""
        name = arn.rpartition("/")[2]
        found = module("services.iam")._roles.get_scoped(self._settings.account, None, name)
        return found if found is not None and found["Arn"] == arn else None

    def trusts(self, arn: str, service: str) -> bool:
        """Tell whether a role is there and its trust policy lets a service assume it.

        Args:
            arn: ARN of the role.
            service: The service's principal, for example `lambda.amazonaws.com`.
        """
        record = self.role(arn)
        if record is None:
            return False
        document = record["AssumeRolePolicyDocument"]
        if isinstance(document, str):
            document = json.loads(document)
        written = document["Statement"]
        statements = [
            statement
            for statement in ([written] if isinstance(written, dict) else written)
            if service in _services(statement.get("Principal"))
        ]
        evaluator = module("core.iam_evaluator")
        principal = evaluator.PrincipalInfo(service, "Service", self._settings.account, None)
        given = {"aws:SourceAccount": self._settings.account}
        context = self._context(principal, "sts:AssumeRole", arn, given)
        policy = evaluator.parse_policy_document({"Statement": statements})
        readable = _Readable([policy], context)
        return bool(evaluator.evaluate(context, readable.policies).decision == "Allow")

    def lets_account_assume(self, arn: str) -> bool:
        """Tell whether a role is there and its trust policy lets the account itself assume it."""
        record = self.role(arn)
        if record is None:
            return False
        evaluator = module("core.iam_evaluator")
        account = self._settings.account
        root = evaluator.PrincipalInfo(f"arn:aws:iam::{account}:root", "Root", account, None)
        context = self._context(root, "sts:AssumeRole", arn, {})
        # Not its trust evaluator, which takes the account for any service.
        policy = record["AssumeRolePolicyDocument"]
        return bool(evaluator.evaluate_resource_policy(policy, context).decision == "Allow")

    def decide(self, session: Session, access_key: str, need: Need) -> Decision:
        """Decide about one permission.

        Args:
            session: Who acts.
            access_key: The session's access key, under which ministack knows it.
            need: What it needs.
        """
        record = self.role(session.role)
        if record is None:
            return Decision(None, need.resources[0], unknown=("the role is not there",))
        decisions = [
            self._decide(access_key, need, resource, _unknown_policies(record))
            for resource in need.resources
        ]
        # The first that allows it; else one that cannot be told; else the first.
        for wanted in (True, None):
            for decision in decisions:
                if decision.allowed is wanted:
                    return decision
        return decisions[0]

    def _decide(
        self, access_key: str, need: Need, resource: str, unknown: tuple[str, ...]
    ) -> Decision:
        evaluator = module("core.iam_evaluator")
        principal = evaluator.resolve_principal(access_key, self._settings.account)
        if isinstance(principal, evaluator.AuthError):  # the session has expired
            return Decision(None, resource, unknown=(principal.message,))
        context = self._context(principal, need.action, resource, need.context)
        layers = [principal.policies, *principal.limits]
        readable = [_Readable(layer, context) for layer in layers]
        result = evaluator.evaluate(context, *(layer.policies for layer in readable))
        result = contextvars.copy_context().run(self._with_resource, context, result)
        allowed: bool | None = result.decision == "Allow"
        explicit = result.decision == "Deny"
        named = tuple(sorted({key for layer in readable for key in layer.unknown}))
        if not allowed and not explicit and unknown:
            allowed, named = None, (*named, *unknown)
        return Decision(allowed, resource, explicit, named)

    def _with_resource(self, context: Any, result: Any) -> Any:  # noqa: ANN401
        """Add what the resource's own policy says; ministack keeps the account in the context."""
        evaluator, responses = module("core.iam_evaluator"), module("core.responses")
        service = context.action.partition(":")[0]
        if context.action == "sts:AssumeRole":
            record = self.role(context.resource_arn)
            trust = record["AssumeRolePolicyDocument"] if record else None
            account = self._settings.account
            return evaluator.combine_resource_policy(result, context, trust, account, required=True)
        if service not in _RESOURCE_POLICIES:
            return result
        responses.set_request_account_id(self._settings.account)
        responses.set_request_region(self._settings.region)
        found = evaluator._resource_policy(service, context.resource_arn)
        if found is None:
            return result
        return evaluator.combine_resource_policy(result, context, *found)

    def _context(
        self,
        principal: Any,  # noqa: ANN401 - ministack has no types
        action: str,
        resource: str,
        context: Mapping[str, object],
    ) -> Any:  # noqa: ANN401 - as above
        return module("core.iam_evaluator").EvalContext(
            principal_arn=principal.arn,
            principal_type=principal.type,
            principal_account=self._settings.account,
            action=action,
            resource_arn=resource,
            region=self._settings.region,
            source_ip="127.0.0.1",
            secure_transport=True,  # HTTP to this machine stands for HTTPS to AWS
            service_context={key.lower(): value for key, value in context.items()},
            principal_keys=principal.keys,
        )


class _Readable:
    """The policies of one layer without what has no value here.

    Attributes:
        policies: What is to be evaluated.
        unknown: The condition keys that were left out of statements that would match.
    """

    def __init__(self, policies: list[list[Any]], context: Any) -> None:  # noqa: ANN401
        self._context = context
        self.unknown: set[str] = set()
        self.policies = [
            [kept for statement in policy if (kept := self._read(statement)) is not None]
            for policy in policies
        ]

    def _read(self, statement: Any) -> Any:  # noqa: ANN401 - ministack has no types
        blocks = {
            operator: block
            for operator, block in statement.conditions.items()
            if isinstance(block, dict)
        }
        unknown = {key for block in blocks.values() for key in block if not self._known(key)}
        if not unknown:
            return statement
        rest = {
            operator: {key: value for key, value in block.items() if key not in unknown}
            for operator, block in blocks.items()
        }
        without = dataclasses.replace(statement, conditions=rest)
        evaluator = module("core.iam_evaluator")
        if evaluator.evaluate(self._context, [[without]]).decision == "ImplicitDeny":
            return statement  # it does not match, whatever the values are
        self.unknown |= unknown
        return without if statement.effect == "Allow" else None

    def _known(self, key: str) -> bool:
        lower = key.lower()
        return (
            lower in _GLOBAL_KEYS
            or lower.startswith(_GLOBAL_PREFIXES)
            or lower in self._context.service_context
            or lower in self._context.principal_keys
        )


def _unknown_policies(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the managed policies of AWS that a role has and ministack does not know."""
    known = module("services.iam").policy_known
    attached = record.get("AttachedPolicies", [])
    return tuple(arn for arn in attached if arn.startswith(_MANAGED) and not known(arn))


def _services(principal: object) -> list[str]:
    """Return the services that a statement's Principal names."""
    named = principal.get("Service", []) if isinstance(principal, dict) else []
    return [named] if isinstance(named, str) else list(named)
