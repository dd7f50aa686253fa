"""The pipeline definition: what is read, what is refused and with which words."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_aws.sagemaker.pipelines.definition import parse
from local_aws.sagemaker.pipelines.expressions import DefinitionError

# What the SageMaker SDK 3.27 writes for a Lambda step, a condition and a Fail step.
SDK_DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Metadata": {},
    "Parameters": [{"Name": "InputUri", "Type": "String", "DefaultValue": "s3://b/in"}],
    "PipelineExperimentConfig": {
        "ExperimentName": {"Get": "Execution.PipelineName"},
        "TrialName": {"Get": "Execution.PipelineExecutionId"},
    },
    "MlflowConfig": None,
    "Steps": [
        {
            "Name": "Notify",
            "Type": "Lambda",
            "Arguments": {
                "k": {
                    "Std:Join": {
                        "On": "/",
                        "Values": ["s3://b", {"Get": "Parameters.InputUri"}],
                    }
                }
            },
            "FunctionArn": "arn:aws:lambda:ap-northeast-1:111122223333:function:f",
            "OutputParameters": [{"OutputName": "statusCode", "OutputType": "String"}],
        },
        {
            "Name": "Gate",
            "Type": "Condition",
            "Arguments": {
                "Conditions": [
                    {
                        "Type": "GreaterThanOrEqualTo",
                        "LeftValue": {"Get": "Steps.Notify.OutputParameters['statusCode']"},
                        "RightValue": "200",
                    }
                ],
                "IfSteps": [],
                "ElseSteps": [
                    {"Name": "TooBad", "Type": "Fail", "Arguments": {"ErrorMessage": "bad"}}
                ],
            },
        },
    ],
}


def fail_step(name: str, **fields: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": "no"}, **fields}


def definition(*steps: Any, **fields: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Steps": list(steps), **fields})


def condition(name: str, *yes: Any, no: Any = ()) -> dict[str, Any]:
    test = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
    branches = {"IfSteps": list(yes), "ElseSteps": list(no)}
    return {"Name": name, "Type": "Condition", "Arguments": {"Conditions": [test], **branches}}


def lambda_step(name: str, **arguments: Any) -> dict[str, Any]:
    outputs = [
        {"OutputName": kind.lower(), "OutputType": kind}
        for kind in ("String", "Integer", "Float", "Boolean")
    ]
    return {
        "Name": name,
        "Type": "Lambda",
        "FunctionArn": "f",
        "Arguments": arguments,
        "OutputParameters": outputs,
    }


def get(path: str) -> dict[str, str]:
    return {"Get": path}


def test_reads_what_the_sdk_writes() -> None:
    read = parse(json.dumps(SDK_DEFINITION))
    assert list(read.steps) == ["Notify", "Gate", "TooBad"]
    assert read.steps["Gate"].depends_on == {"Notify"}
    assert read.steps["TooBad"].depends_on == {"Gate"}
    assert (read.steps["TooBad"].condition, read.steps["TooBad"].branch) == ("Gate", False)
    assert read.bind([]) == {"InputUri": "s3://b/in"}


REFUSED = {
    "not JSON": ("{", "Not a JSON document"),
    "not an object": ("[]", "must be a JSON object"),
    "nested too deeply": ("[" * 100_000, "nested too deeply"),
    "other version": (json.dumps({"Version": "2019-01-01"}), "Version must be '2020-12-01'"),
    "no steps": (definition(), "at least one step"),
    "steps not a list": (json.dumps({"Version": "2020-12-01", "Steps": {}}), "Steps must be a"),
    "bad step name": (definition(fail_step("a b")), "'a b'"),
    "long step name": (definition(fail_step("a" * 65)), "must match"),
    "same name twice": (definition(fail_step("A"), fail_step("A")), "Duplicate step name 'A'"),
    "unknown type": (definition({"Name": "A", "Type": "AutoML"}), "Step 'A': type 'AutoML'"),
    "type not text": (definition({"Name": "A", "Type": ["Fail"]}), "Step 'A': type"),
    "missing dependency": (definition(fail_step("A", DependsOn=["B"])), "Step 'A'.*'B'"),
    "depends on itself": (definition(fail_step("A", DependsOn=["A"])), "circle: A -> A"),
    "cycle": (
        definition(fail_step("A", DependsOn=["B"]), fail_step("B", DependsOn=["A"])),
        "in a circle",
    ),
    "unknown parameter": (
        definition(fail_step("A", Arguments={"ErrorMessage": {"Get": "Parameters.X"}})),
        "Step 'A': it refers to parameter 'X'",
    ),
    "unknown variable": (
        definition(fail_step("A", Arguments={"ErrorMessage": {"Get": "Execution.X"}})),
        "no execution variable 'X'",
    ),
    "unknown root": (
        definition(fail_step("A", Arguments={"ErrorMessage": {"Get": "Foo.X"}})),
        "must start with",
    ),
    "unknown step": (
        definition(fail_step("A", Arguments={"ErrorMessage": {"Get": "Steps.B.X"}})),
        "Step 'A'.*'B'",
    ),
    "not a step path": (
        definition(fail_step("A", Arguments={"ErrorMessage": {"Get": "Steps.B"}})),
        "Step 'A'.*Steps.<step>",
    ),
    "undeclared property file": (
        definition(
            {"Name": "P", "Type": "Processing", "Arguments": {"RoleArn": "r"}},
            fail_step(
                "A",
                Arguments={
                    "ErrorMessage": {
                        "Std:JsonGet": {
                            "PropertyFile": {"Get": "Steps.P.PropertyFiles.Report"},
                            "Path": "a",
                        }
                    }
                },
            ),
        ),
        "Step 'A': step 'P' declares no property file 'Report'",
    ),
    "unknown argument": (
        definition({"Name": "P", "Type": "Processing", "Arguments": {"Rolearn": "r"}}),
        "Step 'P': Unknown Argument member 'Rolearn'",
    ),
    "unknown nested argument": (
        definition(
            {
                "Name": "T",
                "Type": "Training",
                "Arguments": {"AlgorithmSpecification": {"Image": "i"}},
            }
        ),
        "Step 'T': Unknown Argument member 'Image' in Arguments.AlgorithmSpecification",
    ),
    "name of a model package": (
        definition({"Name": "R", "Type": "RegisterModel", "Arguments": {"ModelPackageName": "n"}}),
        "Unknown Argument member 'ModelPackageName'",
    ),
    "Get of no name": (
        definition(fail_step("A", Arguments={"ErrorMessage": {"Get": 1}})),
        "Step 'A': Get must name",
    ),
    "Join without values": (
        definition(fail_step("A", Arguments={"ErrorMessage": {"Std:Join": {"On": "/"}}})),
        "Step 'A': Std:Join needs",
    ),
    "unknown condition": (
        definition(
            {"Name": "C", "Type": "Condition", "Arguments": {"Conditions": [{"Type": "X"}]}}
        ),
        "Step 'C': Unknown condition type 'X'",
    ),
    "condition on its own branch": (
        definition(
            {
                "Name": "C",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [
                        {
                            "Type": "Equals",
                            "LeftValue": {"Get": "Steps.P.RoleArn"},
                            "RightValue": 1,
                        }
                    ],
                    "IfSteps": [{"Name": "P", "Type": "Processing", "Arguments": {"RoleArn": "r"}}],
                },
            }
        ),
        "in a circle",
    ),
    "Lambda without a function": (definition({"Name": "L", "Type": "Lambda"}), "needs FunctionArn"),
    "condition in a branch of another": (
        definition(condition("Outer", condition("Inner"))),
        "Step 'Inner': .* branch of another, 'Outer': nested condition steps are not supported",
    ),
    "condition in the other branch": (
        definition(condition("Outer", no=[condition("Inner")])),
        "Step 'Inner': .* nested condition steps",
    ),
    "Boolean for a Lambda": (
        definition(lambda_step("L", a=True)),
        "Step 'L': Argument 'a' .* must be a string, an integer or a float, not True",
    ),
    "list for a Lambda": (definition(lambda_step("L", a=[1])), r"Argument 'a' .*, not \[1\]"),
    "object for a Lambda": (definition(lambda_step("L", a={"b": 1})), "Argument 'a' .*, not"),
    "Boolean parameter for a Lambda": (
        definition(
            lambda_step("L", a=get("Parameters.Yes")),
            Parameters=[{"Name": "Yes", "Type": "Boolean", "DefaultValue": True}],
        ),
        "Step 'L': 'Parameters.Yes' is a Boolean",
    ),
    "Boolean output for a Lambda": (
        definition(
            lambda_step("K"), lambda_step("L", a=get("Steps.K.OutputParameters['boolean']"))
        ),
        "Step 'L': .* is a Boolean",
    ),
    "untyped output": (
        definition(
            {
                "Name": "L",
                "Type": "Lambda",
                "FunctionArn": "f",
                "OutputParameters": [{"OutputName": "o", "OutputType": "Any"}],
            }
        ),
        "Output 'o': OutputType must be one of",
    ),
    "Fail without a message": (definition({"Name": "F", "Type": "Fail"}), "ErrorMessage"),
    "bad default": (
        definition(
            fail_step("A"), Parameters=[{"Name": "N", "Type": "Integer", "DefaultValue": "x"}]
        ),
        "Parameter 'N': 'x' is not of type Integer",
    ),
    "unknown parameter type": (
        definition(fail_step("A"), Parameters=[{"Name": "N", "Type": "Date"}]),
        "Parameter 'N': unknown Type 'Date'",
    ),
    "parameter twice": (
        definition(fail_step("A"), Parameters=[{"Name": "N", "Type": "String"}] * 2),
        "Duplicate parameter name 'N'",
    ),
    "default not allowed": (
        definition(
            fail_step("A"),
            Parameters=[{"Name": "N", "Type": "String", "EnumValues": ["a"], "DefaultValue": "b"}],
        ),
        "is not one of",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        parse(text)


def test_a_lambda_takes_texts_and_numbers() -> None:
    given = {
        "text": "a",
        "integer": 1,
        "float": 0.5,
        "parameter": get("Parameters.Rows"),
        "joined": {"Std:Join": {"On": "/", "Values": ["a", get("Parameters.Rows")]}},
        **{
            kind: get(f"Steps.K.OutputParameters['{kind}']")
            for kind in ("string", "integer", "float")
        },
    }
    rows = {"Name": "Rows", "Type": "Integer", "DefaultValue": 1}
    read = parse(definition(lambda_step("K"), lambda_step("L", **given), Parameters=[rows]))
    assert read.steps["L"].arguments == given


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Version",
                    "Steps",
                    "Parameters",
                    "Name",
                    "Type",
                    "Arguments",
                    "Get",
                    "DependsOn",
                    "Std:Join",
                    "On",
                    "Values",
                    "Std:JsonGet",
                    "PropertyFile",
                    "S3Uri",
                    "Path",
                    "Conditions",
                    "IfSteps",
                    "ElseSteps",
                    "DefaultValue",
                    "EnumValues",
                    "FunctionArn",
                    "OutputParameters",
                    "OutputName",
                    "OutputType",
                    "PropertyFiles",
                    "ErrorMessage",
                    "LeftValue",
                    "RightValue",
                    "Expression",
                    "QueryValue",
                    "RoleArn",
                ]
            ),
            child,
            max_size=4,
        )
    ),
    max_leaves=15,
)
STEP = st.fixed_dictionaries(
    {
        "Name": st.sampled_from(["A", "B"]) | JSON,
        "Type": st.sampled_from(
            ["Processing", "Training", "RegisterModel", "Model", "Condition", "Lambda", "Fail"]
        ),
        "Arguments": JSON,
    },
    optional={
        "DependsOn": JSON,
        "PropertyFiles": JSON,
        "OutputParameters": JSON,
        "FunctionArn": JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP | JSON, max_size=3), JSON)
def test_any_definition_is_read_or_refused_with_a_reason(steps: list[Any], parameters: Any) -> None:
    text = json.dumps({"Version": "2020-12-01", "Steps": steps, "Parameters": parameters})
    with suppress(DefinitionError):
        parse(text)


def test_parameters_take_their_type_from_the_definition() -> None:
    kinds = {"S": "String", "I": "Integer", "F": "Float", "B": "Boolean"}
    read = parse(
        definition(fail_step("A"), Parameters=[{"Name": n, "Type": t} for n, t in kinds.items()])
    )
    given_values = {"S": "1", "I": "12", "F": "0.5", "B": "True"}
    bound = read.bind([{"Name": n, "Value": v} for n, v in given_values.items()])
    assert bound == {"S": "1", "I": 12, "F": 0.5, "B": True}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"N": "1", "Other": "x"}, r"\['Other'\].*\['N'\]"),
        ({}, "Parameter 'N' has no default value"),
        ({"N": "1.5"}, "Parameter 'N': '1.5' is not of type Integer"),
        ({"N": "9" * 5000}, "is not of type Integer"),
    ],
)
def test_start_refuses_parameters(values: dict[str, str], message: str) -> None:
    read = parse(definition(fail_step("A"), Parameters=[{"Name": "N", "Type": "Integer"}]))
    with pytest.raises(DefinitionError, match=message):
        read.bind([{"Name": name, "Value": value} for name, value in values.items()])
