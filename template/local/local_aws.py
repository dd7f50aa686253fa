"""The local AWS: a tool beside this project, run with uv from where the template came from."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import boto3

from local import tools
from ops import OpsError, aws
from workflows import names

DATA_DIR = Path(".local/aws")
INBOX = "inbox"  # the queue that receives the notifications


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool on this project's data folder.

    Raises:
        OpsError: When it fails; with what it said.
        ToolMissingError: When it is not there, or cannot be installed.
    """
    origin = tools.origin("local_aws")
    tool = [tools.uv(), "tool", "run", "--compile-bytecode", "--from", origin]
    result = subprocess.run(
        [*tool, "local-aws", *arguments, "--data-dir", str(DATA_DIR)],
        check=False,
        text=True,
        capture_output=True,
    )
    if result.returncode:
        said = result.stderr.strip() or result.stdout.strip()
        if not installed(tool):
            reason = said.splitlines()[-1].strip() if said else "no reason"
            raise tools.ToolMissingError(
                f"the local AWS comes with the template, and cannot be installed from {origin}, "
                f"which {tools.ANSWERS} names: {reason}"
            )
        raise OpsError(f"local-aws {arguments[0]}: {said}")
    return result


def installed(tool: Sequence[str]) -> bool:
    """Whether uv finds and installs the tool."""
    command = [*tool, "local-aws", "--help"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def start() -> str:
    """Start a local AWS with nothing in it, and point this process and its children at it.

    One that an earlier run has left is reset.

    Returns:
        Its URL.
    """
    DATA_DIR.parent.mkdir(exist_ok=True)
    command("stop")
    command("reset")
    # Here nobody has the minutes for which AWS watches a new version before the old one goes.
    os.environ["LOCAL_AWS_LONGEST_BAKE"] = "2"
    # On AWS, what was predicted is in S3 minutes later; here it is a second.
    os.environ.setdefault("LOCAL_AWS_CAPTURE_MINUTES", "0.02")
    command("start", "--port", "0", "--region", names.REGION)
    os.environ.pop("AWS_PROFILE", None)
    os.environ.update(environment())
    return os.environ["AWS_ENDPOINT_URL"]


def environment() -> dict[str, str]:
    """The environment variables that point a client at it."""
    found: dict[str, str] = json.loads(command("status", "--json").stdout)["environment"]
    return found


def stop() -> None:
    """Stop it."""
    command("stop")


def run(arguments: list[str], log: Path) -> None:
    """Run a command of this project with its output in a log file.

    Raises:
        OpsError: When it fails, with the end of the log.
    """
    with log.open("a") as output:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()  # it ends what it has started
            process.wait(timeout=60)
            raise
    if code:
        tail = "\n".join(log.read_text().splitlines()[-15:])
        raise OpsError(f"{' '.join(arguments)} failed (all of it is in {log}):\n{tail}")


def open_inbox() -> None:
    """Let a queue receive the notifications, as a mailbox would."""
    queues = boto3.client("sqs", region_name=names.REGION)
    url = queues.create_queue(QueueName=names.current().of(INBOX))["QueueUrl"]
    attributes = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topics = boto3.client("sns", region_name=names.REGION)
    queue = attributes["Attributes"]["QueueArn"]
    topic = aws.arn("sns", names.current().topic)
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)


def empty_inbox() -> list[str]:
    """Take the notifications that have come out of the queue; their subjects."""
    queues = boto3.client("sqs", region_name=names.REGION)
    url = queues.get_queue_url(QueueName=names.current().of(INBOX))["QueueUrl"]
    found: list[str] = []
    while messages := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"])["Subject"])
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found
