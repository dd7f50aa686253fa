from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.model import Shape
from botocore.validate import ParamValidator
from conftest import Aws, processing_request
from generated_requests import fuzz, operations, valid
from hypothesis import given
from hypothesis import strategies as st

from local_aws.sagemaker.core import protocol
from local_aws.sagemaker.core.protocol import ApiError, input_shape, parse, serialize


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


@fuzz(300)
@given(st.data())
def test_what_botocore_would_send_is_accepted_unchanged(data: st.DataObject) -> None:
    operation = data.draw(operations)
    request = data.draw(valid(input_shape(operation)))
    report = ParamValidator().validate(request, input_shape(operation))
    assert not report.has_errors(), report.generate_report()
    assert parse(operation, json.dumps(request).encode()) == request


def test_an_operation_that_is_not_there_is_refused_by_name(aws: Aws) -> None:
    status, answer = aws.service.handle("SageMaker.CreateAutoMLJob", b"{}")
    assert status == 501
    assert json.loads(answer)["__type"] == "NotImplemented"
    assert "CreateAutoMLJob" in json.loads(answer)["message"]
    status, answer = aws.service.handle("SageMaker.Nonsense", b"{}")
    assert (status, json.loads(answer)["__type"]) == (400, "UnknownOperationException")
