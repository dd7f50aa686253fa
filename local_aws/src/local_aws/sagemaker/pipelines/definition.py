"""The pipeline definition JSON (schema version 2020-12-01), read and checked.

Source: the "Amazon SageMaker Pipelines" definition schema, and what the SageMaker SDK emits.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from local_aws.sagemaker.pipelines.checks import CHECKS, check_step
from local_aws.sagemaker.pipelines.expressions import (
    EXECUTION_VARIABLES,
    DefinitionError,
    Value,
    mapping,
    references,
    sequence,
    split_step_path,
)

SCHEMA_VERSION = "2020-12-01"
MAX_LENGTH = 1_048_576
"""Characters of a definition, inline or in S3 (CreatePipeline.PipelineDefinition)."""

_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")


@dataclass(frozen=True)
class Parameter:
    """A pipeline parameter; `default` is None when a value must be given at start."""

    name: str
    type: str
    default: Value | None = None
    allowed: tuple[Value, ...] = ()

    def read(self, raw: object) -> Value:
        """Return `raw`, text or already typed, as this parameter's type.

        Raises:
            DefinitionError: It is not of that type, or not one of EnumValues.
        """
        value = typed(self.type, raw)
        if value is None:
            raise DefinitionError(
                f"Parameter '{self.name}': {raw!r:.80} is not of type {self.type}."
            )
        if self.allowed and value not in self.allowed:
            raise DefinitionError(
                f"Parameter '{self.name}': {raw!r:.80} is not one of {list(self.allowed)}."
            )
        return value


@dataclass(frozen=True)
class Step:
    """One step; `condition` and `branch` say in which branch of which Condition it stands.

    `reads` are the steps whose results its expressions name; `depends_on` are those, the condition
    around it, and those that it only waits for.
    """

    name: str
    type: str
    body: dict[str, Any]
    condition: str | None
    branch: bool | None
    reads: frozenset[str]
    depends_on: frozenset[str]

    @property
    def arguments(self) -> dict[str, Any]:
        """The step's Arguments, with expressions not yet evaluated."""
        return self.body.get("Arguments") or {}

    @property
    def evaluated(self) -> object:
        """The part in which expressions stand; a condition's branches are steps of their own."""
        if self.type == "Condition":
            return self.arguments.get("Conditions")
        return [self.arguments, self.body.get("FunctionArn"), self.body.get("SqsQueueUrl")]

    def property_file(self, name: str) -> dict[str, Any] | None:
        """Return the entry of PropertyFiles of that name: its OutputName and FilePath."""
        if self.type != "Processing":
            return None
        entries: list[dict[str, Any]] = self.body.get("PropertyFiles") or []
        return next((entry for entry in entries if entry["PropertyFileName"] == name), None)

    def output_types(self) -> dict[str, str]:
        """Return the declared outputs of a Lambda or Callback step, each with its type."""
        if self.type not in ("Lambda", "Callback"):
            return {}
        entries: list[dict[str, str]] = self.body.get("OutputParameters") or []
        return {entry["OutputName"]: entry["OutputType"] for entry in entries}


@dataclass(frozen=True)
class Definition:
    """A checked definition: all steps, nested ones too, in the order in which they are written."""

    parameters: dict[str, Parameter]
    steps: dict[str, Step]

    def bind(self, given: Sequence[dict[str, str]]) -> dict[str, Value]:
        """Return the value of every parameter, from `given` ({Name, Value}) or its default.

        Raises:
            DefinitionError: A name that the definition does not have, a value of another type,
                or no value at all.
        """
        values = {item["Name"]: item["Value"] for item in given}
        unknown = sorted(values.keys() - self.parameters.keys())
        if unknown:
            raise DefinitionError(
                f"Unknown pipeline parameters {unknown}; the pipeline defines "
                f"{sorted(self.parameters)}."
            )
        bound: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            raw = values.get(name, parameter.default)
            if raw is None:
                raise DefinitionError(
                    f"Parameter '{name}' has no default value: pass it in PipelineParameters."
                )
            bound[name] = parameter.read(raw)
        return bound


def parse(text: str) -> Definition:
    """Read and check a definition.

    Raises:
        DefinitionError: It is not JSON, of another schema version, or refers to what is not there;
            the message names the step.
    """
    if len(text) > MAX_LENGTH:
        raise DefinitionError(f"The definition is longer than {MAX_LENGTH} characters.")
    try:
        return _read(json.loads(text))
    except json.JSONDecodeError as error:
        raise DefinitionError(f"Not a JSON document: {error}.") from error
    except RecursionError as error:
        raise DefinitionError("The definition is nested too deeply.") from error


def typed(kind: str, raw: object) -> Value | None:
    """`raw`, text or already typed, as a String, Integer, Float or Boolean; None if it is none."""
    if kind == "String":
        return raw if isinstance(raw, str) else None
    if kind == "Boolean":
        if isinstance(raw, bool):
            return raw
        return {"true": True, "false": False}.get(raw.lower()) if isinstance(raw, str) else None
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    try:
        number = float(raw) if kind == "Float" else int(raw)
        finite = math.isfinite(number)
    except (ValueError, OverflowError):
        return None
    exact = not isinstance(raw, float) or number == raw
    return number if exact and finite else None


