"""Runs a state machine as Step Functions would, with the test in the place of AWS's services.

The expressions are evaluated by an implementation of JSONata that is not ours. Only what the state
machines here are made of is known; anything else is an error.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonata import Jsonata  # type: ignore[import-untyped]  # it has no types
from support.fake_sagemaker import errors

from usecase import config
from workflows import names
from workflows.jobs import Settings

NAMES = names.Names()

Json = Any
Answer = Callable[[str, str, dict[str, Json]], Json]

ASL_VALIDATOR = "asl-validator@4.0.0"
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

FUNCTIONS: dict[str, Callable[..., Json]] = {
    "parse": json.loads,
    "hash": lambda text, name: hashlib.new(name.replace("-", ""), text.encode()).hexdigest(),
}


class StateError(Exception):
    """A state has failed; the arguments are its error's name and cause."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class Services:
    """What the tasks of an execution are answered.

    Attributes:
        approval: What the evaluation is compared with.
        metric: The metric that the evaluation finds.
        due: How many monitors have something to look at.
        failures: The error of each state that is to fail, until there is none left.
        results: The result of each state that is to have another than these.
    """

    def __init__(self) -> None:
        self.approval = SETTINGS.use_case.approval
        self.metric = self.approval.threshold
        self.due = 1
        self.failures: dict[str, list[StateError]] = {}
        self.results: dict[str, Json] = {}

    def __call__(self, state: str, resource: str, request: dict[str, Json]) -> Json:
        if self.failures.get(state):
            raise self.failures[state].pop(0)
        service, action = resource.removesuffix(".sync").split(":")[-2:]
        if service != "lambda":
            assert errors(service, action[0].upper() + action[1:], request) == []
        if state in self.results:
            return self.results[state]
        match action:
            case "createTrainingJob":
                folder = f"{request['OutputDataConfig']['S3OutputPath']}/job"
                return {"ModelArtifacts": {"S3ModelArtifacts": f"{folder}/output/model.tar.gz"}}
            case "getObject":
                evaluation = {names.QUALITY_METRICS: {self.approval.metric: {"value": self.metric}}}
                return {"Body": json.dumps(evaluation)}
            case "invoke" if request["FunctionName"].endswith(":results"):
                return {"Payload": {"violations": 0, "problems": 0}}
            case "invoke":
                return {"Payload": {"due": self.due, "image": "image-of-7"}}
        return request  # the description of a job has what it was asked for


