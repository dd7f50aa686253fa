"""The channel of the chat: set its webhook, and send a first message."""

import sys

import boto3
import typer
from botocore.exceptions import ClientError
from rich.console import Console

from lambdas.chat import ADDRESS
from ops import OpsError, aws
from workflows import names

console = Console(highlight=False, soft_wrap=True)


def chat() -> None:
    """Set the address of the webhook that messages go to, and send one there.

    It is asked for, or read from standard input: nothing keeps it but AWS Secrets Manager.
    """
    if sys.stdin.isatty():
        address = typer.prompt("Address of the webhook", hide_input=True, err=True).strip()
    else:
        address = sys.stdin.readline().strip()
    if not ADDRESS.fullmatch(address):
        raise OpsError("that is not the address of a webhook; it begins with https://")
    name = names.current().chat_webhook
    secrets = boto3.client("secretsmanager", region_name=names.REGION)
    try:
        secrets.put_secret_value(SecretId=name, SecretString=address)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise OpsError(f"there is no secret {name}; run `uv run poe deploy`") from None
    text = "Here will be what the mails of this project tell."
    subject = f"{names.current().prefix}: a first message"
    aws.invoke(
        names.current().of("chat"), {"Records": [{"Sns": {"Subject": subject, "Message": text}}]}
    )
    console.print(f"Set, and sent: {subject}")
