"""Tell people what has happened, in mails that say what to do next."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sns import SNSClient

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

SUBJECT_LENGTH = 100  # SNS takes no longer one


@dataclass(frozen=True)
class Mail:
    """A mail.

    Attributes:
        about: What it is about; one mail is sent for it, however many events there are.
        subject: ASCII, at most 100 characters.
        text: The text.
    """

    about: str
    subject: str
    text: str


@cache
def sagemaker() -> "SageMakerClient":
    """The SageMaker client."""
    return boto3.client("sagemaker")


@cache
def s3() -> "S3Client":
    """The S3 client."""
    return boto3.client("s3")


@cache
def sns() -> "SNSClient":
    """The SNS client."""
    return boto3.client("sns")


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Write and send the mail for an event.

    Raises:
        ValueError: When there is no mail for this type of event.
    """
    write = MAILS.get(event["detail-type"])
    if write is None:
        raise ValueError(f"no mail for events of type {event['detail-type']!r}")
    mail = write(event["detail"])
    outcome = send(mail)
    log.info("%s: %s", mail.subject, outcome)
    return {"subject": mail.subject, "outcome": outcome}


def send(mail: Mail) -> str:
    """Send a mail unless it was sent before, and keep a copy in S3."""
    bucket = os.environ["BUCKET"]
    key = f"notifications/{hashlib.sha256(mail.about.encode()).hexdigest()[:32]}.json"
    if s3().list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"]:
        return "was sent before"
    subject = mail.subject[:SUBJECT_LENGTH]
    sns().publish(TopicArn=os.environ["TOPIC"], Subject=subject, Message=mail.text)
    # The copy comes last: a mail sent twice is better than one not sent.
    content = json.dumps({"subject": subject, "text": mail.text}, indent=2)
    s3().put_object(Bucket=bucket, Key=key, Body=content.encode())
    return "sent"


def pending(detail: dict[str, Any]) -> Mail:
    """A version awaits approval."""
    arn, version = detail["ModelPackageArn"], detail["ModelPackageVersion"]
    group = detail["ModelPackageGroupName"]
    package = sagemaker().describe_model_package(ModelPackageName=arn)
    uri = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    report = json.loads(s3().get_object(Bucket=bucket, Key=key)["Body"].read())
    trigger = package.get("CustomerMetadataProperties", {}).get("Trigger", "")
    text = f"""\
Version {version} of {group} awaits approval. Its training was started by {trigger}.

On its own test data:
{metrics(report)}

Compare it with the version that serves:
  uv run ops models compare {version}
Then
  uv run ops models approve {version}
  uv run ops models reject {version}

{arn}
"""
    return Mail(f"pending {arn}", f"{group}: version {version} awaits approval", text)


def metrics(report: dict[str, Any]) -> str:
    """A line for each metric of the model in a report of Model Monitor's format."""
    section = next(value for key, value in report.items() if key.endswith("_metrics"))
    values = {
        name: entry["value"]
        for name, entry in section.items()
        if isinstance(entry, dict)
        and isinstance(entry.get("value"), int | float)
        and not name.endswith("_best_constant_classifier")
    }
    return "\n".join(f"  {name:<30} {value:.4f}" for name, value in values.items())


def failed(detail: dict[str, Any]) -> Mail:
    """An execution of a workflow has failed."""
    arn = detail["pipelineExecutionArn"]
    workflow = detail["pipelineArn"].rpartition("/")[2]
    pages = sagemaker().get_paginator("list_pipeline_execution_steps")
    # The execution itself only says that a step failed.
    reasons = [
        f"{step['StepName']}: {step.get('FailureReason', 'no reason given')}"
        for page in pages.paginate(PipelineExecutionArn=arn)
        for step in page["PipelineExecutionSteps"]
        if step["StepStatus"] == "Failed"
    ]
    text = f"""\
An execution of {workflow} has failed.

{chr(10).join(reasons) or "No step failed; look at the execution itself."}

{arn}
"""
    return Mail(f"failed {arn}", f"{workflow} failed", text)


def deployed(detail: dict[str, Any]) -> Mail:
    """The endpoint has come to the end of a deployment."""
    name, status = detail["EndpointName"], detail["EndpointStatus"]
    config_name = detail["EndpointConfigName"]
    config = sagemaker().describe_endpoint_config(EndpointConfigName=config_name)
    model = sagemaker().describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    package = model.get("PrimaryContainer", {}).get("ModelPackageName", "unknown")
    version = package.rpartition("/")[2]
    about = f"{status} {detail['EndpointArn']} {config_name} {detail['LastModifiedTime']}"
    if status == "IN_SERVICE":
        subject = f"{name}: version {version} serves"
        text = f"Endpoint {name} is in service with version {version}.\n\n{package}\n"
    else:
        reason = sagemaker().describe_endpoint(EndpointName=name).get("FailureReason", "")
        subject = f"{name}: deployment failed"
        text = f"Endpoint {name} is {status} with version {version}.\n\n{reason}\n\n{package}\n"
    return Mail(about, subject, text)


def alarm(detail: dict[str, Any]) -> Mail:
    """An alarm has gone off."""
    name, state = detail["alarmName"], detail["state"]
    description = detail.get("configuration", {}).get("description", "")
    text = f"""\
Alarm {name} has gone off at {state["timestamp"]}.

{description}

{state["reason"]}
"""
    return Mail(f"alarm {name} {state['timestamp']}", f"Alarm {name}", text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail]] = {
    "CloudWatch Alarm State Change": alarm,
    "SageMaker Endpoint State Change": deployed,
    "SageMaker Model Building Pipeline Execution Status Change": failed,
    "SageMaker Model Package State Change": pending,
}
