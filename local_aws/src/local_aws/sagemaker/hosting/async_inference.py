"""InvokeEndpointAsync: takes a request into the queue of its endpoint."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from local_aws.sagemaker.hosting.running import hosting
from local_aws.sagemaker.hosting.runtime_requests import (
    ACCEPT,
    CUSTOM_ATTRIBUTES,
    DEFAULT_CONTENT_TYPE,
    INFERENCE_ID,
    Request,
    Response,
    check_headers,
    invalid,
)

MAX_INLINE_BODY = 128_000
"""Bytes of an inline body (API reference, InvokeEndpointAsync)."""

_PREFIX = "x-amzn-sagemaker-"
_DEFAULT_TTL = 21_600
_DEFAULT_TIMEOUT = 900


def accept(request: Request) -> Response:
    """Answers once the request is on disk; the model gets it when it is its turn.

    Raises:
        RuntimeFault: ValidationError, when the request cannot be taken.
    """
    headers = request.headers
    check_headers("InvokeEndpointAsync", headers)
    location = headers.get(f"{_PREFIX}inputlocation")
    if (location is None) != bool(request.body):
        raise invalid("Body and InputLocation are mutually exclusive: provide exactly one of them.")
    if location is not None and not location.startswith("s3://"):
        raise invalid("The local AWS takes s3:// as InputLocation only.")
    if len(request.body) > MAX_INLINE_BODY:
        raise invalid(f"The inline Body may have {MAX_INLINE_BODY} bytes; use InputLocation.")
    present = hosting(request.service)
    queue = present.queues.get(request.endpoint)
    fleet = present.host.fleet(request.endpoint)
    if fleet is not None and not fleet.asynchronous:
        raise invalid(
            f"Endpoint {request.endpoint} is not for asynchronous inference: use InvokeEndpoint."
        )
    if fleet is None or queue is None:
        raise request.unanswered(present.closing.is_set())
    inference_id = headers.get(INFERENCE_ID) or str(uuid.uuid4())
    locations = _locations(request, fleet.config["AsyncInferenceConfig"], inference_id)
    queue.put(
        {
            "EndpointName": request.endpoint,
            "InferenceId": inference_id,
            "ReceivedTime": request.received.timestamp(),
            "ContentType": headers.get(f"{_PREFIX}content-type", DEFAULT_CONTENT_TYPE),
            "Accept": headers.get(ACCEPT),
            "CustomAttributes": headers.get(CUSTOM_ATTRIBUTES),
            "InputLocation": location,
            "Body": base64.b64encode(request.body).decode() if location is None else None,
            "RequestTTLSeconds": int(headers.get(f"{_PREFIX}requestttlseconds", _DEFAULT_TTL)),
            "InvocationTimeoutSeconds": int(
                headers.get(f"{_PREFIX}invocationtimeoutseconds", _DEFAULT_TIMEOUT)
            ),
            **locations,
        }
    )
    answer = {"content-type": "application/json"}
    answer |= {f"{_PREFIX}{name.lower()}": uri for name, uri in locations.items()}
    return 202, answer, json.dumps({"InferenceId": inference_id}).encode()


def _locations(request: Request, config: dict[str, Any], inference_id: str) -> dict[str, str]:
    """Where the answer goes: OutputLocation and, if failures are kept, FailureLocation."""
    output = config["OutputConfig"]
    extension = request.headers.get(f"{_PREFIX}s3outputpathextension", "").strip("/")
    filename = request.headers.get(f"{_PREFIX}filename") or f"{inference_id}.out"

    def under(path: str, name: str) -> str:
        return "/".join(part for part in (path.rstrip("/"), extension, name) if part)

    found = {"OutputLocation": under(output["S3OutputPath"], filename)}
    if failures := output.get("S3FailurePath"):
        stem = filename.removesuffix(".out")
        found["FailureLocation"] = under(failures, f"{stem}-error.out")
    return found
