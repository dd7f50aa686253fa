"""Expressions of a pipeline definition: their values, and what has none."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_aws.sagemaker.pipelines.expressions import EvaluationError, Evaluator, look_up

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "Name", "OutputName"]), child, max_size=4)
    ),
    max_leaves=15,
)

DESCRIBED = {
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
    "ProcessingOutputConfig": {
        "Outputs": [
            {"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}},
            {"OutputName": "test", "S3Output": {"S3Uri": "s3://b/test"}},
        ]
    },
}
REPORT = {"metrics": {"auc": {"value": 0.91}}, "a.b": [1, {"c": True}]}


def evaluator() -> Evaluator:
    files = {"s3://b/report.json": json.dumps(REPORT).encode(), "s3://b/text": b"not json"}
    return Evaluator(
        {"Name": "x", "Count": 3, "Rate": 0.5, "On": True},
        lambda: {"PipelineExecutionId": "abc"},
        lambda _step: DESCRIBED,
        lambda _step, name: f"s3://b/{name}.json",
        files.__getitem__,
    )


def json_get(path: str, **source: Any) -> dict[str, Any]:
    source = source or {"PropertyFile": {"Get": "Steps.Eval.PropertyFiles.report"}}
    return {"Std:JsonGet": {**source, "Path": path}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Get": "Parameters.Count"}, 3),
        ({"Get": "Execution.PipelineExecutionId"}, "abc"),
        ({"Get": "Steps.T.ModelArtifacts.S3ModelArtifacts"}, "s3://b/model.tar.gz"),
        (
            {"Get": "Steps.P.ProcessingOutputConfig.Outputs['test'].S3Output.S3Uri"},
            "s3://b/test",
        ),
        ({"Get": 'Steps.P.ProcessingOutputConfig.Outputs["train"].OutputName'}, "train"),
        ({"Get": "Steps.P.ProcessingOutputConfig.Outputs[1].OutputName"}, "test"),
        (
            {
                "Std:Join": {
                    "On": "-",
                    "Values": ["a", {"Get": "Parameters.Rate"}, {"Get": "Parameters.On"}, 1],
                }
            },
            "a-0.5-true-1",
        ),
        (json_get("metrics.auc.value"), 0.91),
        (json_get("$.metrics.auc.value"), 0.91),
        (json_get("['a.b'][1].c"), True),
        (json_get("metrics['auc']", S3Uri="s3://b/report.json"), {"value": 0.91}),
        ({"k": [{"Get": "Parameters.Name"}], "Get": "kept"}, {"k": ["x"], "Get": "kept"}),
    ],
)
def test_evaluates(expression: Any, value: Any) -> None:
    assert evaluator().value(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"Get": "Steps.T.ModelArtifacts.Nothing"}, "Step 'T' has no property"),
        ({"Get": "Steps.P.ProcessingOutputConfig.Outputs['x']"}, "Step 'P' has no property"),
        (json_get("metrics.f1"), "s3://b/report.json has no value at path 'metrics.f1'"),
        (json_get("a", S3Uri="s3://b/text"), "s3://b/text could not be read as JSON"),
    ],
)
def test_tells_what_has_no_value(expression: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluator().value(expression)


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (compare("Equals", {"Get": "Parameters.Count"}, 3.0), True),
        (compare("Equals", {"Get": "Parameters.On"}, 1), False),
        (compare("Equals", "3", 3), False),
        (compare("GreaterThan", 2, 2), False),
        (compare("GreaterThanOrEqualTo", json_get("metrics.auc.value"), 0.9), True),
        (compare("LessThan", 1, 2), True),
        (compare("LessThanOrEqualTo", "b", "a"), False),
        ({"Type": "In", "QueryValue": {"Get": "Parameters.Name"}, "Values": ["y", "x"]}, True),
        ({"Type": "In", "QueryValue": 1, "Values": ["1", True]}, False),
        ({"Type": "Not", "Expression": compare("Equals", 1, 1)}, False),
        (
            {"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 1, 1)]},
            True,
        ),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    assert evaluator().condition(condition) is holds


def test_what_has_no_order_cannot_be_compared() -> None:
    with pytest.raises(EvaluationError, match="GreaterThan cannot compare '1' with 1"):
        evaluator().condition(compare("GreaterThan", "1", 1))


@given(JSON, st.text(alphabet="ab.[]'\"01", max_size=12))
def test_a_path_finds_a_value_or_says_that_there_is_none(document: Any, path: str) -> None:
    with suppress(EvaluationError):
        look_up(document, path)