def _read(document: object) -> Definition:
    root = mapping(document, "The definition")
    if root.get("Version") != SCHEMA_VERSION:
        raise DefinitionError(f"Version must be '{SCHEMA_VERSION}', not {root.get('Version')!r}.")
    parameters: dict[str, Parameter] = {}
    for entry in sequence(root.get("Parameters") or [], "Parameters"):
        parameter = _parameter(mapping(entry, "An entry of Parameters"))
        if parameter.name in parameters:
            raise DefinitionError(f"Duplicate parameter name '{parameter.name}'.")
        parameters[parameter.name] = parameter
    steps = {}
    for step in _steps(root.get("Steps"), "Steps", None, None):
        if step.name in steps:
            raise DefinitionError(f"Duplicate step name '{step.name}': names must be unique.")
        steps[step.name] = step
    if not steps:
        raise DefinitionError("Steps must hold at least one step.")
    definition = Definition(parameters, steps)
    for step in steps.values():
        with _naming(step.name):
            _check_references(step, definition)
    _check_order(definition)
    return definition


def _parameter(entry: dict[str, Any]) -> Parameter:
    name, kind = entry.get("Name"), entry.get("Type")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(f"Parameter name {name!r:.80} must match {_NAME.pattern}.")
    if kind not in ("String", "Integer", "Float", "Boolean"):
        raise DefinitionError(f"Parameter '{name}': unknown Type {kind!r:.80}.")
    plain = Parameter(name, kind)
    allowed = sequence(entry.get("EnumValues") or [], f"Parameter '{name}': EnumValues")
    parameter = replace(plain, allowed=tuple(plain.read(value) for value in allowed))
    default = entry.get("DefaultValue")
    return parameter if default is None else replace(parameter, default=parameter.read(default))


def _steps(
    entries: object, where: str, condition: str | None, branch: bool | None
) -> Iterator[Step]:
    """Yield the steps of a list, each followed by those in its branches."""
    for entry in sequence(entries, where):
        body = mapping(entry, f"An entry of {where}")
        name, kind = body.get("Name"), body.get("Type")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DefinitionError(f"Step name {name!r:.80} in {where} must match {_NAME.pattern}.")
        with _naming(name):
            if not isinstance(kind, str) or kind not in CHECKS:
                raise DefinitionError(
                    f"type {kind!r:.80} does not run here; the types that do are "
                    f"{', '.join(CHECKS)}."
                )
            if kind == "Condition" and condition is not None:
                raise DefinitionError(
                    f"A condition step must not stand in a branch of another, '{condition}': "
                    "nested condition steps are not supported."
                )
            check_step(body)
            step = Step(name, kind, body, condition, branch, frozenset(), frozenset())
            step = replace(step, reads=_reads(step))
            yield replace(step, depends_on=_dependencies(step))
        if kind == "Condition":
            for member, taken in (("IfSteps", True), ("ElseSteps", False)):
                nested = step.arguments.get(member) or []
                yield from _steps(nested, f"{member} of step '{name}'", name, taken)


def _reads(step: Step) -> frozenset[str]:
    paths = references(step.evaluated)
    return frozenset(split_step_path(path)[0] for path in paths if path.startswith("Steps."))


def _dependencies(step: Step) -> frozenset[str]:
    found = {str(name) for name in sequence(step.body.get("DependsOn") or [], "DependsOn")}
    if step.condition is not None:
        found.add(step.condition)
    return step.reads | found


def _check_references(step: Step, definition: Definition) -> None:
    missing = sorted(step.depends_on - definition.steps.keys())
    if missing:
        raise DefinitionError(f"it depends on step '{missing[0]}', which does not exist.")
    for path in references(step.evaluated):
        root, _, rest = path.partition(".")
        if root == "Parameters" and rest not in definition.parameters:
            raise DefinitionError(f"it refers to parameter '{rest}', which is not defined.")
        if step.type == "Lambda" and {"Get": path} in step.arguments.values():
            _check_argument_type(path, definition)
        if root == "Execution" and rest not in EXECUTION_VARIABLES:
            raise DefinitionError(f"there is no execution variable '{rest}'.")
        if root not in ("Parameters", "Execution", "Steps"):
            raise DefinitionError(f"'{path}' must start with Parameters, Steps or Execution.")
        if root == "Steps":
            source, rest = split_step_path(path)
            name = rest.removeprefix(".PropertyFiles.")
            if name != rest and definition.steps[source].property_file(name) is None:
                raise DefinitionError(f"step '{source}' declares no property file '{name}'.")


def _check_argument_type(path: str, definition: Definition) -> None:
    """Refuse a Boolean parameter, or a Boolean output, as an argument of a Lambda step."""
    root, _, rest = path.partition(".")
    kind = None
    if root == "Parameters":
        kind = definition.parameters[rest].type
    elif root == "Steps":
        source, rest = split_step_path(path)
        kind = (
            definition.steps[source]
            .output_types()
            .get(rest.removeprefix(".OutputParameters['").removesuffix("']"))
        )
    if kind == "Boolean":
        raise DefinitionError(
            f"'{path}' is a Boolean; an argument of a Lambda step must be a string, an integer or "
            "a float."
        )


def _check_order(definition: Definition) -> None:
    graph = {name: step.depends_on for name, step in definition.steps.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise DefinitionError(f"Steps depend on each other in a circle: {cycle}.") from error


@contextmanager
def _naming(step: str) -> Iterator[None]:
    """Put the step's name in front of a DefinitionError from the block."""
    try:
        yield
    except DefinitionError as error:
        raise DefinitionError(f"Step '{step}': {error}") from error