@dataclass
class Run:
    """One execution.

    Attributes:
        definition: The state machine.
        answer: Called with the state's name, its resource and the request; returns the task's
            result or raises StateError.
        name: The execution's name.
        requests: What each task was asked, by state; the last attempt.
        names: The names of all states in the order in which they were entered.
    """

    definition: dict[str, Json]
    answer: Answer
    name: str = "execution-1"
    requests: dict[str, dict[str, Json]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def run(self, given: dict[str, Json] | None = None) -> Json:
        """Run to the end and return the output.

        Raises:
            StateError: When the execution fails.
        """
        assert self.definition["QueryLanguage"] == "JSONata"
        return self._states(self.definition, given or {}, {})

    def _states(self, scope: dict[str, Json], given: Json, outer: Mapping[str, Json]) -> Json:
        """Run the states of the machine or of a branch."""
        variables, name = dict(outer), scope["StartAt"]
        while True:
            state = scope["States"][name]
            self.names.append(name)
            try:
                given, following = self._state(name, state, given, variables)
            except StateError as error:
                (catch,) = state.get("Catch", [None])
                if catch is None:
                    raise
                assert catch["ErrorEquals"] == ["States.ALL"]
                told = {"Error": error.error} | ({"Cause": error.cause} if error.cause else {})
                scope_of = self._scope(name, given, variables, errorOutput=told)
                given, following = evaluate(catch["Output"], scope_of), catch["Next"]
            if following is None:
                return given
            name = following

    def _state(
        self, name: str, state: dict[str, Json], given: Json, variables: dict[str, Json]
    ) -> tuple[Json, str | None]:
        """Run a state; return its output and the state that follows."""
        here = self._scope(name, given, variables)
        match state["Type"]:
            case "Fail":
                raise StateError(evaluate(state["Error"], here), evaluate(state["Cause"], here))
            case "Choice":
                for choice in state["Choices"]:
                    decided = evaluate(choice["Condition"], here)
                    assert isinstance(decided, bool), choice["Condition"]
                    if decided:
                        return given, choice["Next"]
                return given, state["Default"]
            case "Task":
                here = self._scope(name, given, variables, result=self._task(name, state, here))
            case "Parallel":
                branches = [self._states(b, given, variables) for b in state["Branches"]]
                here = self._scope(name, given, variables, result=branches)
            case kind:
                assert kind in {"Pass", "Succeed"}
        default = here["states"].get("result", given)
        output = evaluate(state["Output"], here) if "Output" in state else default
        variables |= evaluate(state.get("Assign", {}), here)
        assert state["Type"] == "Succeed" or ("Next" in state) != state.get("End", False)
        return output, state.get("Next")

    def _task(self, name: str, state: dict[str, Json], here: dict[str, Json]) -> Json:
        """Ask for a task until it is done or not to be tried again."""
        context = here["states"]["context"]["State"]
        while True:
            self.requests[name] = evaluate(state["Arguments"], here)
            try:
                return self.answer(name, state["Resource"], self.requests[name])
            except StateError as error:
                retries = [r for r in state.get("Retry", []) if error.error in r["ErrorEquals"]]
                if not retries or context["RetryCount"] == retries[0]["MaxAttempts"]:
                    raise
                context["RetryCount"] += 1

    def _scope(
        self, state: str, given: Json, variables: Mapping[str, Json], **more: Json
    ) -> dict[str, Json]:
        """The variables that an expression of a state can see."""
        machine = "arn:aws:states:us-east-1:123456789012:execution:machine"
        context = {
            "Execution": {"Id": f"{machine}:{self.name}", "Name": self.name},
            "State": {"Name": state, "RetryCount": 0},
        }
        return {**variables, "states": {"input": given, "context": context, **more}}


def language_errors(definition: Json, folder: Path) -> str:
    """What asl-validator, run by Node, finds wrong with a definition; empty if nothing."""
    file = folder / "definition.json"
    file.write_text(json.dumps(definition))
    command = ["npx", "--yes", ASL_VALIDATOR, "--json-path", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr if result.returncode else ""


def evaluate(value: Json, scope: Mapping[str, Json]) -> Json:
    """Put values for the expressions in a JSON value."""
    if isinstance(value, dict):
        return {key: evaluate(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, scope) for item in value]
    if not (isinstance(value, str) and value.startswith("{%") and value.endswith("%}")):
        return value
    expression = Jsonata(value[2:-2])
    frame = expression.create_frame()
    for name, item in scope.items():
        frame.bind(name, item)
    for name, function in FUNCTIONS.items():
        expression.register_lambda(name, function)
    found = expression.evaluate(None, frame)
    # Step Functions takes it for an error too, States.QueryEvaluationError.
    assert found is not None, f"{value} is undefined"
    return found


def every_state(scope: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """All states of a machine with those of its branches, by their names."""
    for name, state in scope["States"].items():
        yield name, state
        for branch in state.get("Branches", []):
            yield from every_state(branch)


def unguarded(definition: Json) -> list[str]:
    """The tasks whose failures are not caught, that have no time limit or that are retried wrongly.

    A job that has failed would fail again.
    """
    caught_outside = {
        name
        for _, state in every_state(definition)
        if state["Type"] == "Parallel" and "Catch" in state
        for branch in state["Branches"]
        for name in branch["States"]
    }
    found = []
    for name, state in every_state(definition):
        if state["Type"] == "Task":
            again = {error for retry in state["Retry"] for error in retry["ErrorEquals"]}
            caught = [error for catch in state.get("Catch", []) for error in catch["ErrorEquals"]]
            if (
                not again
                or again & {"States.ALL", "States.TaskFailed", "States.Timeout"}
                or not state["TimeoutSeconds"]
                or (name not in caught_outside and caught != ["States.ALL"])
            ):
                found.append(name)
    return found
