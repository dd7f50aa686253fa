"""Requests to the runtime API and their errors: protocol rest-json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import botocore.session
from botocore.model import Shape

from local_aws.sagemaker.core.protocol import compiled

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

Response = tuple[int, dict[str, str], bytes]

DEFAULT_CONTENT_TYPE = "application/octet-stream"
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
INFERENCE_ID = "x-amzn-sagemaker-inference-id"
ACCEPT = "x-amzn-sagemaker-accept"


class RuntimeFault(Exception):  # noqa: N818 - AWS's word: an answer, not this program's error
    """A request is answered with an error.

    Attributes:
        response: The answer.
    """

    def __init__(
        self, status: int, code: str | None, message: str | None, **members: object
    ) -> None:
        """Make the answer; without `code` clients call the error by its status."""
        super().__init__(message)
        kind = {} if code is None else {"x-amzn-errortype": code}
        self.response: Response = (
            status,
            {"content-type": "application/json", **kind},
            json.dumps({"Message": message, "message": message, **members}).encode(),
        )


@dataclass(frozen=True)
class Request:
    """One request to an endpoint; header names are in lower case."""

    service: Service
    endpoint: str
    headers: Mapping[str, str]
    body: bytes
    received: datetime

    @property
    def content_type(self) -> str:
        """The Content-Type of the body."""
        return self.headers.get("content-type", DEFAULT_CONTENT_TYPE)

    def unanswered(self, closing: bool) -> RuntimeFault:
        """Return the answer when nothing runs for the endpoint.

        Args:
            closing: Whether the local AWS is being stopped.
        """
        if closing:
            return RuntimeFault(503, "ServiceUnavailable", "The local AWS is being stopped.")
        stored = self.service.store.get("Endpoint", self.endpoint)
        if stored is not None and stored["EndpointStatus"] == "SystemUpdating":
            text = f"Endpoint {self.endpoint} is starting again; retry."
            return RuntimeFault(503, "ServiceUnavailable", text)
        account = self.service.settings.account
        return invalid(f"Endpoint {self.endpoint} of account {account} not found.")


def invalid(message: str) -> RuntimeFault:
    """Return the answer to a request that cannot be carried out as it is."""
    return RuntimeFault(400, "ValidationError", message)


def model_error(service: Service, endpoint: str, status: int, text: str) -> RuntimeFault:
    """Return the answer when the model's container did not answer with success.

    Args:
        service: The service.
        endpoint: The endpoint's name.
        status: The container's HTTP status; 0 when there was no answer.
        text: The container's answer.
    """
    region, account = service.settings.region, service.settings.account
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    side = "client" if 400 <= status < 500 else "server"
    return RuntimeFault(
        424,
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{text}". See '
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logEventViewer:group={group} in account {account} for more information.",
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=f"arn:aws:logs:{region}:{account}:log-group:{group}",
    )


def check_headers(operation: str, headers: Mapping[str, str]) -> None:
    """Check each header that the runtime's model declares for an operation.

    Raises:
        RuntimeFault: ValidationError, naming the member.
    """
    for header, (member, shape) in _headers(operation).items():
        if header in headers and (constraint := _violated(shape, headers[header])):
            raise invalid(
                f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
                f"Member must {constraint}"
            )


def _violated(shape: Shape, text: str) -> str | None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.type_name == "integer":
        if not re.fullmatch(r"-?[0-9]{1,9}", text):
            return "be an Integer"
        size, what = int(text), "value"
    else:
        size, what = len(text), "length"
    if low is not None and size < low:
        return f"have {what} greater than or equal to {low}"
    if high is not None and size > high:
        return f"have {what} less than or equal to {high}"
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(text):
        return f"satisfy regular expression pattern: {pattern}"
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the runtime's model: it has classes and anchors that others have not."""
    for java, python in (
        (r"\p{ASCII}", r"[\x00-\x7f]"),
        (r"[\p{Print}]", r"[\x20-\x7e]"),
        (r"\z", r"\Z"),
    ):
        pattern = pattern.replace(java, python)
    return compiled(pattern)


@cache
def _headers(operation: str) -> dict[str, tuple[str, Shape]]:
    """Header name in lower case to the member's name, as AWS spells it in errors, and its shape."""
    model = botocore.session.Session().get_service_model("sagemaker-runtime")
    shape = model.operation_model(operation).input_shape
    return {
        member.serialization["name"].lower(): (name[0].lower() + name[1:], member)
        for name, member in (shape.members.items() if shape else ())
        if member.serialization.get("location") == "header"
    }
