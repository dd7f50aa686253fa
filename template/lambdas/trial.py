"""The trial of a version before it serves, and what is on record of deployments.

SageMaker has no guardrails for serverless endpoints: what does not start or cannot predict would
be noticed by callers. So each version is first deployed to an endpoint of its own, and asked there
with a row that its schema allows. It logs nothing there, as nobody has asked for that prediction.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdas import approval_in, serverless
from lambdas.aws import find_json, read_json, s3, sagemaker, split_uri
from lambdas.endpoint import create_once, found, is_validation_error, tags
from lambdas.mail import Mail, send
from workflows import keys

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef
    from types_boto3_sagemaker_runtime import SageMakerRuntimeClient

    from lambdas.deploy import Deployment

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

SUFFIX = "-trial"
JSON = "application/json"
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
PASSING = {
    "InternalDependencyException",
    "InternalFailure",
    "ModelNotReadyException",
    "ServiceUnavailable",
    "ThrottlingException",
    "ValidationError",  # another run has ended the trial
}
"""What InvokeEndpoint answers for a reason that is not the model's, and that passes."""


@cache
def runtime() -> "SageMakerRuntimeClient":
    """The client that asks; a model has 60 seconds for its answer."""
    config = Config(read_timeout=70, retries={"total_max_attempts": 1})
    return boto3.client("sagemaker-runtime", config=config)


def refusal(deployment: "Deployment") -> str | None:
    """Why a version must not serve; empty when it has passed, `None` while it is being tried."""
    name = deployment.name + SUFFIX
    present = describe()
    if present is None:
        if reason := start(deployment, name):
            return reason
        present = describe()
    if present is None:
        return None
    if config_of(present) != name:
        other = approval_in(os.environ["PROJECT"], config_of(present).removesuffix(SUFFIX))
        # A newer approval goes first; what an older one has left is in the way.
        if other is None or other < (deployment.approved, deployment.version):
            remove(present)
        return None
    if present["EndpointStatus"] == "Failed":
        return present.get("FailureReason") or "SageMaker gives no reason"
    return ask(deployment) if present["EndpointStatus"] == "InService" else None


def describe() -> "DescribeEndpointOutputTypeDef | None":
    """The endpoint of the trial as it is now, `None` if there is none."""
    return found(lambda: sagemaker().describe_endpoint(EndpointName=os.environ["TRIAL"]))


def config_of(endpoint: "DescribeEndpointOutputTypeDef") -> str:
    """The name of the configuration, and of the model, that an endpoint of a trial has."""
    return endpoint["EndpointConfigName"]


def start(deployment: "Deployment", name: str) -> str | None:
    """Deploy a version to the endpoint of the trial; why that is refused, `None` if it is not."""
    described = sagemaker().describe_model_package(ModelPackageName=deployment.package)
    if "InferenceLog" not in described.get("CustomerMetadataProperties", {}):
        return (
            "its image does not log what it predicts, being from before the endpoint was "
            "serverless; train a new version (`uv run ops train`) and approve that"
        )
    try:
        create_once(
            lambda: sagemaker().create_model(
                ModelName=name,
                PrimaryContainer={"ModelPackageName": deployment.package},
                ExecutionRoleArn=os.environ["MODEL_ROLE"],
                Tags=tags(),
            ),
            lambda: sagemaker().describe_model(ModelName=name),
        )
        create_once(
            lambda: sagemaker().create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=[serverless.variant(name, 1)],
                Tags=tags(),
            ),
            lambda: sagemaker().describe_endpoint_config(EndpointConfigName=name),
        )
        create_once(
            lambda: sagemaker().create_endpoint(
                EndpointName=os.environ["TRIAL"], EndpointConfigName=name, Tags=tags()
            ),
            describe,
        )
    except ClientError as error:
        if is_validation_error(error):  # the image is gone, say
            return error.response["Error"]["Message"]
        raise
    return None


