"""What is wrong with the definition of a state machine, in the words of Step Functions.

Source: "State machine structure in Amazon States Language for Step Functions workflows" in the AWS
Step Functions Developer Guide, and the codes of ValidateStateMachineDefinition. Expressions are
ministack's to check; what states of each type must have is asl-validator's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from local_aws.host.stepfunctions import sagemaker_tasks

_TYPES = ("Choice", "Fail", "Map", "Parallel", "Pass", "Succeed", "Task", "Wait")
_ENDS = ("Choice", "Fail", "Succeed")  # these have neither Next nor End


def problem(definition: str) -> str | None:
    """Return the first thing that keeps a definition from running.

    Args:
        definition: The definition, JSON.

    Returns:
        Code, description and place, or None.
    """
    try:
        machine = json.loads(definition)
    except ValueError as error:
        return f"INVALID_JSON_DESCRIPTION: Could not parse definition: {error}"
    seen: set[str] = set()
    return next(_problems(machine, "", seen), None)


def _problems(machine: object, path: str, seen: set[str]) -> Iterator[str]:
    """Yield what is wrong with a state machine or a branch of one, which has the same form."""
    if not isinstance(machine, dict) or not isinstance(machine.get("States"), dict):
        yield f"SCHEMA_VALIDATION_FAILED: There are no States at {path or '/'}"
        return
    states = machine["States"]
    if machine.get("StartAt") not in states:
        yield (
            f"MISSING_TRANSITION_TARGET: Missing 'StartAt' target: {machine.get('StartAt')} "
            f"at {path}/StartAt"
        )
    for name, state in states.items():
        place = f"{path}/States/{name}"
        if name in seen:
            yield f"DUPLICATE_STATE_NAME: Duplicate State name: {name} at {place}"
        seen.add(name)
        if not isinstance(state, dict) or state.get("Type") not in _TYPES:
            yield f"SCHEMA_VALIDATION_FAILED: Type must be one of {', '.join(_TYPES)} at {place}"
            continue
        yield from _state_problems(state, states, place)
        inner = {f"Branches/{number}": b for number, b in enumerate(state.get("Branches", []))}
        inner |= {key: state[key] for key in ("ItemProcessor", "Iterator") if key in state}
        for key, branch in inner.items():
            yield from _problems(branch, f"{place}/{key}", seen)


def _state_problems(
    state: Mapping[str, Any], states: Mapping[str, Any], place: str
) -> Iterator[str]:
    if state["Type"] not in _ENDS and not ("Next" in state or state.get("End") is True):
        yield f"SCHEMA_VALIDATION_FAILED: There is neither Next nor End at {place}"
    for target, where in _targets(state):
        if target not in states:
            yield f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at {place}/{where}"
    if state["Type"] == "Task":
        resource = state.get("Resource")
        wrong = "There is no Resource"
        if isinstance(resource, str):
            wrong = sagemaker_tasks.problem(resource) or ""
        if wrong:
            yield f"SCHEMA_VALIDATION_FAILED: {wrong} at {place}/Resource"


def _targets(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of states that may follow, each with its place in the state."""
    for key in ("Next", "Default"):
        if key in state:
            yield state[key], key
    for key in ("Choices", "Catch"):
        for number, rule in enumerate(state.get(key, [])):
            if "Next" in rule:
                yield rule["Next"], f"{key}/{number}/Next"
