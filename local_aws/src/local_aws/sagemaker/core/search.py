"""Search: resources of a kind whose properties satisfy an expression.

Source: the documentation of Search, Filter, NestedFilters and SearchExpression
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Search.html).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_aws.sagemaker.core import resources
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError, output_shape, shape_structure
from local_aws.sagemaker.core.texts import text

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

_ARNS = {
    "TrainingJob": "TrainingJobArn",
    "HyperParameterTuningJob": "HyperParameterTuningJobArn",
    "ModelPackage": "ModelPackageArn",
    "ModelPackageGroup": "ModelPackageGroupArn",
    "Endpoint": "EndpointArn",
    "Pipeline": "PipelineArn",
    "PipelineExecution": "PipelineExecutionArn",
    "PipelineVersion": "PipelineArn",
}
"""What can be searched here, and the member that tells two of a kind apart."""

_ORDERINGS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_NUMBERS = ("integer", "long", "float", "double", "timestamp")


@operation(
    "Search",
    differs="`TrainingJob`, `HyperParameterTuningJob`, `ModelPackage`, `ModelPackageGroup`, "
    "`Endpoint`, `Pipeline`, `PipelineExecution` and `PipelineVersion` only; text has no order",
)
def search(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Finds resources by their properties, tags and metrics, last changed first."""
    kind = request["Resource"]
    if kind not in _ARNS:
        raise _invalid(f"Resource '{kind}' cannot be searched here; {', '.join(_ARNS)} can")
    if "VisibilityConditions" in request:
        raise _invalid("VisibilityConditions are for kinds of resources that are not here")
    shape = _record(kind)
    expression = request.get("SearchExpression", {})
    _check(shape, expression)
    # Groups of model packages are never modified.
    default = "LastModifiedTime" if "LastModifiedTime" in shape.members else "CreationTime"
    sort_by = request.get("SortBy", default)
    numeric = _last(shape, sort_by).type_name in _NUMBERS
    found = []
    if request.get("CrossAccountFilterOption") != "CrossAccount":
        for body in service.store.list(kind):
            document = _document(service, kind, shape, body)
            if _holds(expression, document):
                found.append(document)

    def key(document: dict[str, Any]) -> tuple[float | str, str]:
        values = list(_values(document, sort_by))
        mark = f"{document[_ARNS[kind]]} {document.get('PipelineVersionId', '')}"
        if numeric:
            return (float(values[0]) if values else float("-inf")), mark
        return (text(values[0]) if values else ""), mark

    descending = request.get("SortOrder") != "Ascending"
    answer = resources.page("Search", found, request, key, descending)
    return {**answer, "Results": [{kind: document} for document in answer["Results"]]}


def _record(kind: str) -> StructureShape:
    results = output_shape("Search").members["Results"]
    record: StructureShape = results.member.members[kind]  # type: ignore[attr-defined]  # a list
    return record


