import re
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from typing import Any

import pytest
from support.fake_sagemaker import errors

from lambdas.sagemaker_pipelines import reasons
from usecase import config
from usecase.monitors import MONITORS
from usecase.problem import METRICS
from workflows import keys, names
from workflows.jobs import Settings
from workflows.placeholders import fill, output

NAMES = names.Names()

ACCOUNT = "123456789012"
BUCKET = NAMES.bucket(ACCOUNT)
SETTINGS = Settings(
    use_case=config.load(),
    names=NAMES,
    image=f"{ACCOUNT}.dkr.ecr.{names.REGION}.amazonaws.com/repository:tag",
    role=f"arn:aws:iam::{ACCOUNT}:role/jobs",
    bucket=BUCKET,
    commit="0" * 40,
)
FUNCTION = f"arn:aws:lambda:{names.REGION}:{ACCOUNT}:function"


def definition(workflow: str) -> dict[str, Any]:
    """The definition of a workflow, made by the module of its name."""
    name = workflow.removeprefix(f"{names.PROJECT}-")
    make: Any = import_module(f"workflows.sagemaker_pipelines.{name}").definition
    functions = list(signature(make).parameters)[1:]
    made: dict[str, Any] = make(SETTINGS, *(f"{FUNCTION}:{name}" for name in functions))
    return made


DEFINITIONS = {workflow: definition(workflow) for workflow in NAMES.workflows}
OPERATIONS = {
    "Processing": ("CreateProcessingJob", "ProcessingJobName"),
    "Training": ("CreateTrainingJob", "TrainingJobName"),
    "Transform": ("CreateTransformJob", "TransformJobName"),
    "RegisterModel": ("CreateModelPackage", None),
}
OUTPUT = "ProcessingOutputConfig.Outputs['{}'].S3Output.S3Uri"
SAMPLES = {"String": f"s3://{BUCKET}/result", "Integer": 1}
RESULTS = {"model": f"{names.PROJECT}-1-20260131120000000"}


