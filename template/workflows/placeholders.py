"""Placeholders that stand for what is known only while a workflow runs.

A request body says `@{output.Prepare.train}` where it means the train data that step Prepare wrote;
the orchestrator's module turns that into its own expression language. The spelling differs from
`${...}`, which CDK and CloudFormation use already.

    @{execution}             id of the workflow's execution
    @{parameter.<name>}      a parameter of the execution
    @{output.<step>.<name>}  S3 URI of an output of a processing step
    @{model.<step>}          S3 URI of the model.tar.gz of a training step
    @{result.<step>.<name>}  a value that a Lambda step returned
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

_PLACEHOLDER = re.compile(r"@\{([^{}]+)\}")

Resolve = Callable[[str], Any]
Join = Callable[[Sequence[Any]], Any]

EXECUTION = "@{execution}"


def parameter(name: str) -> str:
    """Stands for a parameter of the execution."""
    return f"@{{parameter.{name}}}"


def output(step: str, name: str) -> str:
    """Stands for the S3 URI of an output of a processing step."""
    return f"@{{output.{step}.{name}}}"


def model(step: str) -> str:
    """Stands for the S3 URI of the model.tar.gz that a training step wrote."""
    return f"@{{model.{step}}}"


def result(step: str, name: str) -> str:
    """Stands for a value that a Lambda step returned."""
    return f"@{{result.{step}.{name}}}"


def fill(body: Any, resolve: Resolve, join: Join) -> Any:  # noqa: ANN401 - any JSON value
    """Replace all placeholders in a JSON value.

    Args:
        body: The value; it is not changed.
        resolve: Turns a placeholder (without `@{}`) into the orchestrator's expression.
        join: Puts together the parts of a string that holds more than one placeholder alone.

    Returns:
        A copy with every placeholder replaced.
    """
    if isinstance(body, dict):
        return {key: fill(value, resolve, join) for key, value in body.items()}
    if isinstance(body, list):
        return [fill(value, resolve, join) for value in body]
    if not isinstance(body, str):
        return body
    # With one group in the pattern, the odd parts of a split are the placeholders.
    parts = [
        resolve(part) if i % 2 else part for i, part in enumerate(_PLACEHOLDER.split(body)) if part
    ]
    if len(parts) == 1:
        return parts[0]
    return join(parts) if parts else body