def ask(deployment: "Deployment") -> str | None:
    """Let a version answer; what is wrong with that, `None` if it is to be asked again."""
    row, fields = example(deployment.package)
    try:
        response = runtime().invoke_endpoint(
            EndpointName=os.environ["TRIAL"],
            ContentType=JSON,
            Accept=JSON,
            Body=json.dumps({"instances": [row]}).encode(),
        )
        answer = response["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "ModelError":
            return error.response["Error"]["Message"]
        if error.response["Error"]["Code"] in PASSING:
            return None
        raise
    try:
        (prediction,) = json.loads(answer)["predictions"]
        told = [*prediction]
    except (KeyError, TypeError, ValueError):
        return f"it has answered {answer[:200].decode(errors='replace')}, which is no prediction"
    if told != fields:
        return f"it answers with {', '.join(told)} instead of {', '.join(fields)}"
    return ""


def example(package: str) -> tuple[dict[str, Any], list[str]]:
    """A row of features that a version must be able to answer, and the fields of its answer.

    Its schema.json names them: numbers are 1, of categories it is the first one.
    """
    described = sagemaker().describe_model_package(ModelPackageName=package)
    schema = read_json(*split_uri(described["CustomerMetadataProperties"]["Schema"]))
    row = {
        feature["name"]: next(iter(feature.get("categories", [])), None)
        if feature["type"] == "String"
        else 1
        for feature in schema["features"]
    }
    return row, [field["name"] for field in schema["answer"]]


def end(deployment: "Deployment") -> None:
    """End the trial of a version, if it is there, or what of it could be made."""
    present, name = describe(), deployment.name + SUFFIX
    if present is None:
        discard(name)
    elif config_of(present) == name:
        remove(present)


def remove(endpoint: "DescribeEndpointOutputTypeDef") -> None:
    """Delete what a trial has made; SageMaker refuses that while the endpoint is being changed."""
    if endpoint["EndpointStatus"] in CHANGING:
        return
    found(lambda: sagemaker().delete_endpoint(EndpointName=os.environ["TRIAL"]))
    discard(config_of(endpoint))


def discard(name: str) -> None:
    """Delete the configuration and the model of a trial."""
    found(lambda: sagemaker().delete_endpoint_config(EndpointConfigName=name))
    found(lambda: sagemaker().delete_model(ModelName=name))


def refuse(deployment: "Deployment", reason: str) -> str:
    """Put on record that a version has failed its trial, and tell people."""
    record(deployment.name, {"reason": reason})
    name, version = os.environ["ENDPOINT"], deployment.version
    text = f"""\
Version {version} was not deployed to {name}, as it has failed its trial:
{reason}

Whatever has served before goes on serving. The log is
/aws/sagemaker/Endpoints/{os.environ["TRIAL"]}. Then deploy the version again, or reject it:
  uv run ops models approve {version}
  uv run ops models reject {version}

{deployment.package}
"""
    subject = f"{name}: version {version} has failed its trial"
    send(Mail(f"failed trial {deployment.name}", subject, text))
    log.error("%s: %s", deployment.package, reason)
    return f"not deployed, {reason}"


def passed(deployment: "Deployment", endpoint: "DescribeEndpointOutputTypeDef | None") -> None:
    """Put on record what has served before a version that is about to."""
    before = endpoint["EndpointConfigName"] if endpoint else ""
    record(deployment.name, {"before": before, "since": time.time()})


def record(deployment: str, what: Mapping[str, Any]) -> None:
    """Write down what has come of a deployment.

    Args:
        deployment: Its name.
        what: `before`, the configuration that has served before; `since`, when that was replaced,
            in seconds since 1970; `reason`, why the deployment was refused or rolled back.
    """
    body = json.dumps(what).encode()
    s3().put_object(Bucket=os.environ["BUCKET"], Key=key_of(deployment), Body=body)


def recorded(deployment: str) -> dict[str, Any]:
    """What is on record of a deployment; empty if nothing."""
    return find_json(os.environ["BUCKET"], key_of(deployment)) or {}


def key_of(deployment: str) -> str:
    """Where the record of a deployment is in the data bucket."""
    return f"{keys.DEPLOYMENTS}{deployment}.json"
