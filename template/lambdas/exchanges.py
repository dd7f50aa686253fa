"""What the asynchronous endpoint was asked and has answered, and what it could not answer.

SageMaker notifies of each request that has come to its end. What was answered becomes an event in
the layout of data capture, which an asynchronous endpoint is not known to have: in a file of its
own, below the version that the answer names. The bodies are in it where they are small; of large
ones it has the places. A failure is told to people.

https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html
"""

import base64
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdas.aws import HOUR, read_json, s3, split_uri
from lambdas.mail import Mail, send
from workflows import keys

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

LARGE = ".large.jsonl"
"""How the name of an event ends whose bodies are elsewhere."""
LARGE_BYTES = 128 * 1024
JSON, PARQUET = "application/json", "application/vnd.apache.parquet"
SHOWN = 1000  # bytes of what the model has said


def handler(event: dict[str, Any], _context: object) -> dict[str, list[str]]:
    """Handle notifications of requests that have come to their end.

    Args:
        event: As SNS calls a function: with the notifications in `Records`.

    Returns:
        `kept`: the keys of the events; `failed`: the ids of the requests that failed.
    """
    kept, failed = [], []
    for record in event["Records"]:
        message = json.loads(record["Sns"]["Message"])
        if message["invocationStatus"] == "Completed":
            kept.append(keep(message))
        else:
            failed.append(message["inferenceId"])
            send(failure(message))
    log.info("kept %s, failed %s", kept, failed)
    return {"kept": kept, "failed": failed}


def keep(message: dict[str, Any]) -> str:
    """Keep what a request was answered; the key.

    Notifications come more than once, and so can requests, from the queue of the endpoint. A
    request is known by the place of its answer, and the first notification of it counts.
    """
    name = hashlib.sha256(message["responseParameters"]["outputLocation"].encode()).hexdigest()[:32]
    message = claim(f"{keys.NOTED}{name}.json", message)
    asked, answered = message["requestParameters"], message["responseParameters"]
    time = datetime.fromisoformat(message["eventTime"]).astimezone(UTC)
    found = {
        "endpointInput": (asked, find(asked.get("inputLocation"), time)),
        "endpointOutput": (answered, find(answered["outputLocation"])),
    }
    large = any(is_large(place, got) for place, got in found.values() if got)
    event = {
        "captureData": {
            side: {
                "observedContentType": place["contentType"],
                "mode": side.removeprefix("endpoint").upper(),
                **(located(side, place) if large else data(place["contentType"], got)),
            }
            for side, (place, got) in found.items()
            if got
        },
        "eventMetadata": {
            "eventId": name,
            "inferenceId": message["inferenceId"],
            "inferenceTime": message["eventTime"],
        },
        "eventVersion": "0",
    }
    key = f"{folder(answered['contentType'])}{time:{HOUR}}/{name}{LARGE if large else '.jsonl'}"
    s3().put_object(Bucket=os.environ["BUCKET"], Key=key, Body=f"{json.dumps(event)}\n".encode())
    return key


def claim(key: str, message: dict[str, Any]) -> dict[str, Any]:
    """The first notification of a request: this one, unless there was another."""
    bucket = os.environ["BUCKET"]
    try:
        s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(message).encode(), IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        message = read_json(bucket, key)
    return message


def find(uri: str | None, answered: datetime | None = None) -> "GetObjectOutputTypeDef | None":
    """A body; `None` where it is gone, or another one is in its place since it was answered.

    Args:
        uri: Its place; `None` where it was sent inline, and so is nowhere.
        answered: When it was answered, UTC.
    """
    if uri is None:
        return None
    bucket, key = split_uri(uri)
    try:
        found = s3().get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "AccessDenied"):
            log.warning("%s: %s", uri, error)
            return None
        raise
    # S3 tells whole seconds.
    if answered and found["LastModified"] > answered:
        log.warning("%s: was written after it was answered", uri)
        return None
    return found


def is_large(place: dict[str, Any], body: "GetObjectOutputTypeDef") -> bool:
    """Whether a body is not to be in an event: Parquet, or many bytes.

    A JSON document is no longer than what others capture, and cannot be read in parts.
    """
    kind = place["contentType"].partition(";")[0].strip().lower()
    return kind == PARQUET or (kind != JSON and body["ContentLength"] > LARGE_BYTES)


def located(side: str, place: dict[str, Any]) -> dict[str, str]:
    """Where the body of one side of an exchange is."""
    return {"location": place["inputLocation" if side == "endpointInput" else "outputLocation"]}


def data(content_type: str, body: "GetObjectOutputTypeDef") -> dict[str, str]:
    """A body as data capture has it."""
    content = body["Body"].read()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {"encoding": "BASE64", "data": base64.b64encode(content).decode()}
    return {"encoding": "JSON" if content_type.startswith(JSON) else "CSV", "data": text}


def folder(content_type: str) -> str:
    """The folder of all that a version has answered, which its Content-Type tells.

    The image of an earlier version does not tell it: it is not on record then.
    """
    version = re.search(r";\s*model-version=(\d+)\s*(?:;|$)", content_type)
    where = f"{os.environ['ENDPOINT']}/{os.environ['VARIANT']}/"
    return f"{keys.CAPTURE}version={version[1]}/{where}" if version else f"{keys.CAPTURE}{where}"


def bodies(files: Iterable[str]) -> set[str]:
    """The keys of the bodies that captured files refer to, of those that are still there."""
    found = set()
    for key in files:
        if not key.endswith(LARGE):
            continue
        for payload in read_json(os.environ["BUCKET"], key)["captureData"].values():
            bucket, body = split_uri(payload["location"])
            if bucket == os.environ["BUCKET"] and find(payload["location"]):
                found.add(body)
    return found


def failure(message: dict[str, Any]) -> Mail:
    """A request has failed. Of one reason there is one mail in an hour.

    Args:
        message: The notification. AWS does not document those of failures.
    """
    asked, reason = message["requestParameters"], message.get("failureReason", "no reason is given")
    endpoint, time = asked["endpointName"], datetime.fromisoformat(message["eventTime"])
    place = message.get("responseParameters", {}).get("outputLocation")
    said = find(place)
    answer = said["Body"].read(SHOWN).decode(errors="replace").strip() if said else ""
    kind = re.sub(r"s3://\S+|[0-9a-f-]{8,}|\d+", "", reason)
    text = f"""\
The endpoint {endpoint} could not answer a request, and perhaps others of this hour for the same
reason:

{reason}
{answer if answer != reason else ""}
Inference id  {message["inferenceId"]}
Request       {asked.get("inputLocation", "sent inline")}
More          {place or "the log"}, and the log /aws/sagemaker/Endpoints/{endpoint}

It will not be tried again: send it once more when the reason is gone.
"""
    subject = f"{endpoint}: requests fail"
    return Mail(f"request failed {endpoint} {time:{HOUR}} {kind}", subject, text)
