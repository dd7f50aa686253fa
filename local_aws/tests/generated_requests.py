"""Requests that nobody would send, generated from botocore's shapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from conftest import IMAGE, ROLE
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from local_aws.sagemaker.core import protocol
from local_aws.sagemaker.core.operations import OPERATIONS
from local_aws.sagemaker.core.protocol import input_shape


def fuzz(examples: int) -> settings:
    """Settings that bring the same requests in every run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# By shape, for the control plane


def texts(shape: StringShape) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(sorted(shape.enum))
    pattern = shape.metadata.get("pattern")
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 40)
    if pattern:
        compiled = protocol.compiled(pattern)
        plain = [
            text
            for text in (
                "there",
                "a",
                "abc-1",
                "s3://bucket/key",
                ROLE,
                IMAGE,
                "1.0",
                "a" * max(low, 1),
            )
            if compiled.fullmatch(text) and low <= len(text) <= high
        ]
        if plain:
            return st.sampled_from(plain)
        return st.from_regex(compiled, fullmatch=True).filter(lambda t: low <= len(t) <= high)
    return st.text(st.characters(codec="utf-8"), min_size=low, max_size=min(high, low + 40))


@st.composite
def valid(draw: st.DrawFn, shape: Shape, depth: int = 0) -> Any:
    """A value that satisfies a shape."""
    if isinstance(shape, StructureShape):
        optional = [m for m in shape.members if m not in shape.required_members]
        some = draw(st.lists(st.sampled_from(optional), max_size=3)) if optional else []
        chosen = {*shape.required_members, *(some if depth < 4 else [])}
        return {m: draw(valid(shape.members[m], depth + 1)) for m in chosen}
    low = shape.metadata.get("min", 0)
    if isinstance(shape, ListShape):
        return [draw(valid(shape.member, depth + 1)) for _ in range(max(low, 1))]
    if isinstance(shape, MapShape):
        return {draw(valid(shape.key)): draw(valid(shape.value, depth + 1))} if depth < 6 else {}
    if isinstance(shape, StringShape):
        return draw(texts(shape))
    return draw(numbers(shape))


def numbers(shape: Shape) -> st.SearchStrategy[Any]:
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 2**31 - 1)
    if shape.type_name == "boolean":
        return st.booleans()
    if shape.type_name in ("integer", "long"):
        return st.integers(low, high)
    return st.floats(low, min(high, 4e9), allow_nan=False)


KNOWN = sorted(OPERATIONS)
operations = st.sampled_from(KNOWN)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        [
            "",
            "there",
            "there/1",
            "arn:aws:sagemaker:eu-west-1:000000000000:model/there",
            "arn:aws:sagemaker:eu-west-1:000000000000:model-package/there/1",
            "s3://no-such-bucket/key",
            "$[",
            "\x00",
            "\ud800",
            "..",
            "a" * 70_000,
            -1,
            0,
            2**31,
            2**63,
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def malformed(draw: st.DrawFn, shape: Shape, depth: int = 0) -> Any:
    """A value that resembles a shape, with something wrong in most of its places."""
    if depth > 5 or draw(st.integers(0, 5)) == 0:
        return draw(JUNK)
    if isinstance(shape, StructureShape):
        names = draw(st.lists(st.sampled_from([*shape.members, "Unknown"]), max_size=6))
        chosen = [*names, *(m for m in shape.required_members if draw(st.integers(0, 5)))]
        return {
            m: draw(malformed(shape.members[m], depth + 1)) if m in shape.members else draw(JUNK)
            for m in chosen
        }
    if isinstance(shape, ListShape):
        return [draw(malformed(shape.member, depth + 1)) for _ in range(draw(st.integers(0, 3)))]
    if isinstance(shape, MapShape):
        return draw(st.dictionaries(st.text(), malformed(shape.value, depth + 1), max_size=2))
    if isinstance(shape, StringShape):
        return draw(texts(shape) | st.sampled_from(["there", "there/1"]))
    return draw(numbers(shape) | st.integers() | st.floats())


# As they go over the wire


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


BODIES = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"0",
    b"{",
    b"}",
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b'{"MaxResults": ' + b"9" * 5000 + b"}",
    b'{"a": "\x00"}',
    b'{"a": "\\ud800"}',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b"Action=CreateModel&Version=2017-07-24",
    b"<CreateModel/>",
    b"[" * 100_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"Tags": [' + b"[" * 900 + b"]" * 900 + b"]}",
    b'{"Unknown": "' + b"x" * 1_000_000 + b'"}',
]
"""What is not a JSON object, or none that fits."""

HEADER_TEXT = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=300)
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/sagemaker/aws4_request"


