"""What the states of a state machine in JSONata can say, with golden results of AWS's documents."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from conftest import until
from host_process import ROLE, HostProcess
from host_process import function as create_function
from state_machines import end, history, machine, output, run, start, task

from local_aws.host.stepfunctions.tasks import delay

LAMBDA_INVOKE = "arn:aws:states:::lambda:invoke"
CODE = """
import time

class Busy(Exception):
    pass

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    if event.get("fail"):
        raise Busy("come back later")
    return {"doubled": event["x"] * 2}
"""


@pytest.fixture(scope="module")
def function(host: HostProcess) -> str:
    """The name of a Lambda function that doubles x or fails."""
    create_function(host, "double", CODE)
    return "double"


def branch(states: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


def one(**fields: Any) -> dict[str, Any]:
    """Make a state machine of one Pass state."""
    return machine({"Say": {"Type": "Pass", "End": True, **fields}})


# Guide: "JSONata functions provided by Step Functions".
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$partition([1,2,3,4], 2)", [[1, 2], [3, 4]]),
        ("$range(0, 10, 2)", [0, 2, 4, 6, 8, 10]),
        ("$hash('abc', 'SHA-256')", hashlib.sha256(b"abc").hexdigest()),
        ('$parse(\'{"a": {"b": [1, 2]}}\').a.b[1]', 2),
        ("$random(3) = $random(3) and $random(3) < 1", True),
        ("$boolean($match($uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4/))", True),
        ("4 / 2", 2),
        ("'day=' & $substring($states.context.Execution.StartTime, 0, 4) > 'day=2025'", True),
        ("$exists($states.input.nothing) ? 1 : 'none'", "none"),
        ("$states.input.rows[value > 1].name", "b"),
    ],
)
def test_expressions(host: HostProcess, name: str, expression: str, expected: Any) -> None:
    rows = [{"name": "a", "value": 1}, {"name": "b", "value": 2}]
    definition = one(Output=f"{{% {expression} %}}")
    assert output(host, name, definition, {"rows": rows}) == expected


def test_the_context_of_an_execution(host: HostProcess, name: str) -> None:
    context = {
        "id": "{% $states.context.Execution.Id %}",
        "name": "{% $states.context.Execution.Name %}",
        "input": "{% $states.context.Execution.Input %}",
        "role": "{% $states.context.Execution.RoleArn %}",
        "redrives": "{% $states.context.Execution.RedriveCount %}",
        "machine": "{% $states.context.StateMachine.Name %}",
        "state": "{% $states.context.State.Name %}",
        "retries": "{% $states.context.State.RetryCount %}",
    }
    found = output(host, name, one(Output=context), {"a": 1})
    assert found.pop("id").endswith(f":execution:{name}:{name}")
    assert found == {
        "name": name,
        "input": {"a": 1},
        "role": ROLE,
        "redrives": 0,
        "machine": name,
        "state": "Say",
        "retries": 0,
    }


def test_a_state_machine_that_uses_it_all(host: HostProcess, name: str, function: str) -> None:
    score = {
        "Score": task(
            LAMBDA_INVOKE,
            {"FunctionName": function, "Payload": {"x": "{% $states.input.value %}"}},
            Output={
                "index": "{% $states.input.index %}",
                "doubled": "{% $states.result.Payload.doubled %}",
                "offset": "{% $offset %}",  # of the outer scope
            },
        )
    }
    fallible = {
        "Try": task(
            LAMBDA_INVOKE,
            {"FunctionName": function, "Payload": {"fail": True}},
            Retry=[{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 1}],
            Catch=[
                {
                    "ErrorEquals": ["States.ALL"],
                    "Assign": {"tries": "{% $states.context.State.RetryCount + 1 %}"},
                    "Output": {"why": "{% $parse($states.errorOutput.Cause).errorMessage %}"},
                    "Next": "Tell",
                }
            ],
        ),
        "Tell": {
            "Type": "Pass",
            "Output": {"why": "{% $states.input.why %}", "tries": "{% $tries %}"},
            "End": True,
        },
    }
    states = {
        "Begin": {"Type": "Pass", "Assign": {"offset": 100}, "Next": "Each"},
        "Each": {
            "Type": "Map",
            "Items": "{% $states.input.values %}",
            "MaxConcurrency": 2,
            "ItemSelector": {
                "value": "{% $states.context.Map.Item.Value %}",
                "index": "{% $states.context.Map.Item.Index %}",
            },
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **branch(score)},
            "Assign": {"sum": "{% $sum($states.result.doubled) %}"},
            "Next": "Both",
        },
        "Both": {
            "Type": "Parallel",
            "Arguments": {"scores": "{% $states.input %}"},
            "Branches": [
                branch({"Keep": {"Type": "Pass", "Output": "{% $states.input %}", "End": True}}),
                branch(fallible),
            ],
            "Assign": {"fault": "{% $states.result[1] %}"},
            "Output": "{% $states.result[0].scores %}",
            "Next": "Enough",
        },
        "Enough": {
            "Type": "Choice",
            "Choices": [
                {
                    "Condition": "{% $sum > 1000 %}",
                    "Next": "Refuse",
                }
            ],
            "Default": "Wait",
            "Output": {"scores": "{% $states.input %}", "sum": "{% $sum %}"},
            "Assign": {"enough": True},
        },
        "Wait": {"Type": "Wait", "Seconds": "{% $sum - $sum %}", "Next": "Done"},
        "Refuse": {"Type": "Fail"},
        "Done": {
            "Type": "Succeed",
            "Output": "{% $merge([$states.input, {'fault': $fault, 'enough': $enough}]) %}",
        },
    }
    found = output(host, name, machine(states), {"values": [1, 2, 3]})
    assert found == {
        "scores": [
            {"index": 0, "doubled": 2, "offset": 100},
            {"index": 1, "doubled": 4, "offset": 100},
            {"index": 2, "doubled": 6, "offset": 100},
        ],
        "sum": 12,
        "fault": {"why": "come back later", "tries": 2},
        "enough": True,
    }


def test_variables_of_a_branch_stay_in_it(host: HostProcess, name: str) -> None:
    inner = branch({"Set": {"Type": "Pass", "Assign": {"inner": 1}, "End": True}})
    states = {
        "Both": {"Type": "Parallel", "Branches": [inner], "Next": "Look"},
        "Look": {"Type": "Pass", "Output": "{% $exists($inner) %}", "End": True},
    }
    assert output(host, name, machine(states)) is False


def test_states_of_branches_keep_their_own_names(host: HostProcess, name: str) -> None:
    said = {"Output": "{% $states.context.State.Name %}", "End": True}
    slow = branch({"Slow": {"Type": "Wait", "Seconds": 1, **said}})
    fast = branch({"Fast": {"Type": "Pass", **said}})
    states = {"Both": {"Type": "Parallel", "Branches": [slow, fast], "End": True}}
    assert output(host, name, machine(states)) == ["Slow", "Fast"]


# Guide: "Retrying after an error".
@pytest.mark.parametrize(
    ("retrier", "retries", "seconds"),
    [
        ({}, 0, 1),
        ({}, 3, 8),
        ({"IntervalSeconds": 3, "BackoffRate": 2}, 0, 3),
        ({"IntervalSeconds": 3, "BackoffRate": 2}, 2, 12),
        ({"IntervalSeconds": 2, "BackoffRate": 1.5}, 1, 3),
        ({"IntervalSeconds": 1, "BackoffRate": 100, "MaxDelaySeconds": 2}, 0, 1),
        ({"IntervalSeconds": 1, "BackoffRate": 100, "MaxDelaySeconds": 2}, 1, 2),
        ({"IntervalSeconds": 3, "JitterStrategy": "NONE"}, 0, 3),
    ],
)
def test_retries_back_off_no_further_than_told(
    retrier: dict[str, Any], retries: int, seconds: float
) -> None:
    assert delay(retrier, retries) == seconds


def test_jitter_spreads_retries_up_to_the_delay() -> None:
    retrier = {"IntervalSeconds": 3, "JitterStrategy": "FULL"}
    delays = [delay(retrier, 1) for _ in range(200)]
    assert 0 <= min(delays) < max(delays) <= 6
    assert len(set(delays)) > 1


def test_what_still_fails_after_its_retries_fails_the_execution(
    host: HostProcess, name: str, function: str
) -> None:
    retry = {
        "ErrorEquals": ["Busy"],
        "IntervalSeconds": 1,
        "BackoffRate": 10_000,
        "MaxDelaySeconds": 1,
        "MaxAttempts": 2,
    }
    arguments = {"FunctionName": function, "Payload": {"fail": True}}
    described = run(host, name, machine({"Try": task(LAMBDA_INVOKE, arguments, Retry=[retry])}))
    assert described["error"] == "Busy"
    assert json.loads(described["cause"])["errorMessage"] == "come back later"
    assert types(host, described["executionArn"]).count("TaskFailed") == 3


def types(host: HostProcess, execution: str) -> list[str]:
    return [event["type"] for event in history(host, execution)]


def test_a_stop_ends_the_wait_for_a_retry(host: HostProcess, name: str, function: str) -> None:
    arguments = {"FunctionName": function, "Payload": {"fail": True}}

    def trying(attempts: int) -> dict[str, Any]:
        retry = {"ErrorEquals": ["Busy"], "BackoffRate": 1, "MaxAttempts": attempts}
        return machine({"Try": task(LAMBDA_INVOKE, arguments, Retry=[retry])})

    execution = start(host, name, trying(99))
    until(lambda: "TaskFailed" in types(host, execution))
    host.client("stepfunctions").stop_execution(executionArn=execution)
    told = types(host, execution)
    run(host, f"{name}-other", trying(2))  # waits twice as long as the one that was stopped
    assert types(host, execution) == told
    assert told[-1] == "ExecutionAborted"


def test_a_stopped_execution_stays_stopped_when_its_function_fails(
    host: HostProcess, name: str, function: str
) -> None:
    arguments = {"FunctionName": function, "Payload": {"fail": True, "seconds": 1}}
    execution = start(host, name, machine({"Try": task(LAMBDA_INVOKE, arguments)}))
    until(lambda: "TaskStarted" in types(host, execution))
    host.client("stepfunctions").stop_execution(executionArn=execution)
    until(lambda: "TaskFailed" in types(host, execution))
    run(host, f"{name}-other", one())  # whatever follows the failure has followed by its end
    assert end(host, execution)["status"] == "ABORTED"
    assert "ExecutionFailed" not in types(host, execution)


def test_a_condition_must_be_true_or_false(host: HostProcess, name: str) -> None:
    choices = [{"Condition": "{% 'yes' %}", "Next": "Done"}]
    states = {
        "Choose": {"Type": "Choice", "Choices": choices, "Default": "Done"},
        "Done": {"Type": "Succeed"},
    }
    described = run(host, name, machine(states))
    assert described["error"] == "States.QueryEvaluationError"
    assert re.search("Condition.*boolean.*string", described["cause"])


def test_an_expression_without_a_result_can_be_caught(
    host: HostProcess, name: str, function: str
) -> None:
    states = {
        "Call": task(
            LAMBDA_INVOKE,
            {"FunctionName": function, "Payload": "{% $states.input.nothing %}"},
            Catch=[{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Caught"}],
        ),
        "Caught": {"Type": "Succeed", "Output": "{% $states.input.Error %}"},
    }
    assert output(host, name, machine(states)) == "States.QueryEvaluationError"


PASS = {"Type": "Pass", "End": True}


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ("{", "INVALID_JSON_DESCRIPTION"),
        ("[]", "SCHEMA_VALIDATION_FAILED.* at /"),
        (one(Output="{% 1 + %}"), "INVALID_JSONATA_EXPRESSION.* at /States/Say/Output"),
        (machine({"A": PASS}, StartAt="B"), "MISSING_TRANSITION_TARGET.*B at /StartAt"),
        (
            machine({"A": {"Type": "Pass", "Next": "B"}}),
            "MISSING_TRANSITION_TARGET: Missing 'Next' target: B at /States/A/Next",
        ),
        (
            machine({"A": {"Type": "Choice", "Choices": [{"Condition": True, "Next": "B"}]}}),
            "MISSING_TRANSITION_TARGET.*B at /States/A/Choices/0/Next",
        ),
        (machine({"A": {"Type": "Pass"}}), "neither Next nor End at /States/A"),
        (machine({"A": {"Type": "Pas", "End": True}}), "Type must be one of.*at /States/A"),
        (machine({"A": {"Type": "Task", "End": True}}), "no Resource at /States/A"),
        (
            machine({"A": {"Type": "Parallel", "Branches": [branch({"A": PASS})], "End": True}}),
            "DUPLICATE_STATE_NAME.*at /States/A/Branches/0/States/A",
        ),
    ],
)
def test_a_definition_that_cannot_run_is_refused(
    host: HostProcess, name: str, definition: Any, told: str
) -> None:
    states = host.client("stepfunctions")
    text = definition if isinstance(definition, str) else json.dumps(definition)
    with pytest.raises(states.exceptions.InvalidDefinition) as caught:
        states.create_state_machine(name=name, definition=text, roleArn=ROLE)
    assert re.search(told, str(caught.value), re.DOTALL)
