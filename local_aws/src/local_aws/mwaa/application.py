"""The HTTP side of Amazon MWAA, as an ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from local_aws.mwaa import protocol
from local_aws.mwaa.operations import OPERATIONS, needs
from local_aws.mwaa.protocol import RestApiError
from local_aws.sagemaker.application import (
    Receive,
    Scope,
    Send,
    access_key,
    headers_of,
    read,
    respond,
)
from local_aws.sagemaker.core.protocol import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_aws.mwaa.environments import Environments

_JSON = {"content-type": "application/json"}
_log = logging.getLogger(__name__)


class Application:
    """Answers the requests to MWAA.

    Attributes:
        resumed: Set once what a former process has left is taken up; requests wait for it.
    """

    def __init__(self, environments: Environments) -> None:
        """Serve environments.

        Args:
            environments: Them; whoever makes them resumes and closes them.
        """
        self.resumed = asyncio.Event()
        self._environments = environments
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="mwaa")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await self.resumed.wait()
        body = await read(receive)
        loop = asyncio.get_running_loop()
        status, headers, answer = await loop.run_in_executor(
            self._pool, self._answer, scope, headers_of(scope), body
        )
        await respond(send, status, headers, answer)

    def _answer(
        self, scope: Scope, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            return 200, _JSON, self._call(scope, headers, body)
        except RestApiError as error:
            document: object = error.answer
            code, status = error.code, error.status
        except ApiError as error:
            document, code, status = {"message": error.message}, error.code, error.status
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            document = {"message": "The request failed; see the log"}
            code, status = "InternalServerException", 500
        return status, {**_JSON, "x-amzn-errortype": code}, json.dumps(document).encode()

    def _call(self, scope: Scope, headers: Mapping[str, str], body: bytes | None) -> bytes:
        if body is None:
            raise ApiError("RequestEntityTooLarge", "The request is too large", 413)
        roles = self._environments.service.roles
        session = roles.caller(access_key(headers))
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        call = protocol.find(scope["method"], path)
        operation = OPERATIONS.get(call.operation)
        if operation is None:
            raise ApiError(
                "NotImplemented", f"The local AWS does not know MWAA's {call.operation}", 501
            )
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        request = protocol.parse(call, query, body)
        try:
            roles.authorize(session, needs(self._environments, call.operation, request))
        except ApiError as error:
            raise ApiError(error.code, error.message, 403) from None
        answer = operation(self._environments, request)
        return protocol.serialize(call.operation, answer)