def control(operation: str, body: bytes, **headers: str) -> Request:
    """A request to the control plane."""
    target = {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": SIGNED}
    kind = {"Content-Type": "application/x-amz-json-1.1"}
    return Request("POST", "/", body, {**kind, **target, **headers})


@st.composite
def by_shape(draw: st.DrawFn) -> Request:
    """A request to a known operation that resembles its shape, sometimes cut or garbled."""
    operation = draw(operations)
    body = json.dumps(draw(malformed(input_shape(operation)))).encode()
    if draw(st.integers(0, 9)) == 0:
        body = body[: draw(st.integers(0, len(body)))] + draw(st.binary(max_size=3))
    return control(operation, body)


@st.composite
def senseless(draw: st.DrawFn) -> Request:
    """A request that satisfies the model."""
    operation = draw(operations)
    return control(operation, json.dumps(draw(valid(input_shape(operation)))).encode())


@st.composite
def wrong_on_the_wire(draw: st.DrawFn) -> Request:
    """A body, a content type or a target that no client of AWS sends."""
    operation = draw(operations | st.sampled_from(["", "X", "CreateModel.Y", "a/b", "_x", " "]))
    body = draw(st.sampled_from(BODIES) | st.binary(max_size=50))
    kind = draw(
        st.sampled_from(["", "text/plain", "application/cbor", "application/json", "x" * 99])
    )
    return control(operation, body, **{"Content-Type": kind})


RUNTIME_HEADERS = (
    "Accept",
    "Content-Type",
    "X-Amzn-SageMaker-Custom-Attributes",
    "X-Amzn-SageMaker-Target-Model",
    "X-Amzn-SageMaker-Target-Variant",
    "X-Amzn-SageMaker-Target-Container-Hostname",
    "X-Amzn-SageMaker-Inference-Id",
    "X-Amzn-SageMaker-Enable-Explanations",
    "X-Amzn-SageMaker-Session-Id",
    "X-Amzn-SageMaker-InputLocation",
    "X-Amzn-SageMaker-RequestTTLSeconds",
    "X-Amzn-SageMaker-InvocationTimeoutSeconds",
)


@st.composite
def to_the_runtime(draw: st.DrawFn) -> Request:
    """A request to some endpoint; `there` is the one that may exist."""
    name = draw(
        st.sampled_from(["there", "absent", "..", "%2e%2e", "a" * 1000]) | st.text(min_size=1)
    )
    action = draw(
        st.sampled_from(
            ["invocations", "async-invocations", "invocations-response-stream", "x", "", "a/b"]
        )
    )
    body = draw(st.sampled_from([b"", b"1,2", b"\xff" * 100, b"x" * 6_291_457]) | st.binary())
    chosen = draw(st.lists(st.sampled_from(RUNTIME_HEADERS), unique=True, max_size=3))
    headers = {header: draw(HEADER_TEXT | st.just("x" * 2000)) for header in chosen}
    method = draw(st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE", "PATCH"]))
    path = f"/endpoints/{quote(name, safe='%')}/{action}"
    return Request(method, path, body, {"Authorization": SIGNED, **headers})
