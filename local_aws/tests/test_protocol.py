from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator
from conftest import IMAGE, ROLE, Aws, processing_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_aws.sagemaker import protocol
from local_aws.sagemaker.operations import OPERATIONS
from local_aws.sagemaker.protocol import ApiError, input_shape, parse, serialize

# The same requests in every run; a higher number brings more of them.
FUZZ = settings(
    max_examples=int(os.environ.get("LOCAL_AWS_FUZZ_EXAMPLES", "300")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def error(operation: str, request: object) -> ApiError:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    with pytest.raises(ApiError) as caught:
        parse(operation, body)
    return caught.value


def all_shapes() -> Iterator[Shape]:
    model = protocol.service_model()
    return (model.shape_for(name) for name in model.shape_names)


# Against the model itself


def test_every_pattern_of_the_model_can_be_checked() -> None:
    patterns = {shape.metadata.get("pattern") for shape in all_shapes()} - {None}
    assert len(patterns) > 200
    for pattern in patterns:
        protocol.compiled(pattern)


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        ("TagKey", ["team", "Tëam 1", "部門:ml", "a_b.c:/=+-@"], ["a,b", "a(b)", "a%", "a\tb"]),
        ("CustomerMetadataValue", ["0.91", "資料 α²", "a=b"], ["x, y", '"q"', "{}"]),
        ("ProcessingJobName", ["a", "a-b-1"], ["a_b", "-a", "a-", "", "a\n"]),
        ("ModelPackageArn", ["arn:aws:sagemaker:eu-west-1:000000000000:model-package/g/1"], ["g"]),
        ("S3Uri", ["s3://bucket/key", "https://bucket/key"], ["/bucket", "s3:/x"]),
    ],
)
def test_patterns_mean_what_they_mean_at_aws(shape: str, good: list[str], bad: list[str]) -> None:
    pattern = protocol.compiled(protocol.service_model().shape_for(shape).metadata["pattern"])
    assert [text for text in good if not pattern.fullmatch(text)] == []
    assert [text for text in bad if pattern.fullmatch(text)] == []


@pytest.mark.parametrize("category", ["L", "N", "Z", "M", "S", "P"])
def test_categories_of_java_patterns_are_unicode_s(category: str) -> None:
    pattern = protocol.compiled(rf"[\p{{{category}}}]")
    for point in (*range(0x3100), *range(0x3100, 0x110000, 17)):
        character = chr(point)
        found = unicodedata.category(character)[0]
        # \w is both, with "_", which all of the model's patterns with either allow anyway.
        wanted = found in "LN" or character == "_" if category in "LN" else found == category
        assert bool(pattern.fullmatch(character)) == wanted, hex(point)
    for shape in all_shapes():
        text = shape.metadata.get("pattern") or ""
        if r"\p{L}" in text or r"\p{N}" in text:
            assert protocol.compiled(text).search("_"), text


# Golden messages: wording of AWS's services


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ProcessingJobName": "a_b"},
            (
                "Value 'a_b' at 'processingJobName' failed to satisfy constraint: Member must "
                "satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
            ),
        ),
        (
            {"ProcessingJobName": "a" * 64},
            (
                f"Value '{'a' * 64}' at 'processingJobName' failed to satisfy constraint: Member "
                "must have length less than or equal to 63"
            ),
        ),
        (
            {"RoleArn": None},
            "Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            (
                "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy "
                "constraint: Member must have value greater than or equal to 1"
            ),
        ),
        (
            {"ProcessingInputs": [{"InputName": "i", "S3Input": {"S3Uri": "s3://b/k"}}]},
            (
                "Value null at 'processingInputs.1.member.s3Input.s3DataType' failed to satisfy "
                "constraint: Member must not be null"
            ),
        ),
    ],
)
def test_what_violates_the_model_is_named_in_aws_words(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    found = error("CreateProcessingJob", processing_request(tmp_path, "p", "pass") | change)
    assert (found.code, found.status) == ("ValidationException", 400)
    assert found.message == f"1 validation error detected: {message}"


def test_enum_members_are_listed() -> None:
    found = error("UpdateModelPackage", {"ModelPackageArn": "x", "ModelApprovalStatus": "approved"})
    assert found.message.startswith("2 validation errors detected: ")
    assert (
        "Value 'approved' at 'modelApprovalStatus' failed to satisfy constraint: Member must "
        "satisfy enum value set: [Approved, Rejected, PendingManualApproval]"
    ) in found.message


def test_unknown_members_are_named_with_the_known_ones() -> None:
    found = error("DescribeModel", {"ModelName": "m", "Modelname": "m"})
    assert found.code == "ValidationException"
    assert "'Modelname'" in found.message
    assert "known are ModelName" in found.message


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"1",
        b"\xff\xfe",
        b'{"ModelName": NaN}',
        b"[" * 100_000,
        b'{"ModelName": 1' + b"0" * 5000 + b"}",
        b'{"ModelName": ["m"]}',
        b'{"ModelName": 1}',
        b'{"ModelName": "\\ud800"}',
    ],
)
def test_what_is_not_the_json_of_a_request_is_refused(body: bytes) -> None:
    found = error("DescribeModel", body)
    assert (found.code, found.status) == ("SerializationException", 400)


