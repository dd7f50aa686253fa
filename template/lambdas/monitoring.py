"""The steps before and after a monitor in the monitoring workflow."""

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)

HOUR = "%Y/%m/%d/%H"
GROUND_TRUTH = "ground-truth/"


@cache
def sagemaker() -> "SageMakerClient":
    """The SageMaker client."""
    return boto3.client("sagemaker")


@cache
def s3() -> "S3Client":
    """The S3 client."""
    return boto3.client("s3")


@cache
def cloudwatch() -> "CloudWatchClient":
    """The CloudWatch client."""
    return boto3.client("cloudwatch")


def inputs(event: dict[str, Any], _context: object) -> dict[str, str | int]:
    """Find what a monitor has to look at.

    Args:
        event: `monitor`; `baseline`, its key in DriftCheckBaselines; `labels`, whether it needs
            them; `execution`, id of the workflow's execution; `start` and `end` of the window in
            ISO 8601, or `auto` for the last `window_hours`.

    Returns:
        `start` and `end`; `baseline`, the S3 folder of the baseline of the version that serves;
        `predictions` and maybe `labels`, S3 URIs of manifests, with the number of files that each
        lists in `predictions_count` and `labels_count`: 0 if there is nothing to look at.

    Raises:
        ValueError: When the window is not one.
    """
    start, end = window(event["start"], event["end"], event["window_hours"])
    found: dict[str, str | int] = {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "baseline": baseline(event["baseline"]),
    }
    folder = f"monitoring/inputs/{event['monitor']}/{event['execution']}"
    captured = f"capture/{os.environ['ENDPOINT']}/{os.environ['VARIANT']}/"
    # What was captured at the end of an hour can be filed under the next one.
    files = list(hours(captured, start, end + timedelta(hours=1))) if found["baseline"] else []
    found |= manifest("predictions", captured, files, folder)
    if event["labels"]:
        # A label comes after its prediction, maybe long after.
        files = list(hours(GROUND_TRUTH, start, datetime.now(UTC)))
        found |= manifest("labels", GROUND_TRUTH, files, folder)
    log.info("%s: %s", event["monitor"], found)
    return found


def window(start: str, end: str, hours_before: float) -> tuple[datetime, datetime]:
    """The window of time to look at, UTC.

    Raises:
        ValueError: When a time is not in ISO 8601, or the window ends before it starts.
    """
    last = datetime.now(UTC) if end == "auto" else parse("WindowEnd", end)
    first = last - timedelta(hours=hours_before) if start == "auto" else parse("WindowStart", start)
    if first >= last:
        raise ValueError(
            f"WindowStart {first.isoformat()} is not before WindowEnd {last.isoformat()}"
        )
    return first, last


def parse(name: str, text: str) -> datetime:
    """A time in ISO 8601; UTC unless it says otherwise."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a time like 2026-01-31T09:00:00Z") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def baseline(key: str) -> str:
    """The S3 folder of a baseline of the version that serves; empty if none does.

    Raises:
        ValueError: When what serves has no such baseline.
    """
    try:
        endpoint = sagemaker().describe_endpoint(EndpointName=os.environ["ENDPOINT"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":  # no version was approved yet
            return ""
        raise
    config = sagemaker().describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker().describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    package = model.get("PrimaryContainer", {}).get("ModelPackageName")
    if not package:
        raise ValueError(f"model {model['ModelName']} does not come from the model registry")
    baselines: Any = (
        sagemaker().describe_model_package(ModelPackageName=package).get("DriftCheckBaselines", {})
    )
    if key not in baselines:
        raise ValueError(f"{package} has no baseline {key} in DriftCheckBaselines")
    uri: str = baselines[key]["Constraints"]["S3Uri"]
    return uri.rpartition("/")[0] + "/"


def hours(prefix: str, start: datetime, end: datetime) -> Iterator[str]:
    """The keys below `prefix`, relative to it, of the folders yyyy/mm/dd/hh of a window."""
    pages = (
        s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=os.environ["BUCKET"], Prefix=prefix, StartAfter=f"{prefix}{start:{HOUR}}")
    )
    last = f"{end:{HOUR}}"
    for page in pages:
        for entry in page.get("Contents", []):
            key = entry["Key"].removeprefix(prefix)
            if key[: len(last)] > last:
                return
            yield key


def manifest(name: str, prefix: str, files: list[str], folder: str) -> dict[str, str | int]:
    """Write a manifest of files, in the format of S3DataType ManifestFile.

    Returns:
        Its S3 URI and the number of files.
    """
    bucket, key = os.environ["BUCKET"], f"{folder}/{name}.manifest"
    content = json.dumps([{"prefix": f"s3://{bucket}/{prefix}"}, *files])
    s3().put_object(Bucket=bucket, Key=key, Body=content.encode())
    return {name: f"s3://{bucket}/{key}", f"{name}_count": len(files)}


def violations(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Count the violations that a monitor has reported, as a metric for the alarm.

    Doing it twice changes nothing, as the alarm looks at the maximum.

    Args:
        event: `monitor`; `report`, S3 URI of the folder with constraint_violations.json.
    """
    bucket, _, folder = event["report"].removeprefix("s3://").partition("/")
    key = f"{folder.rstrip('/')}/constraint_violations.json"
    report = json.loads(s3().get_object(Bucket=bucket, Key=key)["Body"].read())
    count = len(report["violations"])
    log.info("%s: %d violations in s3://%s/%s", event["monitor"], count, bucket, key)
    cloudwatch().put_metric_data(
        Namespace=os.environ["METRIC_NAMESPACE"],
        MetricData=[
            {
                "MetricName": "Violations",
                "Dimensions": [{"Name": "Monitor", "Value": event["monitor"]}],
                "Value": count,
                "Unit": "Count",
            }
        ],
    )
    return {"violations": count}
