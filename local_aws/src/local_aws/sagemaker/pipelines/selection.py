"""Selective execution: a part of a pipeline's steps, on what a former execution left.

Source: "Selective execution of pipeline steps" of the developer guide
(https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-selective-ex.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_aws.sagemaker.pipelines.definition import Definition, Step
from local_aws.sagemaker.pipelines.expressions import DefinitionError


def selected_steps(definition: Definition, config: Mapping[str, Any]) -> set[str]:
    """Return the names of the steps to run.

    Raises:
        DefinitionError: One does not exist, or one that lies between two of them is not selected.
    """
    selected = {entry["StepName"] for entry in config["SelectedSteps"]}
    unknown = sorted(selected - definition.steps.keys())
    if unknown:
        raise DefinitionError(f"SelectedSteps: the pipeline has no step '{unknown[0]}'.")
    after = _downstream(definition, selected)
    for name in sorted(selected):
        between = sorted(_upstream(definition, name) & after - selected)
        if between:
            raise DefinitionError(
                f"SelectedSteps: step '{between[0]}' lies between selected steps and must be "
                "selected too."
            )
    return selected


def reused_steps(definition: Definition, selected: set[str]) -> set[str]:
    """Return the steps whose results the selected ones read, which do not run themselves."""
    return {name for step in selected for name in _read(definition.steps[step])} - selected


def check_branches(
    definition: Definition, selected: set[str], reused: Mapping[str, Mapping[str, Any]]
) -> None:
    """Check that the branches in which selected steps stand were taken by the former execution.

    Args:
        definition: The definition.
        selected: The names of the steps to run.
        reused: The stored steps of the former execution that are used, by name.

    Raises:
        DefinitionError: One was not.
    """
    for name in sorted(selected):
        step = definition.steps[name]
        if step.condition is None or step.condition in selected:
            continue
        outcome = reused[step.condition]["Metadata"]["Condition"]["Outcome"]
        if (outcome == "True") != step.branch:
            raise DefinitionError(
                f"SelectedSteps: the source execution did not take the branch of '{name}'; select "
                f"'{step.condition}' too."
            )


def _read(step: Step) -> frozenset[str]:
    """Return the steps whose results a step needs: what it only waits for need not have run."""
    return step.reads if step.condition is None else step.reads | {step.condition}


def _upstream(definition: Definition, name: str) -> set[str]:
    found: set[str] = set()
    pending = [name]
    while pending:
        for before in definition.steps[pending.pop()].depends_on - found:
            found.add(before)
            pending.append(before)
    return found


def _downstream(definition: Definition, names: set[str]) -> set[str]:
    return {name for name in definition.steps if _upstream(definition, name) & names}
