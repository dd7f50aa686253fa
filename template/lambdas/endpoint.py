"""The endpoint: the version that it serves, what it has captured, how a deployment has ended."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdas import approval_in
from lambdas.aws import HOUR, Predictions, between, folders, s3, sagemaker, written_between
from lambdas.mail import Mail, quota_advice
from workflows import keys

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient

DAY = "%Y-%m-%d"


def serving_package() -> str | None:
    """The ARN of the model package that the endpoint serves; `None` if there is no endpoint yet.

    Raises:
        ValueError: When what it serves does not come from the model registry.
    """
    try:
        endpoint = sagemaker().describe_endpoint(EndpointName=os.environ["ENDPOINT"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":  # no version was approved yet
            return None
        raise
    package = package_of(endpoint["EndpointConfigName"])
    if package is None:
        raise ValueError(
            f"{endpoint['EndpointConfigName']} does not serve a version of the model registry"
        )
    return package


def package_of(config_name: str, client: "SageMakerClient | None" = None) -> str | None:
    """The ARN of the model package that an endpoint configuration serves.

    `None` where what it serves does not come from the model registry.
    """
    client = client or sagemaker()
    config = client.describe_endpoint_config(EndpointConfigName=config_name)
    model = client.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return model.get("PrimaryContainer", {}).get("ModelPackageName")


def tried_last(endpoint: str, before: datetime) -> str | None:
    """The endpoint configuration of the newest approval that was deployed before a time.

    `deploy` makes one when the endpoint is free, so that another one than that of the newest
    approval is in service only after a rollback.
    """
    pages = sagemaker().get_paginator("list_endpoint_configs").paginate(NameContains=f"{endpoint}-")
    found = {
        config["EndpointConfigName"]: approval
        for page in pages
        for config in page["EndpointConfigs"]
        if (approval := approval_in(endpoint, config["EndpointConfigName"]))
        and config["CreationTime"] < before
    }
    return max(found, key=found.__getitem__, default=None)


def predictions(first: datetime, last: datetime) -> Iterator[Predictions]:
    """The files below CAPTURE that can hold predictions made from `first` to before `last`.

    Of each version, the file that was written first comes first.

    `deploy` has each version captured in a folder of its own, `version=<N>/`; what lies outside of
    them is from before it did so.
    """
    where = f"{os.environ['ENDPOINT']}/{os.environ['VARIANT']}/"
    # What was captured at the end of an hour can be filed under the next one.
    hours = f"{first:{HOUR}}", f"{last + timedelta(hours=1):{HOUR}}"
    captured: dict[str, int | None] = {where: None}
    captured |= {f"version={n}/{where}": int(n) for n in folders(f"{keys.CAPTURE}version=")}
    for folder, version in captured.items():
        found = written_between(f"{keys.CAPTURE}{folder}", *hours)
        # A file that was written before has nothing that was made since.
        since = sorted((written, key) for key, written in found if written >= first)
        yield from (Predictions(folder + key, version) for _, key in since)


def kept(first: datetime, last: datetime) -> set[str]:
    """The keys of all that tells what was predicted from `first` to before `last`, by any version.

    Those are the files of the tables, and what was captured and is not collected into them yet, or
    not as a whole.
    """
    hour = timedelta(hours=1)
    days = f"day={first - hour:{DAY}}", f"day={last + hour:{DAY}}"
    tables = {table: {*between(table, *days)} for table in keys.COLLECTED}
    captured = {file.key: collected(file.key) for file in predictions(first, last)}
    waiting = {
        key: rows
        for key, rows in captured.items()
        if not all(rows <= found for found in tables.values())
    }
    again = {row for rows in waiting.values() for row in rows}
    return {f"{keys.CAPTURE}{key}" for key in waiting} | {
        f"{table}{key}"
        for table, found in tables.items()
        for key in found - again
        # What batches could not score was never predicted.
        if not key.endswith("/rejected.parquet")
    }


def collected(key: str) -> set[str]:
    """The files, below the prefix of each table, that the rows of a captured file go into.

    `usecase.predictions.collect` gives them these names.
    """
    hour = datetime.strptime("/".join(key.split("/")[-5:-1]), HOUR)  # noqa: DTZ007 - UTC
    name = key.removesuffix(".jsonl").replace("/", ".") + ".parquet"
    # What was captured at the end of an hour can be filed under the next one.
    return {f"day={time:{DAY}}/{name}" for time in (hour - timedelta(hours=1), hour)}


def versions(first: datetime, last: datetime) -> set[int | None]:
    """The versions with predictions that were made from `first` to before `last`."""
    found: set[int | None] = set()
    over: set[int | None] = set()
    for file in predictions(first, last):
        if file.version in found | over:
            continue
        oldest, newest = times_in(file.key)
        # A folder holds the predictions of a whole hour, and so those after the window's end. The
        # files that are written later hold later ones.
        if oldest >= last:
            over.add(file.version)
        # What is written right after the window has begun can all be from before.
        elif newest >= first:
            found.add(file.version)
    return found


def times_in(key: str) -> tuple[datetime, datetime]:
    """When the oldest and the newest prediction of a file were made, UTC.

    Where the file does not say they may be of any time.
    """
    found = s3().get_object(Bucket=os.environ["BUCKET"], Key=f"{keys.CAPTURE}{key}")
    times = []
    for line in found["Body"].iter_lines():
        try:
            time = datetime.fromisoformat(json.loads(line)["eventMetadata"]["inferenceTime"])
        except (KeyError, TypeError, ValueError):
            continue
        times.append(time if time.tzinfo else time.replace(tzinfo=UTC))
    if times:
        return min(times), max(times)
    return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def deployed(detail: dict[str, Any]) -> Mail:
    """The endpoint has come to the end of a deployment."""
    name, status = detail["EndpointName"], detail["EndpointStatus"]
    config_name = detail["EndpointConfigName"]
    package = package_of(config_name) or "unknown"
    version = package.rpartition("/")[2]
    # In milliseconds, in the events.
    last = tried_last(name, datetime.fromtimestamp(detail["LastModifiedTime"] / 1000, UTC))
    # An endpoint that was scaled is in service again as well, which is no news.
    news = last if status == "IN_SERVICE" else detail["LastModifiedTime"]
    about = f"{status} {detail['EndpointArn']} {config_name} {news}"
    if status == "IN_SERVICE" and last in (config_name, None):
        subject = f"{name}: version {version} serves"
        text = f"Endpoint {name} is in service with version {version}.\n\n{package}\n"
        return Mail(about, subject, text)
    reason = sagemaker().describe_endpoint(EndpointName=name).get("FailureReason", "")
    if status == "IN_SERVICE" and last:
        package = package_of(last) or "unknown"
        failed = package.rpartition("/")[2]
        subject = f"{name}: version {failed} was rolled back, version {version} serves"
        text = f"""\
The deployment of version {failed} was rolled back. Endpoint {name} is in service with version
{version}, as before. {reason}

What went wrong is in the log /aws/sagemaker/Endpoints/{name}. Then deploy the version again, or
reject it:
  uv run ops models approve {failed}
  uv run ops models reject {failed}

{package}
"""
    else:
        subject = f"{name}: deployment failed"
        text = f"""\
Endpoint {name} is {status} with version {version}.

{reason}
{quota_advice(reason)}
{package}
"""
    return Mail(about, subject, text)


MAILS: dict[str, Callable[[dict[str, Any]], Mail]] = {"SageMaker Endpoint State Change": deployed}
