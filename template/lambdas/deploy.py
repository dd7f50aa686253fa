"""Deploy an approved version of the model to the endpoint.

Events come more than once, at the same time, and out of order. So a deployment is named after the
version and the time of its approval, each run looks at what is there before it acts, and the newest
approval wins.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lambdas import (
    approval_in,
    capacity,
    deployment_name,
    is_approval,
    recorded_approval,
    time_of_approval,
)
from lambdas.aws import sagemaker
from lambdas.endpoint import package_of
from lambdas.mail import Mail, quota_advice, send

if TYPE_CHECKING:
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef, TagTypeDef

T = TypeVar("T")

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

READY = ("InService", "UpdateRollbackFailed", "OutOfService")
POLL_SECONDS = 5.0
# Time to say so, once the function has waited as long as it may.
RESERVE_MILLISECONDS = 30_000
LOG_DAYS = 90
MADE_BY = "lambdas/deploy.py"
"""What it creates is in no stack: it is found again by its tags."""


class Context(Protocol):
    """The part of Lambda's context that is used here."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda stops the function."""


class EndpointBusyError(Exception):
    """Another deployment has not come to its end; Lambda tries again later."""


@dataclass(frozen=True)
class Deployment:
    """A version to deploy.

    Attributes:
        package: ARN of the model package.
        version: Its version.
        approved: When it was approved, UTC.
        exact: Whether that time is on record. Else it is the event's, and two events of one
            approval can differ.
    """

    package: str
    version: int
    approved: datetime
    exact: bool

    @property
    def name(self) -> str:
        """The name of the model and of the endpoint configuration."""
        return deployment_name(os.environ["ENDPOINT"], self.version, self.approved)


@cache
def logs() -> "CloudWatchLogsClient":
    """The CloudWatch Logs client."""
    return boto3.client("logs")


def handler(event: dict[str, Any], context: Context) -> dict[str, str]:
    """Handle an event "SageMaker Model Package State Change" of an approved package.

    When the event is a "SageMaker Endpoint State Change" instead, the endpoint is scaled from now
    on: a deployment ends the scaling, and an endpoint that is new was never scaled.

    Returns:
        The version's ARN and what was done with it: created, updated, or why nothing. People are
        told when a quota of the account is in the way. Of the other event, the endpoint's ARN.

    Raises:
        EndpointBusyError: When another deployment is going on and does not end in time.
    """
    if "EndpointArn" in event["detail"]:
        return {"endpoint": event["detail"]["EndpointArn"], "outcome": scale()}
    package = event["detail"]["ModelPackageArn"]
    if is_approval(event, approval_time(package)):
        outcome = run(package, event, context)
    else:
        outcome = "ignored, something else than its approval was changed"
    log.info("%s: %s", package, outcome)
    return {"package": package, "outcome": outcome}


def run(package: str, event: Mapping[str, Any], context: Context) -> str:
    """Deploy the package that an event tells of, unless it is not to be deployed any more."""
    described = sagemaker().describe_model_package(ModelPackageName=package)
    if described.get("ModelApprovalStatus") != "Approved":
        return "ignored, it is not approved any more"
    approved, exact = time_of_approval(event, recorded_approval(described))
    deployment = Deployment(package, described["ModelPackageVersion"], approved, exact)
    while True:
        endpoint = describe_endpoint()
        if endpoint and (reason := superseded(deployment, endpoint)):
            return f"ignored, {reason}"
        try:
            if outcome := attempt(deployment, endpoint):
                return outcome
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceLimitExceeded":
                raise
            # Trying again does not help, and what does is for a person.
            return out_of_quota(deployment, error.response["Error"]["Message"])
        if context.get_remaining_time_in_millis() < RESERVE_MILLISECONDS:
            raise EndpointBusyError(f"endpoint {os.environ['ENDPOINT']} is still being changed")
        time.sleep(POLL_SECONDS)


def scale() -> str:
    """Scale the endpoint, unless another deployment has begun; what was done."""
    endpoint = describe_endpoint()
    if endpoint is None or endpoint["EndpointStatus"] != "InService":
        return "ignored, the endpoint is not in service"
    return capacity.scale()


def approval_time(package: str) -> datetime | None:
    """When a package was approved, if `ops models approve` has left that on record."""
    return recorded_approval(sagemaker().describe_model_package(ModelPackageName=package))


def describe_endpoint() -> "DescribeEndpointOutputTypeDef | None":
    """The endpoint as it is now, `None` if there is none."""
    return found(lambda: sagemaker().describe_endpoint(EndpointName=os.environ["ENDPOINT"]))


def superseded(deployment: Deployment, endpoint: "DescribeEndpointOutputTypeDef") -> str | None:
    """Why there is nothing to deploy: the endpoint has, or is getting, this or a newer approval."""
    pending = endpoint.get("PendingDeploymentSummary")
    name = pending["EndpointConfigName"] if pending else endpoint.get("EndpointConfigName", "")
    if name == deployment.name:
        return "this approval is deployed"
    package, failed = found(lambda: package_of(name)), endpoint["EndpointStatus"] == "Failed"
    if package == deployment.package and not deployment.exact and not failed:
        return "this version is deployed"
    deployed = approval_in(os.environ["ENDPOINT"], name)
    known = (deployed and deployed[0], approval_time(package) if package else None)
    if any(time and time > deployment.approved for time in known):
        return f"{package} was approved later"
    tried = found(lambda: sagemaker().describe_endpoint_config(EndpointConfigName=deployment.name))
    # Its configuration is made just before the endpoint is updated.
    if tried and tried["CreationTime"] < endpoint["LastModifiedTime"] and not failed:
        return "this approval was deployed and rolled back"
    return None


