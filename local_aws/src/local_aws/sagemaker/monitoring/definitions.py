"""Job definitions of monitors: what an execution of each kind runs, reads and writes.

The four kinds say the same under different names, and so does the definition that a schedule may
hold itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_aws.sagemaker.core import images, resources
from local_aws.sagemaker.core.kinds import Kind
from local_aws.sagemaker.core.operations import operation
from local_aws.sagemaker.core.protocol import ApiError
from local_aws.sagemaker.jobs import job_checks
from local_aws.sagemaker.monitoring import timing

if TYPE_CHECKING:
    from local_aws.sagemaker.core.service import Service

TYPES = {
    "DataQuality": "data-quality-job-definition",
    "ModelQuality": "model-quality-job-definition",
    "ModelBias": "model-bias-job-definition",
    "ModelExplainability": "model-explainability-job-definition",
}
"""The MonitoringTypes, and what stands before the names in the ARNs of their job definitions."""

_OURS = "the analyzer is ours, not Deequ on Spark; preprocessing scripts get captured records only"
_NONE = "refused unless an image of SageMaker Clarify is pushed: there is no stand-in"
_DIFFERS = {"DataQuality": _OURS, "ModelQuality": _OURS, "ModelBias": _NONE}
_DIFFERS["ModelExplainability"] = _NONE

_PROCESSING = "/opt/ml/processing"


@dataclass(frozen=True)
class Monitor:
    """What a job definition says, of whichever kind it is.

    Attributes:
        type: The MonitoringType.
        name: Name of the job definition, or None for one that its schedule holds.
        app: Image, entrypoint, arguments, scripts and problem type.
        environment: The definition's own variables.
        input: EndpointInput or BatchTransformInput, and perhaps GroundTruthS3Input.
        output: S3Output of the only output.
        baseline: Resources, or the name of the job that made them.
        rest: RoleArn, resources, network and stopping condition under a processing job's names.
    """

    type: str
    name: str | None
    app: Mapping[str, Any]
    environment: Mapping[str, str]
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    baseline: Mapping[str, Any]
    rest: Mapping[str, Any]

    @property
    def data(self) -> Mapping[str, Any]:
        """What EndpointInput and BatchTransformInput have in common."""
        found: Mapping[str, Any] = (
            self.input.get("EndpointInput") or self.input["BatchTransformInput"]
        )
        return found

    @property
    def endpoint(self) -> str | None:
        """Name of the endpoint, unless batch transform is monitored."""
        name: str | None = self.input.get("EndpointInput", {}).get("EndpointName")
        return name


def of_definition(kind: str, body: Mapping[str, Any]) -> Monitor:
    """Read a job definition of a MonitoringType."""
    app = body[f"{kind}AppSpecification"]
    output = body[f"{kind}JobOutputConfig"]
    return Monitor(
        kind,
        body["JobDefinitionName"],
        app,
        app.get("Environment", {}),
        body[f"{kind}JobInput"],
        output["MonitoringOutputs"][0]["S3Output"],
        body.get(f"{kind}BaselineConfig", {}),
        _rest(body, body["JobResources"], output),
    )


def of_schedule(kind: str, body: Mapping[str, Any]) -> Monitor:
    """Read the MonitoringJobDefinition that a schedule holds."""
    output = body["MonitoringOutputConfig"]
    return Monitor(
        kind,
        None,
        body["MonitoringAppSpecification"],
        body.get("Environment", {}),
        body["MonitoringInputs"][0],
        output["MonitoringOutputs"][0]["S3Output"],
        body.get("BaselineConfig", {}),
        _rest(body, body["MonitoringResources"], output),
    )


def _rest(
    body: Mapping[str, Any], compute: Mapping[str, Any], output: Mapping[str, Any]
) -> dict[str, Any]:
    rest = {"RoleArn": body["RoleArn"], "ProcessingResources": compute}
    rest |= {name: body[name] for name in ("NetworkConfig", "StoppingCondition") if name in body}
    if "KmsKeyId" in output:
        rest["KmsKeyId"] = output["KmsKeyId"]
    return rest


def monitor_of(service: Service, config: Mapping[str, Any]) -> Monitor:
    """Return what a schedule's configuration says is to be run.

    Raises:
        ApiError: It says it twice or not at all, or names a definition that is not there.
    """
    name, held = (
        config.get(key) for key in ("MonitoringJobDefinitionName", "MonitoringJobDefinition")
    )
    if (name is None) == (held is None):
        raise ApiError(
            "ValidationException",
            "Give one of MonitoringJobDefinition and MonitoringJobDefinitionName, and only one",
        )
    if held is not None:
        kind = config.get("MonitoringType", "DataQuality")
        return of_schedule(kind, held)
    if "MonitoringType" not in config:
        raise ApiError(
            "ValidationException", "Give the MonitoringType of the MonitoringJobDefinitionName"
        )
    kind = config["MonitoringType"]
    body = resources.require(service, f"{kind}JobDefinition", str(name))
    return of_definition(kind, body)


def check(service: Service, monitor: Monitor) -> None:
    """Check what the model cannot.

    Raises:
        ApiError: The input is not exactly one, or a path, an offset, the number of instances or the
            image is none that can be (ValidationException).
    """
    if ("EndpointInput" in monitor.input) == ("BatchTransformInput" in monitor.input):
        raise ApiError(
            "ValidationException", "Give one of EndpointInput and BatchTransformInput, and only one"
        )
    if "GroundTruthS3Input" in monitor.input and "BatchTransformInput" in monitor.input:
        raise ApiError(
            "ValidationException",
            f"{monitor.type}: the local AWS merges labels with what endpoints have captured only; "
            "give an EndpointInput",
        )
    for given in (monitor.data, monitor.output):
        job_checks.check_local_path("LocalPath", given["LocalPath"], _PROCESSING)
    for member in ("StartTimeOffset", "EndTimeOffset"):
        if member in monitor.data:
            timing.offset(member, monitor.data[member])
    job_checks.check_instances(
        service,
        "jobResources.clusterConfig",
        monitor.rest["ProcessingResources"]["ClusterConfig"],
    )
    image = monitor.app["ImageUri"]
    if images.repository(image) == images.CLARIFY:
        try:
            images.resolve(service, image)
        except ApiError as error:
            raise ApiError(
                error.code,
                f"{monitor.type}: the local AWS has no stand-in for SageMaker Clarify. "
                f"{error.message}",
            ) from None
    images.resolve(service, image)


def _declare(kind: str, arn_path: str) -> None:
    name = f"{kind}JobDefinition"
    resources.declare(
        Kind(
            name,
            arn_path,
            not_found=("ResourceNotFound", "Could not find the job definition {arn}"),
            exists=("ResourceInUse", "The job definition {arn} already exists"),
            stem="JobDefinition",
        ),
        "Describe",
        "Delete",
    )

    @operation(f"Create{name}", differs=_DIFFERS.get(kind, ""))
    def create(service: Service, request: dict[str, Any]) -> dict[str, Any]:
        """Stores what is to be monitored, with what and against which baseline."""
        monitor = of_definition(kind, request)
        check(service, monitor)
        return resources.create(
            service,
            name,
            request,
            EndpointName=monitor.endpoint,
            MonitoringJobDefinitionName=request["JobDefinitionName"],
            MonitoringJobDefinitionArn=service.arn(name, request["JobDefinitionName"]),
        )

    @operation(f"List{name}s")
    def list_(service: Service, request: dict[str, Any]) -> dict[str, Any]:
        """Filters by endpoint, name and time, sorts and pages."""
        wanted = request.get("EndpointName")
        return resources.list_resources(
            service, name, request, lambda body: wanted in (None, body.get("EndpointName"))
        )


for _kind, _path in TYPES.items():
    _declare(_kind, _path)