@pytest.mark.parametrize("value", ["1", 1.5, True, 2**31, 10**400, [], {}])
def test_integers_are_32_bit_json_numbers(value: object) -> None:
    found = error("ListModels", {"MaxResults": value})
    assert found.code == "SerializationException"
    assert "'maxResults'" in found.message


def test_nulls_count_as_absent_and_whole_floats_as_integers() -> None:
    assert parse("ListModels", b'{"MaxResults": 5.0, "NextToken": null}') == {"MaxResults": 5}
    assert parse("ListModels", b"") == {}


@pytest.mark.parametrize(
    "value",
    [1700000000, 1700000000.0, "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00"],
)
def test_timestamps_may_be_numbers_or_iso_texts(value: object) -> None:
    body = json.dumps({"CreationTimeAfter": value}).encode()
    assert parse("ListModels", body) == {"CreationTimeAfter": 1_700_000_000.0}


@pytest.mark.parametrize("value", ["yesterday", 1e300, True, [], "9999999-01-01"])
def test_what_is_no_timestamp_is_refused(value: object) -> None:
    assert error("ListModels", {"CreationTimeAfter": value}).code == "SerializationException"


def test_an_operation_that_sagemaker_lacks_is_unknown() -> None:
    assert error("CreateNothing", {}).code == "UnknownOperationException"


def test_responses_keep_what_the_model_declares() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    body = {"ModelName": "m", "CreationTime": moment, "_Private": 1, "VpcConfig": None}
    assert serialize("DescribeModel", body) == {
        "ModelName": "m",
        "CreationTime": moment.timestamp(),
    }
    assert serialize("DeleteModel", {"Anything": 1}) == {}


# Against botocore's own validator, on generated requests


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


@FUZZ
@given(st.data())
def test_what_botocore_would_send_is_accepted_unchanged(data: st.DataObject) -> None:
    operation = data.draw(operations)
    request = data.draw(valid(input_shape(operation)))
    report = ParamValidator().validate(request, input_shape(operation))
    assert not report.has_errors(), report.generate_report()
    assert parse(operation, json.dumps(request).encode()) == request


# Anything at all, over HTTP's entry

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


def check_answer(aws: Aws, operation: str, body: bytes) -> int:
    """Send a request, and check that its answer is a response or an error in AWS's shape."""
    status, answer = aws.service.handle(f"SageMaker.{operation}", body)
    value = json.loads(answer)
    assert isinstance(value, dict)
    assert status == 200 or 400 <= status < 500, (operation, body, answer)
    if status != 200:
        assert re.fullmatch(r"[A-Za-z]+", value["__type"])
        assert value["message"]
    return status


@pytest.fixture
def filled(aws: Aws) -> Aws:
    """A service in which some of the names that are tried exist."""
    aws.sagemaker.create_model_package_group(ModelPackageGroupName="there")
    aws.sagemaker.create_model_package(ModelPackageGroupName="there")
    aws.sagemaker.create_model(
        ModelName="there", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}
    )
    return aws


def test_malformed_requests_get_an_error_in_aws_shape(filled: Aws) -> None:
    statuses = set()

    @FUZZ
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        operation = data.draw(operations)
        body = json.dumps(data.draw(malformed(input_shape(operation)))).encode()
        if data.draw(st.integers(0, 20)) == 0:
            body = body[: data.draw(st.integers(0, len(body)))] + data.draw(st.binary(max_size=3))
        statuses.add(check_answer(filled, operation, body))

    fuzz()
    assert 400 in statuses


def test_whatever_satisfies_the_model_gets_an_answer(filled: Aws) -> None:
    statuses = set()

    @FUZZ
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        operation = data.draw(operations)
        body = json.dumps(data.draw(valid(input_shape(operation)))).encode()
        statuses.add(check_answer(filled, operation, body))

    fuzz()
    assert {200, 400} <= statuses


def test_an_operation_that_is_not_there_is_refused_by_name(aws: Aws) -> None:
    status, answer = aws.service.handle("SageMaker.CreateAutoMLJob", b"{}")
    assert status == 501
    assert json.loads(answer)["__type"] == "NotImplemented"
    assert "CreateAutoMLJob" in json.loads(answer)["message"]
    status, answer = aws.service.handle("SageMaker.Nonsense", b"{}")
    assert (status, json.loads(answer)["__type"]) == (400, "UnknownOperationException")
