"""The state machines, run as Step Functions would run them, and the commands that run them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from moto.stepfunctions.models import stepfunctions_backends
from support.simulated_step_functions import (
    ACCOUNT,
    BUCKET,
    FUNCTION,
    SETTINGS,
    Run,
    Services,
    StateError,
    every_state,
    language_errors,
    unguarded,
)

from ops import OpsError, aws, step_functions, workflow
from usecase.problem import METRICS
from workflows import keys, names
from workflows.step_functions import monitoring, training
from workflows.step_functions.states import REASON

NAMES = names.Names()

APPROVAL = SETTINGS.use_case.approval
HIGHER_IS_BETTER = METRICS[APPROVAL.metric] == "LessThanThreshold"  # which would be a violation
DEFINITIONS = {
    NAMES.training: training.definition(SETTINGS),
    NAMES.monitoring: monitoring.definition(SETTINGS, f"{FUNCTION}:inputs", f"{FUNCTION}:results"),
}
workflows = pytest.mark.parametrize("workflow", DEFINITIONS)


def job_failure(name: str, **told: str) -> StateError:
    """The error of a job that has failed: its cause is the description of the job."""
    return StateError("States.TaskFailed", json.dumps({"ProcessingJobName": name, **told}))


@pytest.fixture
def services() -> Services:
    return Services()


def train(services: Services, **given: str) -> Run:
    run = Run(DEFINITIONS[NAMES.training], services)
    run.run(given)
    return run


def monitor(services: Services, **given: str) -> Run:
    run = Run(DEFINITIONS[NAMES.monitoring], services)
    run.run(given)
    return run


@workflows
def test_validator_of_the_language_finds_nothing(workflow: str, tmp_path: Path) -> None:
    assert language_errors(DEFINITIONS[workflow], tmp_path) == ""


def test_validator_of_the_language_would_find_something(tmp_path: Path) -> None:
    definition = {**DEFINITIONS[NAMES.training], "StartAt": "Nowhere"}
    assert "Nowhere" in language_errors(definition, tmp_path)


@workflows
def test_every_state_can_be_reached_and_nothing_is_left_to_fill_in(workflow: str) -> None:
    definition = DEFINITIONS[workflow]
    known = [name for name, _ in every_state(definition)]
    assert len(set(known)) == len(known)
    assert "@{" not in json.dumps(definition)


@workflows
def test_what_can_pass_is_tried_again_and_every_failure_is_caught(workflow: str) -> None:
    assert unguarded(DEFINITIONS[workflow]) == []


def test_training_runs_its_states_in_order(services: Services) -> None:
    assert train(services).names == [
        *("Parameters", "Prepare", "Train", "Measure", "Evaluate", "Baseline"),
        *("ReadMetric", "Gate", "Register"),
    ]


def test_version_says_where_it_comes_from_and_what_to_compare_with(services: Services) -> None:
    requests = train(services, Trigger="something").requests
    version = requests["Register"]
    folder = f"s3://{BUCKET}/training/execution-1"
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    assert version["CustomerMetadataProperties"] == {
        "Execution": "execution-1",
        "Monitors": " ".join(names.MONITORS),
        "Report": f"{folder}/evaluation/report.html",
        "Schema": f"{folder}/evaluation/schema.json",
        "TestData": f"{folder}/test",
        "Trigger": "something",
    }
    told = requests["Evaluate"]["Environment"]
    assert told == {"COMMIT": SETTINGS.commit, "EXECUTION": "execution-1"}
    (container,) = version["InferenceSpecification"]["Containers"]
    assert re.fullmatch(f"{folder}/model/.+/output/model.tar.gz", container["ModelDataUrl"])
    evaluation = version["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert evaluation == f"{folder}/evaluation/statistics.json"


def test_execution_registers_one_version_however_often_it_asks(services: Services) -> None:
    services.failures["Register"] = [StateError("SageMaker.SageMakerException", "Rate exceeded")]
    again, other = train(services), Run(DEFINITIONS[NAMES.training], services, "execution-2")
    other.run()
    tokens = [run.requests["Register"]["ClientToken"] for run in (again, train(services), other)]
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize(("off", "passes"), [(0, True), (0.1, True), (-0.1, False)])
def test_model_is_registered_if_its_metric_reaches_the_threshold(
    services: Services, off: float, passes: bool
) -> None:
    services.metric = APPROVAL.threshold + (off if HIGHER_IS_BETTER else -off)
    if passes:
        assert train(services).names[-1] == "Register"
        return
    side = "below" if HIGHER_IS_BETTER else "above"
    message = f"{services.metric}, {side} the threshold {APPROVAL.threshold:g}"
    with pytest.raises(StateError, match=f"NotGoodEnough: {APPROVAL.metric} .* is {message}"):
        train(services)


def test_threshold_can_be_given(services: Services) -> None:
    strict = APPROVAL.threshold + (0.01 if HIGHER_IS_BETTER else -0.01)
    with pytest.raises(StateError, match=f"the threshold {strict}"):
        train(services, Threshold=str(strict))


def test_tables_are_read_each_from_its_own_folder(services: Services) -> None:
    inputs = train(services).requests["Prepare"]["ProcessingInputs"]
    # Without the slash at its end, a prefix would take in other folders that begin alike.
    assert {i["InputName"]: i["S3Input"]["S3Uri"] for i in inputs} == {
        table: f"s3://{BUCKET}/mart/{table}/" for table in SETTINGS.use_case.data.tables
    }


def test_names_of_jobs_differ_by_execution_state_and_attempt(services: Services) -> None:
    services.failures["Prepare"] = [
        StateError("SageMaker.AmazonSageMakerException", "Rate exceeded"),
        StateError("SageMaker.ResourceLimitExceededException", "No instance left"),
    ]
    runs = [
        train(services),
        train(services),
        monitor(services),
        Run(DEFINITIONS[NAMES.training], services, "execution-2"),
    ]
    runs[3].run()
    first = runs[0].requests["Prepare"]["ProcessingJobName"]
    assert re.fullmatch(f"{names.PROJECT}-[0-9a-f]{{10}}-Prepare-2", first)
    second = runs[1].requests["Prepare"]["ProcessingJobName"]
    assert second == f"{first[:-1]}0"
    made = [
        value
        for run in (runs[0], runs[3])
        for request in run.requests.values()
        for key, value in request.items()
        if key.endswith("JobName")
    ]
    assert len(set(made)) == len(made) == 8
    # With the longest project name, a redrive and ten attempts.
    longest = max(len(name) for name in made) - len(names.PROJECT) + 32 + len("10-1")
    assert longest <= 63


@pytest.mark.parametrize("state", ["Prepare", "Train", "Evaluate", "Baseline"])
def test_failed_job_fails_the_execution_with_its_reason(services: Services, state: str) -> None:
    services.failures[state] = [
        job_failure("job-1", FailureReason="AlgorithmError: no such column")
    ]
    with pytest.raises(StateError) as raised:
        train(services)
    where = state if state in {"Prepare", "Train"} else "Measure"
    assert raised.value.error == "StateFailed"
    assert raised.value.cause == f"{where}: AlgorithmError: no such column (job-1)"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            job_failure("job-1", FailureReason="AlgorithmError: see log", ExitMessage="no rows"),
            "Prepare: AlgorithmError: see log: no rows (job-1)",
        ),
        (
            job_failure("job-1", FailureReason="AlgorithmError: no rows", ExitMessage="no rows"),
            "Prepare: AlgorithmError: no rows (job-1)",
        ),
        (StateError("SageMaker.X", "Role may not"), "Prepare: Role may not"),
        (StateError("States.Timeout", ""), "Prepare: States.Timeout"),
        (StateError("Error", json.dumps({"errorMessage": "bad window"})), "Prepare: bad window"),
    ],
)
def test_reason_is_told_in_one_line(services: Services, error: StateError, reason: str) -> None:
    services.failures["Prepare"] = [error]
    with pytest.raises(StateError) as raised:
        train(services)
    assert raised.value.cause == reason


def test_service_that_stays_away_fails_the_execution(services: Services) -> None:
    services.failures["Prepare"] = [
        StateError("SageMaker.AmazonSageMakerException", "Rate exceeded") for _ in range(9)
    ]
    with pytest.raises(StateError, match="Prepare: Rate exceeded"):
        train(services)
    assert len(services.failures["Prepare"]) == 9 - 6


def test_monitors_look_at_the_version_and_the_window_that_are_given(services: Services) -> None:
    given = {
        "Version": "6",
        "Time": "2026-01-09T00:00:00Z",
        "WindowStart": "2026-01-01T00:00:00Z",
        "WindowEnd": "2026-01-08T00:00:00Z",
    }
    for parameters, expected in (({}, ["auto"] * 4), (given, [*given.values()])):
        asked = monitor(services, **parameters).requests["Inputs"]["Payload"]
        assert [asked[name] for name in ("version", "time", "start", "end")] == expected
        assert asked["execution"] == "execution-1"


def test_monitors_run_in_one_job_if_one_has_something_to_look_at(services: Services) -> None:
    run = monitor(services)
    assert run.names == ["Parameters", "Inputs", "Due", "Monitor", "Results"]
    job = run.requests["Monitor"]
    # In the image of the version that is judged.
    assert job["AppSpecification"]["ImageUri"] == "image-of-7"
    folder = f"s3://{BUCKET}/monitoring/inputs/execution-1"
    assert {i["S3Input"]["S3Uri"]: i["S3Input"]["S3DataType"] for i in job["ProcessingInputs"]} == {
        f"{folder}/plan.json": "S3Prefix",
        f"{folder}/files.manifest": "ManifestFile",
    }
    written = [out["S3Output"]["S3Uri"] for out in job["ProcessingOutputConfig"]["Outputs"]]
    prefixes = (keys.MONITORING, *keys.COLLECTED)
    assert written == [f"s3://{BUCKET}/{prefix.rstrip('/')}" for prefix in prefixes]
    assert run.requests["Results"]["Payload"] == {"execution": "execution-1"}
    services.due = 0
    assert monitor(services).names == ["Parameters", "Inputs", "Due", "NothingToDo"]


@pytest.mark.parametrize("state", ["Inputs", "Results"])
def test_failed_monitor_fails_the_execution_with_its_reason(services: Services, state: str) -> None:
    told = json.dumps({"errorMessage": "a_monitor: no baseline", "errorType": "MonitorFailed"})
    services.failures[state] = [StateError("MonitorFailed", told)]
    with pytest.raises(StateError) as raised:
        monitor(services)
    assert str(raised.value) == f"StateFailed: {state}: a_monitor: no baseline"


def test_reason_is_written_once_for_all_states() -> None:
    texts = [state.get("Cause") for _, state in every_state(DEFINITIONS[NAMES.training])]
    assert texts.count(REASON) == 1


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account with the state machine of the training in it."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    clients = (step_functions.client, aws.account)
    with mock_aws():  # it brings credentials too
        for client in clients:
            client.cache_clear()
        step_functions.client().create_state_machine(
            name=NAMES.training,
            definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
            roleArn=SETTINGS.role,
        )
        yield
    for client in clients:
        client.cache_clear()


def end(status: str, cause: str | None = None) -> None:
    """Bring the only execution to an end."""
    (machine,) = stepfunctions_backends[ACCOUNT][names.REGION].state_machines
    (execution,) = machine.executions
    execution.status, execution.cause = status, cause


@pytest.mark.usefixtures("deployed")
def test_execution_runs_until_it_ends() -> None:
    arn = workflow.start(NAMES.training, {"Trigger": "manual"})
    state = workflow.describe(arn)
    assert (state.status, state.parameters) == ("running", {"Trigger": "manual"})
    assert arn.endswith(f":{NAMES.training}:{state.id}")
    end("SUCCEEDED")
    assert workflow.wait(arn).status == "succeeded"
    assert [known.reference for known in workflow.executions(NAMES.training)] == [arn]


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT"])
def test_failed_execution_is_told_with_its_cause(status: str) -> None:
    arn = workflow.start(NAMES.training, {})
    end(status, "Prepare: AlgorithmError: no rows")
    with pytest.raises(OpsError, match="failed: Prepare: AlgorithmError: no rows"):
        workflow.wait(arn)


@pytest.mark.usefixtures("deployed")
def test_stopped_execution_is_told() -> None:
    arn = workflow.start(NAMES.training, {})
    workflow.stop(arn)
    with pytest.raises(OpsError, match="stopped"):
        workflow.wait(arn)


@pytest.mark.usefixtures("deployed")
def test_tasks_that_run_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def entered(name: str) -> dict[str, Any]:
        return {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": name}}

    def exited(name: str) -> dict[str, Any]:
        return {"type": "TaskStateExited", "stateExitedEventDetails": {"name": name}}

    events = [
        {"type": "ExecutionStarted"},
        entered("Prepare"),
        {"type": "TaskStarted"},
        exited("Prepare"),
        {"type": "ParallelStateEntered", "stateEnteredEventDetails": {"name": "Measure"}},
        entered("Evaluate"),
        entered("Baseline"),
        exited("Evaluate"),
    ]
    (machine,) = stepfunctions_backends[ACCOUNT][names.REGION].state_machines
    history = [event | {"id": i, "timestamp": 1.5e9} for i, event in enumerate(events, start=1)]
    arn = workflow.start(NAMES.training, {})
    monkeypatch.setattr(type(machine.executions[0]), "get_execution_history", lambda *_: history)
    assert workflow.describe(arn).running == ["Baseline"]
