"""The runtime API: InvokeEndpoint, protocol rest-json."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import botocore.session
import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from local_aws.sagemaker.capture import Invocation, Payload
from local_aws.sagemaker.endpoints import Hosting, hosting
from local_aws.sagemaker.fleet import Fleet, Variant
from local_aws.sagemaker.metrics import Observation

if TYPE_CHECKING:
    from local_aws.sagemaker.service import Service

Response = tuple[int, dict[str, str], bytes]

MAX_BODY = 6_291_456
"""Bytes of a real-time request (runtime model, shape BodyBlob)."""
MAX_SERVERLESS_BODY = 4 * 1024**2
"""Bytes of a request to a serverless variant ("Invoke a serverless endpoint")."""

_TIMEOUT_SECONDS = 60.0
_PATH = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/(?P<operation>[^/]+)")
_DEFAULT_CONTENT_TYPE = "application/octet-stream"
_CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
_FORWARDED = (
    _CUSTOM_ATTRIBUTES,
    _INFERENCE_ID,
    "x-amzn-sagemaker-target-model",
    "x-amzn-sagemaker-session-id",
)
_RETURNED = (
    _CUSTOM_ATTRIBUTES,
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
)
_log = logging.getLogger(__name__)


class _RuntimeError(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, code: str | None, message: str, **members: object) -> None:
        super().__init__(message)
        kind = {} if code is None else {"x-amzn-errortype": code}
        self.response: Response = (
            status,
            {"content-type": "application/json", **kind},
            json.dumps({"Message": message, "message": message, **members}).encode(),
        )


def invoke(
    service: Service, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Response:
    """Answers one HTTP request to the runtime.

    Blocks until the model has answered, for a minute at most; call it in a thread.

    Args:
        service: the service.
        method: the HTTP method.
        path: the path, with or without query.
        headers: the request's headers, in any case.
        body: the request's body.

    Returns:
        Status, headers and body.
    """
    match = _PATH.fullmatch(urlsplit(path).path)
    try:
        if match is None or method != "POST":
            raise _RuntimeError(
                404, "UnknownOperationException", f"No operation at {method} {path}"
            )
        if match["operation"] != "invocations":
            message = f"The local AWS does not know {match['operation']}, only invocations"
            raise _RuntimeError(501, "NotImplemented", message)
        lower = {name.lower(): value for name, value in headers.items()}
        endpoint = unquote(match["endpoint"])
        return _invoke(_Request(service, endpoint, lower, body, datetime.now(UTC)))
    except _RuntimeError as error:
        return error.response


@dataclass(frozen=True)
class _Request:
    """One InvokeEndpoint; header names are in lower case."""

    service: Service
    endpoint: str
    headers: Mapping[str, str]
    body: bytes
    received: datetime

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", _DEFAULT_CONTENT_TYPE)


def _invoke(request: _Request) -> Response:
    _check_headers(request.headers)
    if len(request.body) > MAX_BODY:
        raise _RuntimeError(413, None, f"HTTP content length exceeded {MAX_BODY} bytes.")
    present = hosting(request.service)
    with present.host.request(request.endpoint) as fleet:
        if fleet is None:
            raise _no_fleet(request, present)
        server = _choose(request, fleet)
        response = _call(request, present, server)
        if fleet.capture is not None and not server.serverless:
            present.capture.capture(
                fleet.capture,
                request.endpoint,
                server.name,
                Invocation(
                    Payload(request.content_type, request.body),
                    Payload(_content_type(response), response.data),
                    request.received,
                    request.headers.get(_INFERENCE_ID),
                    request.headers.get(_CUSTOM_ATTRIBUTES),
                ),
            )
    answer = {
        "content-type": _content_type(response),
        "x-amzn-invoked-production-variant": server.name,
    }
    answer |= {name: response.headers[name] for name in _RETURNED if name in response.headers}
    return 200, answer, response.data


def _choose(request: _Request, fleet: Fleet) -> Variant:
    target = request.headers.get("x-amzn-sagemaker-target-variant")
    server = fleet.choose(target)
    if server is None:
        message = f"Variant {target} of endpoint {request.endpoint} not found."
        raise _RuntimeError(400, "ValidationError", message)
    if server.serverless and len(request.body) > MAX_SERVERLESS_BODY:
        raise _RuntimeError(400, "ValidationError", f"Request {uuid.uuid4()} has oversize body.")
    return server


def _call(request: _Request, present: Hosting, server: Variant) -> urllib3.BaseHTTPResponse:
    """Calls the container, and counts the call.

    Raises:
        _RuntimeError: ModelError, when the answer is not a success.
    """
    headers = request.headers
    sent = {name: headers[name] for name in _FORWARDED if name in headers}
    sent["content-type"] = request.content_type
    sent["accept"] = headers.get("x-amzn-sagemaker-accept") or headers.get("accept") or "*/*"
    start = time.perf_counter()
    try:
        response = server.invoke(request.body, sent, _TIMEOUT_SECONDS)
    except HTTPError as error:
        present.metrics.observe(Observation(request.endpoint, server.name, 0, None))
        raise _no_answer(request, error) from error
    latency = round((time.perf_counter() - start) * 1_000_000)
    observation = Observation(request.endpoint, server.name, response.status, latency)
    present.metrics.observe(observation)
    if not 200 <= response.status < 300:
        raise _model_error(request, response.status, response.data.decode(errors="replace"))
    return response


def _content_type(response: urllib3.BaseHTTPResponse) -> str:
    return response.headers.get("content-type", _DEFAULT_CONTENT_TYPE)


def _no_fleet(request: _Request, present: Hosting) -> _RuntimeError:
    service, endpoint = request.service, request.endpoint
    if present.closed:
        return _RuntimeError(503, "ServiceUnavailable", "The local AWS is being stopped.")
    stored = service.store.get("Endpoint", endpoint)
    if stored is not None and stored["EndpointStatus"] == "SystemUpdating":
        return _RuntimeError(
            503, "ServiceUnavailable", f"Endpoint {endpoint} is starting again; retry."
        )
    account = service.settings.account
    return _RuntimeError(
        400, "ValidationError", f"Endpoint {endpoint} of account {account} not found."
    )


def _no_answer(request: _Request, error: Exception) -> _RuntimeError:
    if isinstance(error, ReadTimeoutError):
        text = (
            "Your invocation timed out while waiting for a response from container primary. Review "
            "the latency metrics for each container in Amazon CloudWatch, resolve the issue, and "
            "try again."
        )
    else:
        _log.warning("endpoint %s: %s", request.endpoint, error)
        text = f"Amazon SageMaker could not get a response from the {request.endpoint} endpoint."
    return _model_error(request, 0, text)


def _model_error(request: _Request, status: int, text: str) -> _RuntimeError:
    region, account = request.service.settings.region, request.service.settings.account
    group = f"/aws/sagemaker/Endpoints/{request.endpoint}"
    side = "client" if 400 <= status < 500 else "server"
    return _RuntimeError(
        424,
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{text}". See '
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logEventViewer:group={group} in account {account} for more information.",
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=f"arn:aws:logs:{region}:{account}:log-group:{group}",
    )


def _check_headers(headers: Mapping[str, str]) -> None:
    """Checks the length of each header that the runtime's model declares."""
    for name, (member, low, high) in _header_limits().items():
        length = len(headers[name]) if name in headers else low
        if not low <= length <= high:
            side, limit = ("greater", low) if length < low else ("less", high)
            raise _RuntimeError(
                400,
                "ValidationError",
                f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
                f"Member must have length {side} than or equal to {limit}",
            )


@cache
def _header_limits() -> dict[str, tuple[str, int, int]]:
    """Header name in lower case to the member's name and its least and greatest length."""
    model = botocore.session.Session().get_service_model("sagemaker-runtime")
    shape = model.operation_model("InvokeEndpoint").input_shape
    return {
        member.serialization["name"].lower(): (
            name[0].lower() + name[1:],
            member.metadata.get("min", 0),
            member.metadata["max"],
        )
        for name, member in (shape.members.items() if shape else ())
        if member.serialization.get("location") == "header"
    }
