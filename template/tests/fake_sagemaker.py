"""A SageMaker that only remembers, behind a real boto3 client.

The client serialises and checks each request as ever; the request is then checked against the
model's enums and patterns, and answered from memory. Refusals are worded as SageMaker words them.
"""

import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from botocore.model import OperationModel
from request_shapes import input_of

from workflows import names

Request = dict[str, Any]
ACCOUNT = "123456789012"  # moto's
ARN = f"arn:aws:sagemaker:{names.REGION}:{ACCOUNT}"
BUCKET = names.bucket(ACCOUNT)


class RefusalError(Exception):
    """A ValidationException."""


class FakeSageMaker:
    """Models, endpoints and model packages.

    Attributes:
        calls: The name and the request of each call.
        packages: Model packages by ARN.
        models: Models by name.
        configs: Endpoint configurations by name.
        endpoints: Endpoints by name, as DescribeEndpoint shows them.
        operations: What answers the requests of an operation.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Request]] = []
        self.packages: dict[str, Request] = {}
        self.models: dict[str, Request] = {}
        self.configs: dict[str, Request] = {}
        self.endpoints: dict[str, Request] = {}
        self._lock = threading.Lock()
        self.operations: dict[str, Callable[[Request], Request]] = {
            "CreateEndpoint": self._create_endpoint,
            "CreateEndpointConfig": self._create_endpoint_config,
            "CreateModel": self._create_model,
            "DeleteEndpoint": self._delete_endpoint,
            "DescribeEndpoint": self._describe_endpoint,
            "DescribeEndpointConfig": lambda r: find(self.configs, r["EndpointConfigName"]),
            "DescribeModel": lambda r: find(self.models, r["ModelName"]),
            "DescribeModelPackage": lambda r: find(self.packages, r["ModelPackageName"]),
            "UpdateEndpoint": self._update_endpoint,
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
                error = {"Code": "ValidationException", "Message": str(refusal)}
                return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": {}}
        return SimpleNamespace(status_code=200), {**answer, "ResponseMetadata": {}}

    def called(self, operation: str) -> list[Request]:
        """The requests of an operation."""
        return [request for name, request in self.calls if name == operation]

    def add_package(self, version: int, approval: str = "Approved", **properties: str) -> str:
        """Put a version into the registry and return its ARN."""
        arn = f"{ARN}:model-package/{names.MODEL_PACKAGE_GROUP}/{version}"
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
            "CustomerMetadataProperties": properties,
            "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
            "DriftCheckBaselines": baselines,
        }
        return arn

    def finish(self, status: str = "InService") -> None:
        """Bring what the endpoint is doing to its end."""
        endpoint = self.endpoints[names.ENDPOINT]
        pending = endpoint.pop("PendingDeploymentSummary", None)
        endpoint["EndpointStatus"] = status
        if pending and status == "InService":
            endpoint["EndpointConfigName"] = pending["EndpointConfigName"]

    def serving(self) -> str:
        """The ARN of the package that the endpoint serves."""
        config = self.configs[self.endpoints[names.ENDPOINT]["EndpointConfigName"]]
        model = self.models[config["ProductionVariants"][0]["ModelName"]]
        return str(model["PrimaryContainer"]["ModelPackageName"])

    def _create_model(self, request: Request) -> Request:
        return self._create("model", self.models, request["ModelName"], request)

    def _create_endpoint_config(self, request: Request) -> Request:
        name = request["EndpointConfigName"]
        return self._create("endpoint configuration", self.configs, name, request)

    def _create(self, kind: str, known: dict[str, Request], name: str, body: Request) -> Request:
        if name in known:
            raise RefusalError(f'Cannot create already existing {kind} "{ARN}:{name}".')
        known[name] = body
        return {}

    def _create_endpoint(self, request: Request) -> Request:
        find(self.configs, request["EndpointConfigName"])
        body = {**request, "EndpointStatus": "Creating"}
        return self._create("endpoint", self.endpoints, request["EndpointName"], body)

    def _describe_endpoint(self, request: Request) -> Request:
        return dict(find(self.endpoints, request["EndpointName"]))

    def _update_endpoint(self, request: Request) -> Request:
        endpoint = find(self.endpoints, request["EndpointName"])
        find(self.configs, request["EndpointConfigName"])
        if endpoint["EndpointStatus"] != "InService":
            raise RefusalError(f'Cannot update in-progress endpoint "{request["EndpointName"]}".')
        endpoint["EndpointStatus"] = "Updating"
        endpoint["PendingDeploymentSummary"] = {"EndpointConfigName": request["EndpointConfigName"]}
        return {}

    def _delete_endpoint(self, request: Request) -> Request:
        find(self.endpoints, request["EndpointName"])
        del self.endpoints[request["EndpointName"]]
        return {}


def find(known: dict[str, Request], name: str) -> Request:
    """A resource by its name or ARN."""
    if name not in known:
        raise RefusalError(f'Could not find "{ARN}:{name}".')
    return known[name]


class Endless:
    """Lambda's context of a function with time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 10**6
