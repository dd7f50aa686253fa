"""What the states of ministack's Step Functions lack: branches that end together, and JSONata.

Each function replaces one of ministack's own by one that also does what AWS documents; the guide is
the AWS Step Functions Developer Guide.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from local_aws.host.internals import module
from local_aws.host.stepfunctions.scopes import EndedError, Scope, current, entered
from local_aws.host.stepfunctions.tasks import failed

State = Mapping[str, Any]


def apply() -> None:
    """Add what is missing."""
    _end_branches_together()
    _show_the_states_of_branches()
    _show_the_whole_context()
    _keep_the_output_of_succeed()
    _choose_in_jsonata()


def _end_branches_together() -> None:
    """Let the first failure of a Parallel or Map state end its other branches.

    A Parallel state's Arguments, Output and Assign are evaluated in JSONata. AWS: "Parallel
    workflow state", "Map workflow state", "Transforming data with JSONata in Step Functions".
    """
    states = module("services.stepfunctions")
    run_branches, run_items = states._run_parallel_branches, states._run_map_items

    def together(
        run: Callable[..., tuple[object, str | None]],
        state: State,
        data: object,
        execution: dict[str, Any],
        context: dict[str, Any],
    ) -> tuple[object, str | None]:
        outer = current()
        scope = Scope(execution, outer)
        with entered(scope):
            try:
                answer = run(state, data, execution, context)
            except Exception as error:
                raise scope.failure or error from None
        if outer:
            outer.check()
        return answer

    def branches(
        state: State, data: object, execution: dict[str, Any], context: dict[str, Any]
    ) -> tuple[object, str | None]:
        if states._state_query_language(state, context) != "JSONata":
            return together(run_branches, state, data, execution, context)
        given = states._apply_jsonata_arguments(state, data, context)
        plain = {key: state[key] for key in ("Branches", "Next", "End") if key in state}
        results, following = together(run_branches, plain, given, execution, context)
        output = states._apply_jsonata_output(state, data, context, result=results, default=results)
        states._apply_state_assign(state, data, context, result=results)
        return output, following

    def items(
        state: State, data: object, execution: dict[str, Any], context: dict[str, Any]
    ) -> tuple[object, str | None]:
        return together(run_items, state, data, execution, context)

    states._run_parallel_branches = branches
    states._run_map_items = items


def _show_the_states_of_branches() -> None:
    """Run the states of a branch with variables of its own, and tell of them in the history.

    AWS: "Passing data between states with variables", about the scope of variables.
    """
    states = module("services.stepfunctions")

    def step(
        state: State, data: object, execution: dict[str, Any], context: dict[str, Any]
    ) -> tuple[object, str | None]:
        kind = state.get("Type")
        if kind == "Succeed":
            data = states._apply_input_path(state, data, context)
            return states._apply_output_path(state, data, context), None
        if kind == "Fail":
            raise failed(*states._fail_state_error(state, data, context))
        plain = {
            "Choice": states._execute_choice,
            "Pass": states._execute_pass,
            "Wait": states._execute_wait,
        }
        working = {
            "Map": states._execute_map,
            "Parallel": states._execute_parallel,
            "Task": states._execute_task,
        }
        done: tuple[object, str | None]
        if kind in plain:
            done = plain[kind](state, data, context)
        elif kind in working:
            done = working[kind](state, data, execution, context)
        else:
            raise failed("States.Runtime", f"There is no state of type {kind!r}")
        return done

    def walk(
        definitions: Mapping[str, State],
        start: str,
        data: object,
        execution: dict[str, Any],
        context: dict[str, Any],
    ) -> object:
        following: str | None = start
        while following:
            if scope := current():
                scope.check()
            name = following
            if name not in definitions:
                raise failed("States.Runtime", f"There is no state {name!r}")
            state = definitions[name]
            context["State"] = {"Name": name, "EnteredTime": states.now_iso(), "RetryCount": 0}
            entry = {"name": name, "input": json.dumps(data)}
            states._add_event(
                execution, f"{state.get('Type')}StateEntered", {"stateEnteredEventDetails": entry}
            )
            data, following = step(state, data, execution, context)
            leave = {"name": name, "output": json.dumps(data)}
            states._add_event(
                execution, f"{state['Type']}StateExited", {"stateExitedEventDetails": leave}
            )
        return data

    def run(
        definitions: Mapping[str, State],
        start: str,
        data: object,
        execution: dict[str, Any],
        context: dict[str, Any],
    ) -> object:
        try:
            return walk(definitions, start, copy.deepcopy(data), execution, copy.deepcopy(context))
        except EndedError:
            return None  # whoever waits for the branches knows
        except Exception as error:
            if scope := current():
                scope.end(error)
            raise

    states._run_sub_machine = run


def _show_the_whole_context() -> None:
    """Let expressions see the role of their execution, and how often it was redriven: never.

    AWS: "Accessing execution data from the Context object in Step Functions".
    """
    states = module("services.stepfunctions")
    original = states._evaluate_jsonata

    def evaluate(
        expression: str,
        data: object,
        context: Mapping[str, Any] | None = None,
        *results: object,
    ) -> object:
        scope = current()
        if context and scope:
            begun = scope.execution["events"][0]["executionStartedEventDetails"]
            more = {"RoleArn": begun["roleArn"], "RedriveCount": 0}
            context = {**context, "Execution": {**context["Execution"], **more}}
        return original(expression, data, context, *results)

    states._evaluate_jsonata = evaluate


def _keep_the_output_of_succeed() -> None:
    """Evaluate Output of a Succeed state in JSONata.

    AWS: "Transforming data with JSONata in Step Functions".
    """
    states = module("services.stepfunctions")
    original = states._apply_output_path

    def kept(state_def: State, data: object, ctx: object = None) -> object:
        jsonata = states._state_query_language(state_def, ctx) == "JSONata"
        if jsonata and state_def.get("Type") == "Succeed":
            return states._apply_jsonata_output(state_def, data, ctx, default=data)
        return original(state_def, data, ctx)

    states._apply_output_path = kept


def _choose_in_jsonata() -> None:
    """Take nothing but true and false for a condition, and evaluate the Output of a default.

    AWS: "Choice workflow state", Condition and Default.
    """
    states = module("services.stepfunctions")
    original = states._execute_choice

    def choose(state: State, data: object, context: object = None) -> object:
        jsonata = states._state_query_language(state, context) == "JSONata"
        if jsonata and state.get("Default"):
            given = {key: state[key] for key in ("Output", "Assign") if key in state}
            default = {**given, "Condition": True, "Next": state["Default"]}
            if "QueryLanguage" in state:
                default["QueryLanguage"] = state["QueryLanguage"]
            state = {**state, "Choices": [*state.get("Choices", []), default]}
        return original(state, data, context)

    def holds(rule: State, data: object, context: object) -> bool:
        value: bool = states._jsonata_state_field(rule, "Condition", "boolean", data, context)
        return value

    states._execute_choice = choose
    states._evaluate_jsonata_choice_rule = holds
