"""A SageMaker that only remembers, behind a real boto3 client, and what is wrong with a request.

The client serialises and checks each request as ever; the request is then checked against the
model's enums, patterns and limits, which botocore does not, and answered from memory. Refusals are
worded as SageMaker words them.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

from workflows import names

NAMES = names.Names()

# Character classes of Java's regular expressions, of which the models' patterns are made.
CLASSES = {
    r"\p{L}": r"\w",
    r"\p{M}": "",
    r"\p{Z}": r"\s",
    r"\p{N}": r"\d",
    r"\p{S}": r"$+<=>^`|~",
    r"\p{P}": r"!-/:-@\[-`{-~",
    r"\p{ASCII}": r"[\x00-\x7f]",
    r"\p{Print}": r"[\x20-\x7e]",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",  # which Java writes as pairs
}

Request = dict[str, Any]
ACCOUNT = "123456789012"  # moto's
ARN = f"arn:aws:sagemaker:{names.REGION}:{ACCOUNT}"
BUCKET = NAMES.bucket(ACCOUNT)


class RefusalError(Exception):
    """A refusal: its message and its code."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(message)
        self.code = code


class FakeSageMaker:
    """Models and model packages.

    Attributes:
        calls: The name and the request of each call.
        packages: Model packages by ARN.
        models: Models by name.
        operations: What answers the requests of an operation.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Request]] = []
        self.packages: dict[str, Request] = {}
        self.models: dict[str, Request] = {}
        self._lock = threading.Lock()
        self.operations: dict[str, Callable[[Request], Request]] = {
            "CreateModel": self._create_model,
            "DescribeModel": lambda r: find(self.models, r["ModelName"]),
            "DescribeModelPackage": lambda r: find(self.packages, r["ModelPackageName"]),
            "ListModelPackages": lambda _: {
                "ModelPackageSummaryList": list(reversed(self.packages.values()))
            },
        }

    def __call__(self, model: OperationModel, params: Request, **_: object) -> tuple[Any, Request]:
        """Answer a call; a handler of botocore's event `before-call`."""
        request = json.loads(params["body"])
        if wrong := input_of(model, request):
            raise AssertionError(wrong)
        with self._lock:
            self.calls.append((model.name, request))
            try:
                answer = self.operations[model.name](request)
            except RefusalError as refusal:
                error = {"Code": refusal.code, "Message": str(refusal)}
                return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=200), {**answer, "ResponseMetadata": {}}

    def called(self, operation: str) -> list[Request]:
        """The requests of an operation."""
        return [request for name, request in self.calls if name == operation]

    def add_package(self, version: int, approval: str = "Approved", **properties: str) -> str:
        """Put a version into the registry and return its ARN."""
        arn = f"{ARN}:model-package/{NAMES.model_package_group}/{version}"
        folder = f"s3://{BUCKET}/training/execution{version}"
        baselines = {
            key: {"Constraints": {"S3Uri": f"{folder}/{name}/constraints.json"}}
            for key, name in (("ModelQuality", "evaluation"), ("ModelDataQuality", "baseline"))
        }
        statistics = {"S3Uri": f"{folder}/evaluation/statistics.json"}
        self.packages[arn] = {
            "ModelPackageArn": arn,
            "ModelPackageVersion": version,
            "ModelApprovalStatus": approval,
            "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
            "CustomerMetadataProperties": properties,
            "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
            "DriftCheckBaselines": baselines,
            "InferenceSpecification": {"Containers": [{"Image": f"image-of-{version}"}]},
        }
        return arn

    def _create_model(self, request: Request) -> Request:
        return self.create("model", self.models, request["ModelName"], request)

    def create(self, kind: str, known: dict[str, Request], name: str, body: Request) -> Request:
        """Remember a resource, if there is none of its name."""
        if name in known:
            raise RefusalError(f'Cannot create already existing {kind} "{ARN}:{name}".')
        known[name] = body
        return {}


def find(known: dict[str, Request], name: str) -> Request:
    """A resource by its name or ARN."""
    if name not in known:
        raise RefusalError(f'Could not find "{ARN}:{name}".')
    return known[name]


@cache
def service(name: str) -> ServiceModel:
    """The model of an AWS service."""
    model: ServiceModel = botocore.session.get_session().get_service_model(name)
    return model


def errors(service_name: str, operation: str, request: object) -> list[str]:
    """What is wrong with a request; empty if nothing is."""
    shape = service(service_name).operation_model(operation).input_shape
    return list(check(shape, request, operation))


def input_of(model: OperationModel, request: object) -> list[str]:
    """What is wrong with a request for an operation."""
    return list(check(model.input_shape, request, model.name))


def check(shape: Any, value: object, where: str) -> Iterator[str]:
    """Yield what is wrong with a value of a shape."""
    kinds: dict[str, tuple[type | tuple[type, ...], Callable[..., Iterator[str]]]] = {
        "structure": (Mapping, structure),
        "map": (Mapping, mapping),
        "list": (list, sequence),
        "string": (str, string),
        "integer": (int, number),
        "long": (int, number),
        "float": ((int, float), number),
        "double": ((int, float), number),
        "boolean": (bool, anything),
    }
    wanted, checker = kinds[shape.type_name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{where}: {value!r} is not of type {shape.type_name}"
    else:
        yield from checker(shape, value, where)


def structure(shape: Any, value: Mapping[str, object], where: str) -> Iterator[str]:
    yield from (f"{where}.{name}: missing" for name in shape.required_members if name not in value)
    for name, member in value.items():
        if name in shape.members:
            yield from check(shape.members[name], member, f"{where}.{name}")
        else:
            yield f"{where}.{name}: unknown"


def mapping(shape: Any, value: Mapping[str, object], where: str) -> Iterator[str]:
    yield from limits(shape, len(value), where)
    for key, item in value.items():
        yield from check(shape.key, key, f"{where} key")
        yield from check(shape.value, item, f"{where}[{key}]")


def sequence(shape: Any, value: list[object], where: str) -> Iterator[str]:
    yield from limits(shape, len(value), where)
    for i, item in enumerate(value):
        yield from check(shape.member, item, f"{where}[{i}]")


def string(shape: Any, value: str, where: str) -> Iterator[str]:
    yield from limits(shape, len(value), where)
    if shape.enum and value not in shape.enum:
        yield f"{where}: {value!r} is none of {shape.enum[:5]}…"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(translate(pattern), value):
        yield f"{where}: {value!r} does not match {pattern}"


def number(shape: Any, value: float, where: str) -> Iterator[str]:
    yield from limits(shape, value, where)


def anything(*_: object) -> Iterator[str]:
    yield from ()


def limits(shape: Shape, size: float, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        yield f"{where}: {size} is not between {low} and {high}"


def translate(pattern: str) -> str:
    """Write a pattern of the models as a regular expression of Python."""
    for java, python in CLASSES.items():
        pattern = pattern.replace(java, python)
    # Some patterns end in `${1,256}`: a quantifier on the end of the line, which means nothing.
    return re.sub(r"\$\{\d+,\d+\}$", "", pattern)
