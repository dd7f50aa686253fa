"""What stands before ministack: it logs what roles call, and refuses what they may not."""

from __future__ import annotations

import dataclasses
import gzip
import uuid
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from local_aws.host import api_gateway
from local_aws.host.iam import requests
from local_aws.host.iam.requests import Request
from local_aws.host.iam.roles import IamRoles, Refusal
from local_aws.host.internals import module
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Session
from local_aws.settings import Settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Answer = tuple[int, dict[str, str], bytes]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_ASSUME = "AssumeRole"


class Gate:
    """An ASGI application before another."""

    def __init__(self, application: Application, settings: Settings, roles: IamRoles) -> None:
        """Stand before an application.

        Args:
            application: ministack.
            settings: Region and account.
            roles: Says who calls, and what they may.
        """
        self._application, self._settings, self._roles = application, settings, roles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it in the form of its service."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request = _request(scope)
        key = module("core.router").extract_access_key_id(request.headers, request.query)
        try:
            session = self._roles.caller(key)
        except ApiError as error:
            await self._answer(send, request, _unauthenticated(error, request))
            return
        assumes = "/sts/aws4_request" in request.headers.get("authorization", "")
        if session is None and not (assumes and self._roles.enforces):
            await self._application(scope, receive, send)
            return
        service = request.service
        if requests.reads_body(service, request):
            body = await _read(receive)
            receive = _again(body)
            request = dataclasses.replace(request, body=_inflated(body, request.headers))
        refusal = (
            self._refusal_of_account(service, request)
            if session is None
            else self._refusal(session, key, service, request)
        )
        if refusal is None:
            await self._application(scope, receive, send)
        else:
            await self._refuse(refusal, service, request, send)

    def _refusal(
        self, session: Session, key: str, service: str, request: Request
    ) -> Refusal | None:
        return self._roles.refusal(session, requests.needs(self._settings, service, request), key)

    def _refusal_of_account(self, service: str, request: Request) -> Refusal | None:
        """Return what refuses the account itself, which may assume only roles that let it."""
        for need in requests.needs(self._settings, service, request):
            if need.action == f"sts:{_ASSUME}":
                (role,) = need.resources
                if not self._roles.policies.lets_account_assume(role):
                    root = f"arn:aws:iam::{self._settings.account}:root"
                    return Refusal(need.action, role, root, explicit=False)
        return None

    async def _refuse(self, refusal: Refusal, service: str, request: Request, send: Send) -> None:
        if asked := request.invocation:
            answer = api_gateway.denied(asked, refusal.message, request.headers, request.query)
            await self._answer(send, request, answer)
            return
        answer = module("core.iam_actions").access_denied_response(
            service,
            refusal.action,
            refusal.principal,
            str(uuid.uuid4()),
            message=refusal.message,
            headers=request.headers,
            resource_arn=refusal.resource,
            explicit_deny=refusal.explicit,
        )
        await self._answer(send, request, answer)

    async def _answer(self, send: Send, request: Request, answer: Answer) -> None:
        status, headers, body = answer
        if request.method == "HEAD":
            body = b""
        sent = {**headers, "Content-Length": str(len(body))}
        encoded = [(name.encode(), value.encode()) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})


def _unauthenticated(error: ApiError, request: Request) -> Answer:
    """Return how a service says that it does not take an access key."""
    answer: Answer = module("core.iam_actions").access_denied_response(
        request.service,
        "",
        "",
        str(uuid.uuid4()),
        error_code=error.code,
        message=error.message,
        headers=request.headers,
    )
    return answer


def _request(scope: Scope) -> Request:
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return Request(scope["method"], scope["path"], query, headers)


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _inflated(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a body as it was before the client compressed it, as AWS SDKs do with large ones.

    One that is not what its header says is left for the service to refuse.
    """
    if "gzip" not in headers.get("content-encoding", "").lower():
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        return body


def _again(body: bytes) -> Receive:
    """Return what gives a body that was read already, and then waits as for a client."""
    told = False

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
