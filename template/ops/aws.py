"""The AWS account of this project: clients and what is deployed there."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

from lambdas.aws import split_uri
from ops import OpsError
from workflows import names

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient

T = TypeVar("T")

MISSING = {
    *("NoSuchBucket", "ResourceNotFound", "ResourceNotFoundException"),
    "StateMachineDoesNotExist",
}
"""Codes of errors that say that something is not there, and nothing else."""
SIGN_IN = (
    "sign in (`aws sso login`, or `aws configure`) and set AWS_PROFILE; for a local AWS set the "
    "variables that `uv run poe local --keep` prints"
)


@cache
def s3() -> "S3Client":
    """The S3 client."""
    return boto3.client("s3", region_name=names.REGION)


@cache
def sagemaker() -> "SageMakerClient":
    """The SageMaker client."""
    return boto3.client("sagemaker", region_name=names.REGION)


@cache
def functions() -> "LambdaClient":
    """The Lambda client."""
    return boto3.client("lambda", region_name=names.REGION)


@cache
def account() -> str:
    """The account of the current credentials."""
    return boto3.client("sts", region_name=names.REGION).get_caller_identity()["Account"]


def arn(service: str, resource: str) -> str:
    """The ARN of a resource in the account and region of this project.

    Args:
        service: As ARNs name it, for example `sns`.
        resource: The last part, for example the topic's name.
    """
    partition = boto3.Session().get_partition_for_region(names.REGION)
    return f"arn:{partition}:{service}:{names.REGION}:{account()}:{resource}"


def bucket() -> str:
    """The name of the data bucket."""
    return names.current().bucket(account())


def base() -> str:
    """The name of the stack that outlives the others: with the data bucket and the registry."""
    return names.current().stacks[0]


def read_json(uri: str) -> Any:  # noqa: ANN401 - whatever the document holds
    """Read a JSON document from S3."""
    where, key = split_uri(uri)
    return json.loads(s3().get_object(Bucket=where, Key=key)["Body"].read())


def find_json(uri: str) -> Any:  # noqa: ANN401 - whatever the document holds
    """Read a JSON document from S3, `None` if there is none."""
    try:
        return read_json(uri)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise


def keys(prefix: str, first: str = "") -> Iterator[str]:
    """The keys of the data bucket under a prefix, in order.

    Args:
        prefix: The prefix.
        first: What comes before this, below the prefix, is not listed: of keys that are filed by
            time, for example `2026/01/31/23`, an hour of which there need not be any.
    """
    return (key for key, _ in written(prefix, first))


def written(prefix: str, first: str = "") -> Iterator[tuple[str, datetime]]:
    """The same as `keys`, and when each was written."""
    pages = s3().get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket(), Prefix=prefix, StartAfter=f"{prefix}{first}"):
        for found in page.get("Contents", []):
            yield found["Key"], found["LastModified"]


def stacks() -> list[str]:
    """The names of this project's stacks that are there."""
    pages = boto3.client("cloudformation", region_name=names.REGION).get_paginator(
        "describe_stacks"
    )
    found = [stack["StackName"] for page in pages.paginate() for stack in page["Stacks"]]
    return sorted(name for name in found if name in names.current().stacks)


def require_stacks() -> None:
    """Go on only where the project is deployed, as far as these credentials may see that.

    Raises:
        OpsError: When a stack is missing; with the command that brings it.
    """
    try:
        there = stacks()
    except ClientError as error:
        if error.response["Error"]["Code"].startswith("AccessDenied"):
            return
        raise
    if missing := [name for name in names.current().stacks if name not in there]:
        raise OpsError(
            f"not deployed yet: account {account()} has no stack {', '.join(missing)} in "
            f"{names.REGION}, the REGION of workflows/names.py; run `uv run poe deploy`"
        )


def is_missing(error: ClientError) -> bool:
    """Whether AWS says that a resource is not there.

    SageMaker's code for it, ValidationException, is that of most of its refusals: its words tell,
    `Could not find model "arn…"` for example.
    """
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code in MISSING:
        return True
    told = re.search(r"^Could not find |does not exist\.?$|not found\.?$", message)
    return code in ("ValidationException", "ValidationError") and told is not None


def explain(error: ClientError | BotoCoreError) -> str:
    """What an error of AWS means for the person at the terminal, and what to do about it."""
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return f"there are no AWS credentials: {SIGN_IN}"
        case ProfileNotFound() | SSOError() | CredentialRetrievalError():
            return f"the AWS credentials cannot be used: {error}; {SIGN_IN}"
        case EndpointConnectionError() | ConnectTimeoutError() | ConnectionClosedError():
            return f"AWS does not answer: {error} {_unreachable()}"
        case ClientError():
            return _explain_refusal(error)
        case _:
            return str(error)


def _unreachable() -> str:
    if url := os.environ.get("AWS_ENDPOINT_URL"):
        return (
            f"AWS_ENDPOINT_URL is {url}: start the local AWS again (`uv run poe local --keep`), or "
            "unset the variable"
        )
    return f"Check the network, and REGION in workflows/names.py: {names.REGION}"


def _explain_refusal(error: ClientError) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code.removesuffix("Exception") in (
        *("ExpiredToken", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken"),
        *("RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClient"),
    ):
        return (
            f"AWS refuses the credentials ({code}: {message}): they have expired, or the account "
            f"has not enabled the region {names.REGION}; {SIGN_IN}"
        )
    if code.startswith("AccessDenied"):
        return f"these credentials may not do this: {message}"
    if not is_missing(error):
        return str(error)
    try:
        require_stacks()
    except OpsError as undeployed:
        return str(undeployed)
    except (ClientError, BotoCoreError):
        return str(error)
    # The stacks are there: what is missing is what an approval makes.
    return (
        f"not there yet: {message} `uv run ops models list` shows the versions, "
        "`uv run ops models approve VERSION` deploys one"
    )


def output(stack: str, name: str) -> str:
    """The value of an output of a stack.

    Raises:
        OpsError: When the stack has no such output, as before it was deployed as it is now.
    """
    client = boto3.client("cloudformation", region_name=names.REGION)
    for found in client.describe_stacks(StackName=stack)["Stacks"]:
        for entry in found.get("Outputs", []):
            if entry["OutputKey"] == name:
                return entry["OutputValue"]
    raise OpsError(f"stack {stack} has no output {name}; run `uv run poe deploy`")


def invoke(function: str, event: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """Call a Lambda function, wait for its end, and return its answer.

    Raises:
        OpsError: When it fails; with its own message.
    """
    # As long as a function may run.
    settings = Config(read_timeout=900)
    client = boto3.client("lambda", region_name=names.REGION, config=settings)
    answer = client.invoke(FunctionName=function, Payload=json.dumps(dict(event)).encode())
    content = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise OpsError(f"{function}: {content.get('errorMessage', content)}")
    return content


def wait_for(
    what: str, probe: Callable[[], T | None], timeout: float = 1800, interval: float = 0.5
) -> T:
    """Call `probe` until it returns something.

    Args:
        what: What is waited for, for the error message.
        probe: Returns the result, or `None` while there is none.
        timeout: Seconds to wait at the most.
        interval: Seconds between two calls.

    Raises:
        OpsError: When nothing came in time.
    """
    end = time.monotonic() + timeout
    while (result := probe()) is None:
        if time.monotonic() > end:
            raise OpsError(f"{what}: nothing after {timeout:.0f} s")
        time.sleep(interval)
    return result


def utc_now() -> datetime:
    """The time now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