def attempt(deployment: Deployment, endpoint: "DescribeEndpointOutputTypeDef | None") -> str | None:
    """Create or update the endpoint; `None` if it cannot be changed at this moment."""
    name = os.environ["ENDPOINT"]
    if endpoint and endpoint["EndpointStatus"] == "Failed":
        # A failed endpoint can only be deleted (API reference of EndpointStatus).
        sagemaker().delete_endpoint(EndpointName=name)
        return None
    if endpoint and endpoint["EndpointStatus"] not in READY:
        return None
    keep_log(name)
    try:
        # First, so that the endpoint is not scaled between its configuration and its update.
        capacity.stop_scaling()
        create_model(deployment)
        create_config(deployment, capacity.of_config(deployment, endpoint))
        if endpoint is None:
            sagemaker().create_endpoint(
                EndpointName=name, EndpointConfigName=deployment.name, Tags=tags()
            )
            return "created the endpoint"
        sagemaker().update_endpoint(
            EndpointName=name,
            EndpointConfigName=deployment.name,
            **capacity.of_update(deployment, endpoint),
        )
    except (ClientError, BotoCoreError) as error:
        changed = describe_endpoint()
        if deployment.name not in configs_of(changed):
            # It has not been tried; the configuration would tell otherwise to the next attempt.
            found(lambda: sagemaker().delete_endpoint_config(EndpointConfigName=deployment.name))
        if changed and changed["EndpointStatus"] == "InService":
            capacity.scale()
        before = endpoint and endpoint["EndpointStatus"]
        if not is_validation_error(error) or not changed or changed["EndpointStatus"] == before:
            raise
        return None
    return "updated the endpoint"


def configs_of(endpoint: "DescribeEndpointOutputTypeDef | None") -> set[str]:
    """The names of the configurations that an endpoint has or is getting."""
    if endpoint is None:
        return set()
    return {
        part["EndpointConfigName"]
        for part in (endpoint, endpoint.get("PendingDeploymentSummary"))
        if part and "EndpointConfigName" in part
    }


def out_of_quota(deployment: Deployment, reason: str) -> str:
    """Tell people that a quota of the account is too low for a deployment."""
    name, version = os.environ["ENDPOINT"], deployment.version
    text = f"""\
Version {version} could not be deployed to {name}:
{reason}
{quota_advice(reason)}
Once it is raised:
  uv run ops models approve {version}

{deployment.package}
"""
    subject = f"{name}: version {version} could not be deployed"
    send(Mail(f"out of quota {deployment.name}", subject, text))
    log.error("%s: %s", deployment.package, reason)
    return f"not deployed, {reason}"


def keep_log(endpoint: str) -> None:
    """Let the log of an endpoint expire; SageMaker would make one that never does."""
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    with suppress(logs().exceptions.ResourceAlreadyExistsException):
        logs().create_log_group(logGroupName=group)
    logs().put_retention_policy(logGroupName=group, retentionInDays=LOG_DAYS)


def tags() -> "list[TagTypeDef]":
    """The tags of what is created here."""
    return [
        {"Key": "project", "Value": os.environ["PROJECT"]},
        {"Key": "made-by", "Value": MADE_BY},
    ]


def create_model(deployment: Deployment) -> None:
    """Create the model of a deployment, if it is not there."""
    create_once(
        lambda: sagemaker().create_model(
            ModelName=deployment.name,
            ExecutionRoleArn=os.environ["MODEL_ROLE"],
            **capacity.of_model(deployment),
            Tags=tags(),
        ),
        lambda: sagemaker().describe_model(ModelName=deployment.name),
    )


def create_config(deployment: Deployment, members: Mapping[str, Any]) -> None:
    """Create the endpoint configuration of a deployment, if it is not there."""
    create_once(
        lambda: sagemaker().create_endpoint_config(
            EndpointConfigName=deployment.name, **members, Tags=tags()
        ),
        lambda: sagemaker().describe_endpoint_config(EndpointConfigName=deployment.name),
    )


def create_once(create: Callable[[], object], describe: Callable[[], object]) -> None:
    """Create a resource; that another run has created it is as good."""
    try:
        create()
    except ClientError as error:
        if not is_validation_error(error) or found(describe) is None:
            raise


def found(describe: Callable[[], T]) -> T | None:
    """What `describe` returns, `None` if there is no such resource."""
    try:
        return describe()
    except ClientError as error:
        if is_validation_error(error):
            return None
        raise


def is_validation_error(error: Exception) -> bool:
    """Whether SageMaker refused: its word for an unknown, an existing and a busy resource alike."""
    if not isinstance(error, ClientError):
        return False
    return error.response["Error"]["Code"] == "ValidationException"
