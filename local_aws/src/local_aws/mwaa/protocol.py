"""Amazon MWAA's REST-JSON protocol, driven by the service model that botocore ships."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import botocore.session
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

from local_aws.sagemaker.core.protocol import ApiError, parse_structure, shape_structure

_SIGNED = "/airflow/aws4_request"
_EMPTY = StructureShape("Empty", {"type": "structure", "members": {}})


class RestApiError(ApiError):
    """Airflow's REST API has refused a request, or failed.

    Attributes:
        answer: The members of MWAA's exception.
    """

    def __init__(self, status: int, document: object) -> None:
        side = "Client" if status < 500 else "Server"
        super().__init__(f"RestApi{side}Exception", f"Airflow's REST API answered {status}")
        self.answer = {"RestApiStatusCode": status, "RestApiResponse": document}


class Call(NamedTuple):
    """Which operation a request asks for.

    Attributes:
        operation: Its name.
        labels: What the path says of its members.
    """

    operation: str
    labels: Mapping[str, str]


@cache
def service_model() -> ServiceModel:
    """Return botocore's model of MWAA."""
    return botocore.session.Session().get_service_model("mwaa")


def is_for_mwaa(headers: Mapping[str, str]) -> bool:
    """Tell by a request's signature whether it is for MWAA."""
    return _SIGNED in headers.get("authorization", "")


def find(method: str, path: str) -> Call:
    """Find the operation of a request.

    Args:
        method: HTTP method.
        path: Path as it came over the wire, percent-encoded.

    Raises:
        ApiError: There is none (UnknownOperationException).
    """
    for operation in _operations():
        pattern = re.sub(
            r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.http["requestUri"])
        )
        match = re.fullmatch(pattern, path)
        if match and operation.http["method"] == method:
            return Call(
                operation.name, {key: unquote(value) for key, value in match.groupdict().items()}
            )
    raise ApiError("UnknownOperationException", f"MWAA has no operation {method} {path}", 404)


def parse(call: Call, query: Mapping[str, Sequence[str]], body: bytes) -> dict[str, Any]:
    """Read and check a request.

    Args:
        call: Its operation.
        query: Its query parameters, each with its values.
        body: Its body.

    Returns:
        The members that are given.

    Raises:
        ApiError: As with `parse_structure`.
    """
    shape = _operation(call.operation).input_shape or _EMPTY
    try:
        given = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", f"The request is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ApiError("SerializationException", "The request must be a JSON object")
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if location == "uri":
            given[name] = call.labels[wire]
        elif location == "querystring" and wire in query:
            given[name] = _from_query(member, query[wire])
    return parse_structure(shape, json.dumps(given).encode())


def serialize(operation: str, result: Mapping[str, Any]) -> bytes:
    """Write a response: declared members only, no nulls."""
    shape = _operation(operation).output_shape or _EMPTY
    return json.dumps(shape_structure(shape, result)).encode()


def _from_query(shape: Shape, values: Sequence[str]) -> object:
    if isinstance(shape, ListShape):
        return list(values)
    if shape.type_name == "integer" and re.fullmatch(r"-?\d{1,9}", values[0]):
        return int(values[0])
    return values[0]


@cache
def _operations() -> tuple[OperationModel, ...]:
    return tuple(map(_operation, service_model().operation_names))


@cache
def _operation(name: str) -> OperationModel:
    return service_model().operation_model(name)
