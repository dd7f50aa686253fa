"""Requests of jobs, and what tests look at in their results."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import (
    Aws,
    aws_client,
    processing_request,
    training_request,
    until,
)


def s3_input(uri: str, name: str = "data", **more: Any) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}", "S3DataType": "S3Prefix"}
    return {"InputName": name, "S3Input": {**source, "S3InputMode": "File", **more}}


def s3_output(uri: str, name: str = "out") -> dict[str, Any]:
    target = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": target}


def outputs(*targets: dict[str, Any]) -> dict[str, Any]:
    return {"ProcessingOutputConfig": {"Outputs": list(targets)}}


def process(aws: Aws, code: str, name: str = "job", **more: Any) -> dict[str, Any]:
    aws.sagemaker.create_processing_job(**processing_request(aws.folder, name, code, **more))
    return aws.wait("Processing", name)


def train(aws: Aws, code: str, name: str = "job", **more: Any) -> dict[str, Any]:
    output = f"s3://{aws.bucket}/models/"
    aws.sagemaker.create_training_job(**training_request(aws.folder, name, code, output, **more))
    return aws.wait("Training", name)


def channel(name: str, uri: str, **more: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    return {"ChannelName": name, "DataSource": {"S3DataSource": {**source, **more}}}


def refused(call: Any, request: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def log_lines(aws: Aws, group: str, job: str) -> list[str]:
    """Return the lines of a job in CloudWatch Logs; its name must be of one test only."""
    logs = aws_client("logs", aws.service.settings.port)
    lines: list[str] = []
    try:
        streams = logs.describe_log_streams(
            logGroupName=group, logStreamNamePrefix=f"{job}/algo-1-"
        )["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return lines
    for stream in streams:
        where = {"logGroupName": group, "logStreamName": stream["logStreamName"]}
        page = logs.get_log_events(**where, startFromHead=True)
        while page["events"]:
            lines += [event["message"] for event in page["events"]]
            page = logs.get_log_events(
                **where, startFromHead=True, nextToken=page["nextForwardToken"]
            )
    return lines


LIST_INPUTS = (
    "from pathlib import Path\n"
    "root = Path('/opt/ml/processing/data')\n"
    "found = sorted(str(p.relative_to(root)) for p in root.rglob('*') if p.is_file())\n"
    "Path('/opt/ml/processing/out/found').write_text(' '.join(found))\n"
)


SLOW = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


def wait_for_output(aws: Aws, folder: str, text: str = "up") -> None:
    log = aws.folder / "jobs" / folder / "log.txt"
    until(lambda: log.exists() and text in log.read_text())
