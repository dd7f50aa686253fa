"""Which permissions a request to ministack's services needs.

ministack knows actions and most resources of its services (`core.iam_actions`); what it leaves out
and our stacks' policies name is added here, after the Service Authorization Reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from local_aws.host import api_gateway
from local_aws.host.internals import module
from local_aws.sagemaker.core.roles import Need
from local_aws.settings import Settings

_LISTING_KEYS = ("s3:prefix", "s3:delimiter", "s3:max-keys")
_STREAM_ACTIONS = ("logs:CreateLogStream", "logs:PutLogEvents", "logs:GetLogEvents")
# Where requests of other services hand over a role: the member, and who is to assume it.
_PASSED = {
    "lambda": ("Role", "lambda.amazonaws.com"),
    "states": ("roleArn", "states.amazonaws.com"),
    "scheduler": ("RoleArn", "scheduler.amazonaws.com"),
    "events": ("RoleArn", "events.amazonaws.com"),
}


@dataclass(frozen=True)
class Request:
    """An HTTP request as far as it matters here.

    Attributes:
        method: HTTP method.
        path: Path, decoded.
        query: Query parameters, each with its values.
        headers: Headers, names in lower case.
        body: The body; empty where it does not tell what is asked for.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def service(self) -> str:
        """The service, as ministack calls it."""
        name = module("core.router").detect_service(
            self.method, self.path, self.headers, self.query
        )
        return str(name)

    @property
    def invocation(self) -> api_gateway.Invocation | None:
        """What it asks of an API of API Gateway, if it does."""
        return api_gateway.invocation(self.path, self.headers.get("host", ""))


def reads_body(service: str, request: Request) -> bool:
    """Tell whether the body says what is asked for: that of S3 is an object's, but for one."""
    return service != "s3" or (request.method == "POST" and "delete" in request.query)


def needs(settings: Settings, service: str, request: Request) -> list[Need]:
    """Return what a request needs; nothing for one that no action stands for.

    Args:
        settings: Region and account.
        service: `Request.service`.
        request: The request.
    """
    if asked := request.invocation:
        if not api_gateway.asks_iam(asked, request.method):
            return []
        method = f"{asked.api}/{asked.stage}/{request.method}{asked.path}"
        resource = f"arn:aws:execute-api:{settings.region}:{settings.account}:{method}"
        return [Need(api_gateway.INVOKE, (resource,))]
    if service == "monitoring":
        return _cloudwatch(settings, request)
    actions = module("core.iam_actions")
    query = _parameters(request)
    action = actions.extract_iam_action(
        service, request.method, request.path, request.headers, request.body, query
    )
    if action is None or action == "sts:GetCallerIdentity":  # which no policy can refuse
        return []
    resource = actions.extract_resource_arn(
        service,
        request.method,
        request.path,
        request.headers,
        request.body,
        query,
        settings.region,
        settings.account,
    )
    found = [Need(action, (resource,), _context(service, action, request))]
    if service == "s3":
        found += [
            Need(also, (on,))
            for also, on in actions.s3_additional_checks(
                request.method, request.path, request.headers, request.body, request.query
            )
        ]
    elif service == "logs":
        found = [Need(action, (_log_resource(action, resource, request),))]
    elif action == "sts:AssumeRole":
        found = [Need(action, (_first(query, "RoleArn"),))]
    return found + _passed(service, request)


def _cloudwatch(settings: Settings, request: Request) -> list[Need]:
    """CloudWatch authorizes alarms by name, and metrics by the condition on their namespace."""
    target = request.headers.get("x-amz-target", "")
    body = _json(request.body)
    form = _parameters(request)
    action = target.rpartition(".")[2] or _first(form, "Action")
    if not action:
        return []
    prefix = f"arn:aws:cloudwatch:{settings.region}:{settings.account}:alarm:"
    names = body.get("AlarmNames") or [
        values[0] for key, values in form.items() if key.startswith("AlarmNames.member.")
    ]
    name = body.get("AlarmName") or _first(form, "AlarmName")
    named = [*names, *([name] if name else [])]
    if named:
        return [Need(f"cloudwatch:{action}", (f"{prefix}{each}",)) for each in named]
    if action.startswith("DescribeAlarm"):
        return [Need(f"cloudwatch:{action}", (f"{prefix}*",))]
    namespace = body.get("Namespace") or _first(form, "Namespace") or None
    context = {"cloudwatch:namespace": namespace} if action == "PutMetricData" else {}
    return [Need(f"cloudwatch:{action}", context=context)]


def _context(service: str, action: str, request: Request) -> dict[str, object]:
    if service != "s3":
        return {}
    given: Mapping[str, object] = module("core.iam_actions").s3_service_context(
        action, request.query, request.path, request.headers
    )
    listing = action in ("s3:ListBucket", "s3:ListBucketVersions")
    return {**(dict.fromkeys(_LISTING_KEYS) if listing else {}), **given}


def _log_resource(action: str, resource: str, request: Request) -> str:
    """Return a log group or stream as policies name them."""
    stream = _json(request.body).get("logStreamName")
    if action in _STREAM_ACTIONS and stream:
        return f"{resource}:log-stream:{stream}"
    return resource if resource == "*" else f"{resource}:*"


def _passed(service: str, request: Request) -> list[Need]:
    """Return iam:PassRole for each role that a request hands to its service."""
    if service not in _PASSED or request.method not in ("POST", "PUT"):
        return []
    member, principal = _PASSED[service]
    found = dict.fromkeys(_members(_json(request.body), member))
    return [Need("iam:PassRole", (arn,), {"iam:PassedToService": principal}) for arn in found]


def _members(value: object, member: str) -> list[str]:
    """Return the values of a member that names a role, at any depth."""
    if isinstance(value, dict):
        own = value.get(member)
        inner = [arn for item in value.values() for arn in _members(item, member)]
        return ([own] if isinstance(own, str) and ":role/" in own else []) + inner
    if isinstance(value, list):
        return [arn for item in value for arn in _members(item, member)]
    return []


def _parameters(request: Request) -> dict[str, list[str]]:
    """Return the query with the form that a request's body may be."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("application/x-www-form-urlencoded"):
        return request.query
    form = parse_qs(request.body.decode(errors="replace"), keep_blank_values=True)
    return {**form, **request.query}


def _first(parameters: Mapping[str, list[str]], name: str) -> str:
    return parameters.get(name, [""])[0]


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
