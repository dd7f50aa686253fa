"""The endpoint: the version that it serves, how a deployment has ended."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from lambdas import approval_in
from lambdas.aws import sagemaker
from lambdas.mail import Mail, quota_advice

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import TagTypeDef

T = TypeVar("T")

MADE_BY = "lambdas/deploy.py"
"""What deployments create is in no stack: it is found again by its tags."""


def serving_package() -> str | None:
    """The ARN of the model package that the endpoint serves; `None` if there is no endpoint yet.

    Raises:
        ValueError: When what it serves does not come from the model registry.
    """
    try:
        endpoint = sagemaker().describe_endpoint(EndpointName=os.environ["ENDPOINT"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":  # no version was approved yet
            return None
        raise
    package = package_of(endpoint["EndpointConfigName"])
    if package is None:
        raise ValueError(
            f"{endpoint['EndpointConfigName']} does not serve a version of the model registry"
        )
    return package


def package_of(config_name: str, client: "SageMakerClient | None" = None) -> str | None:
    """The ARN of the model package that an endpoint configuration serves.

    `None` where what it serves does not come from the model registry.
    """
    client = client or sagemaker()
    config = client.describe_endpoint_config(EndpointConfigName=config_name)
    model = client.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return model.get("PrimaryContainer", {}).get("ModelPackageName")


def tried_last(config_name: str, before: datetime) -> str | None:
    """The endpoint configuration of the newest approval that was deployed before a time.

    `deploy` makes one when the endpoint is free, so that another one than that of the newest
    approval is in service only after a rollback.

    Args:
        config_name: What is in service. Of an endpoint in another inference mode, which the project
            had before, there may be newer ones.
        before: The time.
    """
    project = os.environ["PROJECT"]
    pages = sagemaker().get_paginator("list_endpoint_configs").paginate(NameContains=f"{project}-")
    found = {
        config["EndpointConfigName"]: approval
        for page in pages
        for config in page["EndpointConfigs"]
        if (approval := approval_in(project, config["EndpointConfigName"]))
        and config["CreationTime"] < before
    }
    serving = mode(config_name)
    newest_first = sorted(found, key=found.__getitem__, reverse=True)
    return next((name for name in newest_first if mode(name) == serving), None)


def mode(config_name: str) -> tuple[bool, bool]:
    """Whether an endpoint configuration is for an asynchronous endpoint, and for a serverless."""
    config = sagemaker().describe_endpoint_config(EndpointConfigName=config_name)
    return "AsyncInferenceConfig" in config, "ServerlessConfig" in config["ProductionVariants"][0]


def tags() -> "list[TagTypeDef]":
    """The tags of what is created here."""
    return [
        {"Key": "project", "Value": os.environ["PROJECT"]},
        {"Key": "made-by", "Value": MADE_BY},
    ]


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


def deployed(detail: dict[str, Any]) -> Mail:
    """The endpoint has come to the end of a deployment."""
    name, status = detail["EndpointName"], detail["EndpointStatus"]
    config_name = detail["EndpointConfigName"]
    package = package_of(config_name) or "unknown"
    version = package.rpartition("/")[2]
    # In milliseconds, in the events.
    ended = datetime.fromtimestamp(detail["LastModifiedTime"] / 1000, UTC)
    last = tried_last(config_name, ended)
    # An endpoint that was scaled is in service again as well, which is no news.
    news = last if status == "IN_SERVICE" else detail["LastModifiedTime"]
    about = f"{status} {detail['EndpointArn']} {config_name} {news}"
    if status == "IN_SERVICE" and last in (config_name, None):
        subject = f"{name}: version {version} serves"
        text = f"Endpoint {name} is in service with version {version}.\n\n{package}\n"
        return Mail(about, subject, text)
    reason = sagemaker().describe_endpoint(EndpointName=name).get("FailureReason", "")
    if status == "IN_SERVICE" and last:
        package = package_of(last) or "unknown"
        failed = package.rpartition("/")[2]
        subject = f"{name}: version {failed} was rolled back, version {version} serves"
        text = f"""\
The deployment of version {failed} was rolled back. Endpoint {name} is in service with version
{version}, as before. {reason}

What went wrong is in the log /aws/sagemaker/Endpoints/{name}. Then deploy the version again, or
reject it:
  uv run ops models approve {failed}
  uv run ops models reject {failed}

{package}
"""
    else:
        subject = f"{name}: deployment failed"
        text = f"""\
Endpoint {name} is {status} with version {version}.

{reason}
{quota_advice(reason)}
{package}
"""
    return Mail(about, subject, text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail]] = {"SageMaker Endpoint State Change": deployed}