class Execution:
    """Puts values for the expressions of a definition, as an execution would."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.parameters = {p["Name"]: p["DefaultValue"] for p in definition["Parameters"]}
        self.steps = {step["Name"]: step for step in every_step(definition["Steps"])}

    def value(self, node: Any) -> Any:
        match node:
            case {"Get": str(path)}:
                return self.get(path)
            case {"Std:Join": {"On": on, "Values": values}}:
                return on.join(str(self.value(v)) for v in values)
            case dict():
                return {key: self.value(item) for key, item in node.items()}
            case list():
                return [self.value(item) for item in node]
        return node

    def get(self, path: str) -> Any:
        if path == "Execution.PipelineExecutionId":
            return "abcdefgh1234"
        kind, name, rest = [*path.split(".", 2), ""][:3]
        if kind == "Parameters":
            return self.parameters[name]
        step = self.steps[name]
        if found := re.fullmatch(r"ProcessingOutputConfig.Outputs\['(\w+)'\].S3Output.S3Uri", rest):
            outputs = step["Arguments"]["ProcessingOutputConfig"]["Outputs"]
            uris = {o["OutputName"]: o["S3Output"]["S3Uri"] for o in outputs}
            return self.value(uris[found[1]])
        if found := re.fullmatch(r"OutputParameters\['(\w+)'\]", rest):
            kinds = {o["OutputName"]: o["OutputType"] for o in step["OutputParameters"]}
            return RESULTS.get(found[1], SAMPLES[kinds[found[1]]])
        if found := re.fullmatch(r"PropertyFiles\.(\w+)", rest):
            (file,) = step["PropertyFiles"]
            assert file["PropertyFileName"] == found[1]
            return self.get(f"Steps.{name}.{OUTPUT.format(file['OutputName'])}")
        member, behind = {
            "ModelArtifacts.S3ModelArtifacts": ("OutputDataConfig", "/job/output/model.tar.gz"),
            "TransformOutput.S3OutputPath": ("TransformOutput", ""),
        }[rest]
        return self.value(step["Arguments"][member]["S3OutputPath"]) + behind


def every_step(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        for branch in ("IfSteps", "ElseSteps"):
            yield from every_step(step["Arguments"].get(branch, []))


def step_of(workflow: str, name: str) -> dict[str, Any]:
    """A step of a workflow with values for its expressions."""
    execution = Execution(DEFINITIONS[workflow])
    step: dict[str, Any] = execution.value(execution.steps[name])
    return step


def references(node: Any) -> Iterator[str]:
    """The names of the steps that an expression refers to."""
    match node:
        case {"Get": str(path)} if path.startswith("Steps."):
            yield path.split(".")[1]
        case dict():
            for value in node.values():
                yield from references(value)
        case list():
            for value in node:
                yield from references(value)


STEPS = [
    pytest.param(workflow, step["Name"], id=f"{workflow}-{step['Name']}")
    for workflow, definition in DEFINITIONS.items()
    for step in every_step(definition["Steps"])
]


@pytest.mark.parametrize(("workflow", "name"), STEPS)
def test_every_request_is_one_that_sagemaker_takes(workflow: str, name: str) -> None:
    step = step_of(workflow, name)
    if step["Type"] in OPERATIONS:
        operation, job_name = OPERATIONS[step["Type"]]
        # SageMaker Pipelines makes the names of jobs.
        request = step["Arguments"] | ({job_name: "name"} if job_name else {})
        assert errors("sagemaker", operation, request) == []
    else:
        assert step["Type"] in {"Condition", "Fail", "Lambda"}


@pytest.mark.parametrize("workflow", DEFINITIONS)
def test_conditions_are_not_nested(workflow: str) -> None:
    """SageMaker Pipelines does not support a condition step in a branch of another one."""
    for step in DEFINITIONS[workflow]["Steps"]:
        inner = [s for s in every_step([step]) if s is not step and s["Type"] == "Condition"]
        assert not inner, step["Name"]


@pytest.mark.parametrize(("workflow", "name"), STEPS)
def test_job_that_cannot_start_yet_is_tried_again(workflow: str, name: str) -> None:
    step = step_of(workflow, name)
    if step["Type"] in {"Processing", "Training", "Transform"}:
        found = {kind for policy in step["RetryPolicies"] for kind in policy["ExceptionType"]}
        # After a deployment the monitors of two versions run at the same time.
        assert {"SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"} <= found


@pytest.mark.parametrize(("workflow", "name"), STEPS)
def test_functions_get_text_and_numbers(workflow: str, name: str) -> None:
    """A Lambda step takes strings, integers and floats; `True` is an `int` in Python only."""
    step = step_of(workflow, name)
    if step["Type"] == "Lambda":
        kinds = {key: type(value) for key, value in step["Arguments"].items()}
        assert set(kinds.values()) <= {str, int, float}, kinds


@pytest.mark.parametrize("workflow", DEFINITIONS)
def test_names_and_references_hold(workflow: str) -> None:
    definition = DEFINITIONS[workflow]
    steps = list(every_step(definition["Steps"]))
    known = [step["Name"] for step in steps]
    assert len(set(known)) == len(known)
    assert all(re.fullmatch(r"[A-Za-z0-9\-_]{1,64}", name) for name in known)
    parameters = [p["Name"] for p in definition["Parameters"]]
    # EventBridge takes no underscore in the name of a parameter, SageMaker no empty default.
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name) for name in parameters)
    assert all(p["DefaultValue"] != "" for p in definition["Parameters"])
    for i, step in enumerate(steps):
        nested = {s["Name"] for s in every_step([step])}
        needed = {*references(step), *step.get("DependsOn", [])} - nested
        assert needed <= set(known[:i]), step["Name"]


def test_gate_compares_the_metric_of_the_evaluation_with_the_threshold() -> None:
    gate = Execution(DEFINITIONS[NAMES.training]).steps["Gate"]
    (condition,) = gate["Arguments"]["Conditions"]
    approval = SETTINGS.use_case.approval
    read = condition["LeftValue"]["Std:JsonGet"]
    assert read["Path"] == f"{names.QUALITY_METRICS}.{approval.metric}.value"
    assert read["PropertyFile"] == {"Get": "Steps.Evaluate.PropertyFiles.Evaluation"}
    (file,) = step_of(NAMES.training, "Evaluate")["PropertyFiles"]
    assert file == {
        "PropertyFileName": "Evaluation",
        "OutputName": "evaluation",
        "FilePath": "statistics.json",
    }
    higher = METRICS[approval.metric] == "LessThanThreshold"  # which would be a violation
    assert condition["Type"] == ("GreaterThanOrEqualTo" if higher else "LessThanOrEqualTo")
    assert condition["RightValue"] == {"Get": "Parameters.Threshold"}
    assert Execution(DEFINITIONS[NAMES.training]).parameters["Threshold"] == approval.threshold
    # The metric has it wait for the evaluation.
    described = {monitor.written[0] for monitor in MONITORS} - {"Evaluate"}
    assert {*gate.get("DependsOn", [])} == described


def test_model_that_does_not_pass_fails_with_metric_and_threshold() -> None:
    message = step_of(NAMES.training, "NotGoodEnough")["Arguments"]["ErrorMessage"]
    approval = SETTINGS.use_case.approval
    side = "below" if METRICS[approval.metric] == "LessThanThreshold" else "above"
    assert message == (
        f"{approval.metric} on the test data is {side} the threshold {approval.threshold}"
    )
    # The value is not the message's to tell; who tells of the failure puts it in.
    step = {"StepName": "NotGoodEnough", "StepStatus": "Failed", "FailureReason": message}
    evaluation = {"version": 0.0, names.QUALITY_METRICS: {approval.metric: {"value": 0.4321}}}
    said = message.replace(" is ", " is 0.4321, ")
    assert reasons([step], lambda: evaluation) == [f"NotGoodEnough: {said}"]
    assert reasons([step], lambda: None) == [f"NotGoodEnough: {message}"]


def test_reasons_are_those_of_the_steps_that_failed() -> None:
    steps = [
        {"StepName": "Prepare", "StepStatus": "Succeeded"},
        {"StepName": "Train", "StepStatus": "Failed", "FailureReason": "ClientError: no rows"},
        {"StepName": "Evaluate", "StepStatus": "Failed"},
    ]
    expected = ["Train: ClientError: no rows", "Evaluate: no reason given"]
    assert reasons(steps, lambda: pytest.fail("nothing was judged")) == expected


def test_version_says_where_it_comes_from_and_what_to_compare_with() -> None:
    version = step_of(NAMES.training, "Register")["Arguments"]
    folder = f"s3://{BUCKET}/training/abcdefgh1234"
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    assert version["CustomerMetadataProperties"] == {
        "Execution": "abcdefgh1234",
        "Monitors": " ".join(names.MONITORS),
        "Report": f"{folder}/evaluation/report.html",
        **({"Request": "true"} if config.load().request else {}),
        "Schema": f"{folder}/evaluation/schema.json",
        "TestData": f"{folder}/test",
        "Trigger": "manual",
    }
    told = step_of(NAMES.training, "Evaluate")["Arguments"]["Environment"]
    assert told == {"COMMIT": SETTINGS.commit, "EXECUTION": "abcdefgh1234"}
    assert version["MetadataProperties"]["CommitId"] == SETTINGS.commit
    evaluation = version["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert evaluation == f"{folder}/evaluation/statistics.json"


@pytest.mark.parametrize(("workflow", "name"), STEPS)
def test_code_runs_without_network_where_the_image_expects_its_files(
    workflow: str, name: str
) -> None:
    step = step_of(workflow, name)
    body = step["Arguments"]
    if step["Type"] == "Training":
        assert body["EnableNetworkIsolation"]
    elif step["Type"] == "Processing":
        assert body["NetworkConfig"]["EnableNetworkIsolation"]
        for side, files in (
            ("input", body["ProcessingInputs"]),
            ("output", body["ProcessingOutputConfig"]["Outputs"]),
        ):
            for file in files:
                s3 = file[f"S3{side.title()}"]
                label = file[f"{side.title()}Name"]
                # The folders of the data mart are inputs themselves.
                where = side if label == "mart" else f"{side}/{label}"
                assert s3["LocalPath"] == f"/opt/ml/processing/{where}"


def test_tables_are_read_each_from_its_own_folder() -> None:
    inputs = step_of(NAMES.training, "Prepare")["Arguments"]["ProcessingInputs"]
    # Without the slash at its end, a prefix would take in other folders that begin alike.
    assert {i["InputName"]: i["S3Input"]["S3Uri"] for i in inputs} == {
        table: f"s3://{BUCKET}/mart/{table}/" for table in SETTINGS.use_case.data.tables
    }


def test_monitors_run_in_one_job_if_one_has_something_to_look_at() -> None:
    steps = Execution(DEFINITIONS[NAMES.monitoring]).steps
    (condition,) = steps["Due"]["Arguments"]["Conditions"]
    assert condition["LeftValue"] == {"Get": "Steps.Inputs.OutputParameters['due']"}
    assert (condition["Type"], condition["RightValue"]) == ("GreaterThan", 0)
    assert [s["Name"] for s in steps["Due"]["Arguments"]["IfSteps"]] == ["Monitor", "Results"]
    assert steps["Due"]["Arguments"]["ElseSteps"] == []
    # In the image of the version that is judged.
    image = {"Get": "Steps.Inputs.OutputParameters['image']"}
    assert steps["Monitor"]["Arguments"]["AppSpecification"]["ImageUri"] == image
    job = step_of(NAMES.monitoring, "Monitor")["Arguments"]
    folder = f"s3://{BUCKET}/monitoring/inputs/abcdefgh1234"
    assert {i["S3Input"]["S3Uri"]: i["S3Input"]["S3DataType"] for i in job["ProcessingInputs"]} == {
        f"{folder}/plan.json": "S3Prefix",
        f"{folder}/files.manifest": "ManifestFile",
    }
    written = [out["S3Output"]["S3Uri"] for out in job["ProcessingOutputConfig"]["Outputs"]]
    prefixes = (keys.MONITORING, *keys.COLLECTED)
    assert written == [f"s3://{BUCKET}/{prefix.rstrip('/')}" for prefix in prefixes]
    results = step_of(NAMES.monitoring, "Results")
    assert results["Arguments"] == {"execution": "abcdefgh1234"}
    assert results["DependsOn"] == ["Monitor"]


def test_placeholders_are_filled_wherever_they_are() -> None:
    body = {"a": [output("Prepare", "train"), "x/@{execution}/y"], "b": 1, "c": ""}
    filled = fill(body, lambda name: f"<{name}>", tuple)
    assert filled == {
        "a": ["<output.Prepare.train>", ("x/", "<execution>", "/y")],
        "b": 1,
        "c": "",
    }


def test_check_of_requests_finds_what_botocore_does_not() -> None:
    body = step_of(NAMES.training, "Prepare")["Arguments"] | {
        "ProcessingJobName": "with_underscore"
    }
    body["ProcessingResources"]["ClusterConfig"] |= {"InstanceType": "ml.huge", "Speed": 1}
    body["ProcessingResources"]["ClusterConfig"].pop("VolumeSizeInGB")
    found = "\n".join(errors("sagemaker", "CreateProcessingJob", body))
    for part in (
        "'with_underscore' does not match",
        "'ml.huge' is none of",
        "Speed: unknown",
        "VolumeSizeInGB: missing",
    ):
        assert part in found
