"""Start the training that a change of the code takes: CI does after each deployment."""

import boto3
from botocore.exceptions import ClientError
from rich.console import Console

from ops import OpsError, aws
from workflows import code_change, names

console = Console()
DEPLOY = "run `uv run poe deploy`, then this again"


def train_if_changed() -> None:
    """Start a training if what trains has changed since the last one was started.

    Run it after each deployment. However often it runs, each change has one training.
    """
    here, there = code_change.digest(), deployed()
    if here != there:
        raise OpsError(f"what is deployed trains with other code than is here: {DEPLOY}")
    answer = aws.invoke(names.current().of("retrain"), {"trigger": "code_change"})
    if reason := answer.get("skipped"):
        console.print(f"No training is started: {reason}", soft_wrap=True)
    else:
        console.print(f"Started {answer['started']}", soft_wrap=True)


def deployed() -> str:
    """The digest of what trains, as it is deployed.

    Raises:
        OpsError: When it is not deployed.
    """
    name = names.current().code
    try:
        found = boto3.client("ssm", region_name=names.REGION).get_parameter(Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        raise OpsError(f"account {aws.account()} has no parameter {name}: {DEPLOY}") from None
    return found["Parameter"]["Value"]