def _document(
    service: Service, kind: str, shape: StructureShape, body: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a search sees of a resource: the record's members, with its tags."""
    document = shape_structure(shape, body)
    if kind == "PipelineExecution":
        document["PipelineParameters"] = [
            {"Name": name, "Value": text(value)} for name, value in body["Parameters"].items()
        ]
    if "Tags" in shape.members:
        tags = resources.tags_of(service, body[_ARNS[kind]])
        document["Tags"] = [{"Key": name, "Value": value} for name, value in sorted(tags.items())]
    return document


# Expressions


def _check(shape: StructureShape, expression: Mapping[str, Any]) -> None:
    """Refuses an expression that names what the resource does not have, or lacks a value."""
    for entry in expression.get("Filters", []):
        _check_filter(shape, entry)
    for nested in expression.get("NestedFilters", []):
        inner = _last(shape, nested["NestedPropertyName"])
        if not isinstance(inner, ListShape) or not isinstance(inner.member, StructureShape):
            raise _invalid(f"NestedPropertyName '{nested['NestedPropertyName']}' is not a list")
        for entry in nested["Filters"]:
            _check_filter(inner.member, _within(nested, entry))
    for part in expression.get("SubExpressions", []):
        _check(shape, part)


def _check_filter(shape: StructureShape, entry: Mapping[str, Any]) -> None:
    last = _last(shape, entry["Name"])
    kind = entry.get("Operator", "Equals")
    if kind in ("Exists", "NotExists"):
        return
    if "Value" not in entry:
        raise _invalid(f"The filter of '{entry['Name']}' needs a Value")
    if last.type_name in _NUMBERS and kind != "In" and _number(entry["Value"]) is None:
        raise _invalid(
            f"The filter of '{entry['Name']}' needs a number or a time as its Value, not "
            f"'{entry['Value']:.80}'"
        )


def _last(shape: Shape, path: str) -> Shape:
    """Return the shape of what a path names.

    Raises:
        ApiError: The resource has no such property.
    """
    current, names = shape, path.split(".")
    if names[0] in ("Tags", "Metrics") and len(names) > 1:
        return Shape("Value", {"type": "string"})
    while names:
        if isinstance(current, ListShape):
            current = current.member
        elif isinstance(current, MapShape):
            return current.value
        elif isinstance(current, StructureShape) and names[0] in current.members:
            current = current.members[names.pop(0)]
        else:
            raise _invalid(f"There is no property '{path}'")
    return current


def _holds(expression: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    parts = [
        *(_fits(entry, document) for entry in expression.get("Filters", [])),
        *(_nested_fits(nested, document) for nested in expression.get("NestedFilters", [])),
        *(_holds(part, document) for part in expression.get("SubExpressions", [])),
    ]
    return any(parts) if expression.get("Operator") == "Or" and parts else all(parts)


def _nested_fits(nested: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether one entry of a list satisfies all filters."""
    entries = [
        entry for found in _values(document, nested["NestedPropertyName"]) for entry in found
    ]
    return any(
        all(_fits(_within(nested, item), entry) for item in nested["Filters"]) for entry in entries
    )


def _within(nested: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested filter, whose name may be told from the resource or from the list's entry."""
    return {**entry, "Name": entry["Name"].removeprefix(f"{nested['NestedPropertyName']}.")}


def _fits(entry: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    name: str = entry["Name"]
    kind: str = entry.get("Operator", "Equals")
    values = list(_values(document, name))
    if kind in ("Exists", "NotExists"):
        return bool(values) == (kind == "Exists")
    if kind == "NotEquals":
        return not any(_compare("Equals", value, entry["Value"], name) for value in values)
    return any(_compare(kind, value, entry["Value"], name) for value in values)


def _compare(kind: str, value: object, wanted: str, name: str) -> bool:
    if kind == "In":
        return any(_compare("Equals", value, part.strip(), name) for part in wanted.split(","))
    if kind == "Contains":
        return isinstance(value, str) and wanted in value
    number = _number(wanted)
    if isinstance(value, str) and name.startswith("HyperParameters."):
        held = _decimal(value)  # they are text, and compared as numbers where both are
    else:
        held = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if held is None or number is None:
        return kind == "Equals" and text(value) == wanted
    return held == number if kind == "Equals" else _ORDERINGS[kind](held, number)


def _values(document: object, path: str) -> Iterator[Any]:
    """Every value that a path names: it goes into all entries of a list."""
    name, _, rest = path.partition(".")
    if name == "Tags" and rest and isinstance(document, Mapping):
        yield from (tag["Value"] for tag in document.get("Tags", []) if tag["Key"] == rest)
    elif name == "Metrics" and rest and isinstance(document, Mapping):
        metrics = document.get("FinalMetricDataList", [])
        yield from (metric["Value"] for metric in metrics if metric["MetricName"] == rest)
    elif isinstance(document, list):
        for entry in document:
            yield from _values(entry, path)
    elif isinstance(document, Mapping):
        if path in document:  # a key of a map may hold dots
            yield document[path]
        elif rest and name in document:
            yield from _values(document[name], rest)


def _decimal(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _number(value: str) -> float | None:
    """Return a filter's value as a number: decimal, or a time in ISO 8601, by default of UTC."""
    number = _decimal(value)
    if number is not None:
        return number
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)
