"""The runtime API: which operation a request is, and InvokeEndpoint."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.core.roles import Need
from local_aws.sagemaker.hosting import async_inference
from local_aws.sagemaker.hosting.capture import Invocation, Payload
from local_aws.sagemaker.hosting.fleet import Fleet
from local_aws.sagemaker.hosting.metrics import Observation
from local_aws.sagemaker.hosting.running import Hosting, hosting
from local_aws.sagemaker.hosting.runtime_requests import (
    ACCEPT,
    CUSTOM_ATTRIBUTES,
    DEFAULT_CONTENT_TYPE,
    INFERENCE_ID,
    Request,
    Response,
    RuntimeFault,
    check_headers,
    invalid,
    model_error,
)
from local_aws.sagemaker.hosting.serving import ServingError
from local_aws.sagemaker.hosting.variant import Unavailable, Variant

if TYPE_CHECKING:
    from local_aws.sagemaker.core.roles import Session
    from local_aws.sagemaker.core.service import Service

__all__ = ["MAX_BODY", "OPERATIONS", "Response", "invoke"]

MAX_BODY = 6_291_456
"""Bytes of a real-time request (runtime model, shape BodyBlob)."""

ANSWER_SECONDS = 60.0
"""How long a model may take to answer."""
_PATH = re.compile(r"/endpoints/(?P<endpoint>[^/]+)/(?P<operation>[^/]+)")
_FORWARDED = (
    CUSTOM_ATTRIBUTES,
    INFERENCE_ID,
    "x-amzn-sagemaker-target-model",
    "x-amzn-sagemaker-session-id",
)
_RETURNED = (
    CUSTOM_ATTRIBUTES,
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
)
_log = logging.getLogger(__name__)


def invoke(
    service: Service, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Response:
    """Answers one HTTP request to the runtime.

    Blocks until the model has answered, for a minute at most; call it in a thread.

    Args:
        service: The service.
        method: The HTTP method.
        path: The path, with or without query.
        headers: The request's headers, in any case.
        body: The request's body.

    Returns:
        Status, headers and body.
    """
    match = _PATH.fullmatch(urlsplit(path).path)
    try:
        if match is None or method != "POST":
            raise RuntimeFault(404, "UnknownOperationException", f"No operation at {method} {path}")
        if match["operation"] not in OPERATIONS:
            message = (
                f"The local AWS does not know {match['operation']}, only {' and '.join(OPERATIONS)}"
            )
            raise RuntimeFault(501, "NotImplemented", message)
        lower = {name.lower(): value for name, value in headers.items()}
        endpoint = unquote(match["endpoint"])
        request = Request(service, endpoint, lower, body, datetime.now(UTC))
        return OPERATIONS[match["operation"]](request)
    except RuntimeFault as error:
        return error.response


def refusal(service: Service, path: str, session: Session | None) -> Response | None:
    """The answer to a session that may not invoke an endpoint; None where it may.

    Args:
        service: The service.
        path: The path, with or without query.
        session: Who calls; None for the account itself.
    """
    match = _PATH.fullmatch(urlsplit(path).path)
    action = _ACTIONS.get(match["operation"]) if match else None
    if match is None or action is None:
        return None
    arn = service.arn("Endpoint", unquote(match["endpoint"]))
    try:
        service.roles.authorize(session, [Need(action, (arn,))])
    except ApiError as error:
        return RuntimeFault(403, error.code, error.message).response
    return None


def _invoke(request: Request) -> Response:
    """Answers with what the model server answers, within a minute; both sides may be captured."""
    check_headers("InvokeEndpoint", request.headers)
    if len(request.body) > MAX_BODY:
        raise RuntimeFault(413, None, f"HTTP content length exceeded {MAX_BODY} bytes.")
    present = hosting(request.service)
    with present.host.request(request.endpoint) as fleet:
        if fleet is None:
            raise request.unanswered(present.closing.is_set())
        variant = _choose(request, fleet)
        response = _call(request, present, fleet, variant)
        if fleet.capture is not None and variant.captured:
            present.capture.capture(
                fleet.capture,
                request.endpoint,
                variant.name,
                Invocation(
                    Payload(request.content_type, request.body),
                    Payload(_content_type(response), response.data),
                    request.received,
                    request.headers.get(INFERENCE_ID),
                    request.headers.get(CUSTOM_ATTRIBUTES),
                ),
            )
    answer = {
        "content-type": _content_type(response),
        "x-amzn-invoked-production-variant": variant.name,
    }
    answer |= {name: response.headers[name] for name in _RETURNED if name in response.headers}
    return 200, answer, response.data


OPERATIONS = {"invocations": _invoke, "async-invocations": async_inference.accept}
"""What answers, by the last part of the path."""

_ACTIONS = {
    "invocations": "sagemaker:InvokeEndpoint",
    "async-invocations": "sagemaker:InvokeEndpointAsync",
}


def _choose(request: Request, fleet: Fleet) -> Variant:
    if fleet.asynchronous:
        raise invalid(
            f"Endpoint {request.endpoint} is for asynchronous inference: use InvokeEndpointAsync."
        )
    target = request.headers.get("x-amzn-sagemaker-target-variant")
    variant = fleet.choose(target)
    if variant is None:
        raise invalid(f"Variant {target} of endpoint {request.endpoint} not found.")
    if variant.largest_body is not None and len(request.body) > variant.largest_body:
        raise invalid(f"Request {uuid.uuid4()} has oversize body.")
    return variant


def _call(
    request: Request, present: Hosting, fleet: Fleet, variant: Variant
) -> urllib3.BaseHTTPResponse:
    """Calls the container, and counts the call.

    Raises:
        RuntimeFault: ModelError, when the answer is not a success.
    """
    headers = request.headers
    sent = {name: headers[name] for name in _FORWARDED if name in headers}
    sent["content-type"] = request.content_type
    sent["accept"] = headers.get(ACCEPT) or headers.get("accept") or "*/*"

    def count(status: int, latency: int | None) -> None:
        config = fleet.config["EndpointConfigName"]
        instances = max(1, variant.instances)
        present.metrics.observe(
            Observation(request.endpoint, variant.name, status, latency, config, instances)
        )

    try:
        with variant.instance() as server:
            start = time.perf_counter()
            response = server.invoke(request.body, sent, ANSWER_SECONDS)
    except Unavailable as error:
        raise RuntimeFault(error.status, error.code, error.text) from error
    except ServingError as error:
        count(0, None)
        raise model_error(request.service, request.endpoint, 500, str(error)) from error
    except HTTPError as error:
        count(0, None)
        raise _no_answer(request, error) from error
    count(response.status, round((time.perf_counter() - start) * 1_000_000))
    if not 200 <= response.status < 300:
        text = response.data.decode(errors="replace")
        raise model_error(request.service, request.endpoint, response.status, text)
    return response


def _content_type(response: urllib3.BaseHTTPResponse) -> str:
    return response.headers.get("content-type", DEFAULT_CONTENT_TYPE)


def _no_answer(request: Request, error: Exception) -> RuntimeFault:
    if isinstance(error, ReadTimeoutError):
        text = (
            "Your invocation timed out while waiting for a response from container primary. Review "
            "the latency metrics for each container in Amazon CloudWatch, resolve the issue, and "
            "try again."
        )
    else:
        _log.warning("endpoint %s: %s", request.endpoint, error)
        text = f"Amazon SageMaker could not get a response from the {request.endpoint} endpoint."
    return model_error(request.service, request.endpoint, 0, text)
