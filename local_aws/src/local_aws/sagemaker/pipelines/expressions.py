"""Expressions of a pipeline definition: Get, Std:Join, Std:JsonGet, and the conditions.

Source: the pipeline definition JSON schema, version 2020-12-01.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from local_aws.sagemaker.core.texts import text

Json: TypeAlias = Any
"""A JSON value of whatever type."""

Value: TypeAlias = str | int | float | bool
"""What a pipeline parameter can hold."""

EXECUTION_VARIABLES = frozenset(
    {
        "CurrentDateTime",
        "PipelineArn",
        "PipelineExecutionArn",
        "PipelineExecutionId",
        "PipelineName",
        "StartDateTime",
    }
)
ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": lambda left, right: left > right,
    "GreaterThanOrEqualTo": lambda left, right: left >= right,
    "LessThan": lambda left, right: left < right,
    "LessThanOrEqualTo": lambda left, right: left <= right,
}

_KINDS = frozenset({"Get", "Std:Join", "Std:JsonGet"})
_STEP_PATH = re.compile(r"Steps\.(?P<step>[A-Za-z0-9\-_]{1,64})(?P<rest>[.\[].+)")
_PATH_KEY = re.compile(r"""\[(['"])(?P<quoted>.*?)\1\]|\[(?P<index>\d+)\]|\.?(?P<name>[^.\[\]]+)""")
_LIST_NAME_MEMBERS = ("OutputName", "InputName", "ChannelName", "MetricName", "Name")


class DefinitionError(ValueError):
    """The definition, or a value given for one of its parameters, cannot be used."""


class EvaluationError(ValueError):
    """An expression has no value in this execution."""


def mapping(value: object, what: str) -> dict[str, Any]:
    """`value`, which must be a JSON object.

    Raises:
        DefinitionError: It is something else; the message names `what`.
    """
    if not isinstance(value, dict):
        raise DefinitionError(f"{what} must be a JSON object, not {value!r:.80}.")
    return value


def sequence(value: object, what: str) -> list[Any]:
    """`value`, which must be a JSON list.

    Raises:
        DefinitionError: It is something else; the message names `what`.
    """
    if not isinstance(value, list):
        raise DefinitionError(f"{what} must be a list, not {value!r:.80}.")
    return value


def expression(value: object) -> str | None:
    """Return the kind of expression that `value` is (Get, Std:Join, Std:JsonGet), or None."""
    if isinstance(value, dict) and len(value) == 1:
        key = next(iter(value))
        return key if key in _KINDS else None
    return None


def references(value: object) -> Iterator[str]:
    """Every path that a Get inside `value` names.

    Raises:
        DefinitionError: An expression has another form than the schema's.
    """
    kind = expression(value)
    if isinstance(value, dict):
        if kind == "Get":
            if not isinstance(value["Get"], str):
                raise DefinitionError(f"Get must name a property, not {value['Get']!r:.80}.")
            yield value["Get"]
            return
        if kind == "Std:Join":
            _check_join(value["Std:Join"])
        elif kind == "Std:JsonGet":
            _check_json_get(value["Std:JsonGet"])
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def split_step_path(path: str) -> tuple[str, str]:
    """Split "Steps.Train.ModelArtifacts.X" into ("Train", ".ModelArtifacts.X").

    Raises:
        DefinitionError: It is no such path.
    """
    match = _STEP_PATH.fullmatch(path)
    if match is None:
        raise DefinitionError(f"'{path}' is not a reference of the form Steps.<step>.<property>.")
    return match["step"], match["rest"]


def look_up(document: object, path: str) -> Json:
    """Return the value at `path` ("a.b", "['a b'][0]", "Outputs['train'].S3Output") in a document.

    Raises:
        EvaluationError: There is nothing at that path.
    """
    current, position = document, 0
    while position < len(path):
        match = _PATH_KEY.match(path, position)
        if match is None:
            raise EvaluationError(f"'{path}' is not a path that can be read.")
        position = match.end()
        key = next(part for part in match.group("quoted", "index", "name") if part is not None)
        try:
            current = _item(current, key)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"There is no value at '{path}' (looking for '{key}')."
            ) from error
    return current


@dataclass(frozen=True)
class Evaluator:
    """Gives expressions their value in one execution.

    Attributes:
        parameters: The execution's parameters.
        variables: What `Execution.<name>` stands for; called at each use, since one is the time.
        properties: A finished step's properties, by step name: what its Describe call returns.
        property_file: The S3 URI of a step's property file, by step and property file name.
        read: The content of an S3 URI; raises EvaluationError.
    """

    parameters: Mapping[str, Value]
    variables: Callable[[], Mapping[str, str]]
    properties: Callable[[str], Mapping[str, Any]]
    property_file: Callable[[str, str], str]
    read: Callable[[str], bytes]

    def value(self, item: Json) -> Json:
        """`item` with every expression inside it replaced by its value.

        Raises:
            EvaluationError: An expression refers to what this execution does not have.
        """
        kind = expression(item)
        if kind == "Get":
            return self._get(item["Get"])
        if kind == "Std:Join":
            join = item["Std:Join"]
            return join.get("On", "").join(text(self.value(part)) for part in join["Values"])
        if kind == "Std:JsonGet":
            return self._json_get(item["Std:JsonGet"])
        if isinstance(item, dict):
            return {key: self.value(part) for key, part in item.items()}
        if isinstance(item, list):
            return [self.value(part) for part in item]
        return item

    def condition(self, condition: Mapping[str, Any]) -> bool:
        """Whether a condition holds.

        Raises:
            EvaluationError: Values that have no order are compared.
        """
        kind = condition["Type"]
        if kind == "Or":
            return any(self.condition(part) for part in condition["Conditions"])
        if kind == "Not":
            return not self.condition(condition["Expression"])
        if kind == "In":
            sought = self.value(condition["QueryValue"])
            return any(_equal(sought, self.value(part)) for part in condition["Values"])
        left, right = self.value(condition["LeftValue"]), self.value(condition["RightValue"])
        if kind == "Equals":
            return _equal(left, right)
        if not (_is_number(left) and _is_number(right)) and not (
            isinstance(left, str) and isinstance(right, str)
        ):
            raise EvaluationError(f"{kind} cannot compare {left!r:.80} with {right!r:.80}.")
        return ORDERINGS[kind](left, right)

    def _get(self, path: str) -> Json:
        root, _, rest = path.partition(".")
        if root == "Parameters":
            return self.parameters[rest]
        if root == "Execution":
            return self.variables()[rest]
        step, rest = split_step_path(path)
        try:
            return look_up(self.properties(step), rest)
        except EvaluationError as error:
            raise EvaluationError(f"Step '{step}' has no property '{rest[1:]}'.") from error

    def _json_get(self, get: dict[str, Any]) -> Json:
        if "PropertyFile" in get:
            step, rest = split_step_path(get["PropertyFile"]["Get"])
            uri = self.property_file(step, rest.removeprefix(".PropertyFiles."))
        else:
            uri = text(self.value(get["S3Uri"]))
        try:
            document = json.loads(self.read(uri))
        except ValueError as error:
            raise EvaluationError(f"{uri} could not be read as JSON: {error}") from error
        try:
            return look_up(document, get["Path"].removeprefix("$"))
        except EvaluationError as error:
            raise EvaluationError(f"{uri} has no value at path '{get['Path']}'.") from error


def _item(current: Json, key: str) -> Json:
    if not isinstance(current, list):
        return current[key]
    if key.isdigit():
        return current[int(key)]
    for entry in current:
        if isinstance(entry, dict) and key in map(entry.get, _LIST_NAME_MEMBERS):
            return entry
    raise KeyError(key)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(left: object, right: object) -> bool:
    """JSON's equality: 1 equals 1.0, and neither equals true."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _check_join(join: object) -> None:
    if not isinstance(join, dict) or not isinstance(join.get("Values"), list):
        raise DefinitionError("Std:Join needs On (a string) and Values (a list).")
    if not isinstance(join.get("On", ""), str):
        raise DefinitionError("Std:Join: On must be a string.")


def _check_json_get(get: object) -> None:
    if not isinstance(get, dict) or not isinstance(get.get("Path"), str) or not get["Path"]:
        raise DefinitionError("Std:JsonGet needs Path (a string).")
    if ("PropertyFile" in get) == ("S3Uri" in get):
        raise DefinitionError("Std:JsonGet needs one of PropertyFile and S3Uri.")
    if "PropertyFile" in get:
        source = get["PropertyFile"]
        path = source["Get"] if expression(source) == "Get" else None
        if not isinstance(path, str) or ".PropertyFiles." not in path:
            raise DefinitionError(
                'Std:JsonGet: PropertyFile must be {"Get": "Steps.<step>.PropertyFiles.<name>"}.'
            )
