"""S3 objects as Step Functions reads and writes them from a Task state.

Source: "Using AWS service SDK integrations" in the AWS Step Functions Developer Guide; an object's
body is text there, which `$parse` turns into JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from local_aws.host.stepfunctions.sagemaker_tasks import TaskError
from local_aws.sagemaker.core.service import Service

_METHODS = {
    "arn:aws:states:::aws-sdk:s3:getObject": "get_object",
    "arn:aws:states:::aws-sdk:s3:putObject": "put_object",
}
RESOURCES = frozenset(_METHODS)
"""The Resource of the states that `run` runs."""


def run(service: Service, resource: str, arguments: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Run a Task state that reads or writes an object.

    Args:
        service: Has the client of S3.
        resource: The state's Resource, of `RESOURCES`.
        arguments: The request; a Body that is not text is written as JSON.
        role: ARN of the role to call S3 with; empty for the account itself.

    Returns:
        The task's result; Body is text, times are ISO 8601.

    Raises:
        TaskError: The state fails.
    """
    client = service.client("s3", role)
    request = dict(arguments)
    if "Body" in request and not isinstance(request["Body"], str):
        request["Body"] = json.dumps(request["Body"])
    try:
        answer = getattr(client, _METHODS[resource])(**request)
        if "Body" in answer:
            answer["Body"] = answer["Body"].read().decode(errors="replace")
    except ParamValidationError as error:
        given = json.dumps(arguments)
        raise TaskError(
            "States.Runtime",
            f"The Parameters '{given}' could not be used to start the Task: [{error}]",
        ) from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        modelled = {shape.name for shape in client.meta.service_model.error_shapes}
        message = error.response["Error"].get("Message", "")
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise TaskError(
            f"S3.{code if code in modelled else 'S3'}Exception",
            f"{message} (Service: S3, Status Code: {status})",
        ) from None
    del answer["ResponseMetadata"]
    return {key: _json(value) for key, value in answer.items()}


def _json(value: object) -> object:
    if isinstance(value, datetime):
        text = value.astimezone(UTC).isoformat(timespec="seconds")
        return text.replace("+00:00", "Z")
    return value
