"""AWS as the functions use it: clients, and the objects of the data bucket, often filed by time."""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient

HOUR = "%Y/%m/%d/%H"
"""The folder of an hour, as Model Monitor names it."""


@dataclass(frozen=True)
class Predictions:
    """A file of predictions.

    Attributes:
        key: Its key, relative to the prefix of all predictions.
        version: The version of the model that made them; `None` where that is not on record, as
            with files that are older than its being recorded.
    """

    key: str
    version: int | None


@cache
def cloudwatch() -> "CloudWatchClient":
    """The CloudWatch client."""
    return boto3.client("cloudwatch")


@cache
def s3() -> "S3Client":
    """The S3 client."""
    return boto3.client("s3")


@cache
def sagemaker() -> "SageMakerClient":
    """The SageMaker client."""
    return boto3.client("sagemaker")


def between(prefix: str, first: str, last: str) -> Iterator[str]:
    """The keys below `prefix`, relative to it, from the folder `first` to the folder `last`.

    The names of the folders are in the order of time, like 2026/01/31/23.
    """
    return (key for key, _ in written_between(prefix, first, last))


def written_between(prefix: str, first: str, last: str) -> Iterator[tuple[str, datetime]]:
    """The same as `between`, and when each object was written, UTC."""
    pages = (
        s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=os.environ["BUCKET"], Prefix=prefix, StartAfter=f"{prefix}{first}")
    )
    for page in pages:
        for entry in page.get("Contents", []):
            key = entry["Key"].removeprefix(prefix)
            if key[: len(last)] > last:
                return
            yield key, entry["LastModified"]


def below(prefix: str) -> Iterator[str]:
    """The keys of the bucket that begin with a prefix, in order."""
    return (key for key, _ in written_below(prefix))


def written_below(prefix: str) -> Iterator[tuple[str, datetime]]:
    """The same as `below`, and when each object was written, UTC."""
    listed = s3().get_paginator("list_objects_v2")
    pages = listed.paginate(Bucket=os.environ["BUCKET"], Prefix=prefix)
    entries = (entry for page in pages for entry in page.get("Contents", []))
    return ((entry["Key"], entry["LastModified"]) for entry in entries)


def folders(prefix: str) -> list[str]:
    """The names of the folders that begin with a prefix of the bucket, less that prefix."""
    pages = (
        s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=os.environ["BUCKET"], Prefix=prefix, Delimiter="/")
    )
    found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
    return [name.removeprefix(prefix).rstrip("/") for name in found]


def log_key() -> set[str]:
    """The key of the hashes in the table of predictions, made unless there is one, or no hash.

    Returns:
        The object that has it, if any.
    """
    key = os.environ.get("LOG_KEY")
    if key is None:
        return set()
    secret = secrets.token_bytes(32)
    try:
        s3().put_object(Bucket=os.environ["BUCKET"], Key=key, Body=secret, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
    return {key}


def split_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read_json(bucket: str, key: str) -> Any:  # noqa: ANN401 - whatever the document holds
    """Read a JSON document."""
    return json.loads(s3().get_object(Bucket=bucket, Key=key)["Body"].read())


def find_json(bucket: str, key: str) -> Any:  # noqa: ANN401 - whatever the document holds
    """Read a JSON document, `None` if there is none."""
    try:
        return read_json(bucket, key)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise
