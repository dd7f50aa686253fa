"""A SageMaker that only remembers, behind a real boto3 client.

The client serialises and checks each request as ever; the request is then checked against the
model's enums and patterns, and answered from memory. Refusals are worded as SageMaker words them.
"""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from botocore.model import OperationModel
from support.request_shapes import input_of

from workflows import names

NAMES = names.Names()

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
